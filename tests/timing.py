"""Whether time grows with the size, however uneven the machine is."""

import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar

T = TypeVar("T")

ROUNDS = 200  # after so many it is not the machine
FLOOR = 5e-6  # seconds; below it the clock is measured, not the work
LINEAR = 22  # times as long at the most, for eight times the size; the square of that would be 64


async def takes_at_most(times: float, run: Callable[[T], Awaitable[object] | object], small: T, large: T) -> bool:
    """Whether the large input takes at most so many times as long as the small one, at the best of each.

    Both are run in turns: a machine that gets slower meanwhile does so for both.
    """
    best = [float("inf")] * 2
    for _ in range(ROUNDS):
        for which, given in enumerate((small, large)):
            started = time.perf_counter()
            result = run(given)
            if isawaitable(result):
                await result
            best[which] = min(best[which], time.perf_counter() - started)
        if best[1] <= times * max(best[0], FLOOR):
            return True
    return False
