"""Work that is done to its end, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import anyio

__all__ = ["completed"]


async def completed(work: Callable[[], Awaitable[None]]) -> None:
    """Do the work; if it is cancelled in the middle, do it again from the start, undisturbed, then be cancelled.

    Every write of a store is safe to repeat, so this costs nothing as long as nobody cancels.
    """
    try:
        await work()
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await _undisturbed(work)
        raise


async def _undisturbed(work: Callable[[], Awaitable[None]]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # trio
        await work()
        return
    task = asyncio.ensure_future(work())
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):  # task.cancel() knows no shield
            await asyncio.wait([task])
    task.result()
