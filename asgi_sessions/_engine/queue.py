"""One after the other, by key: without a lock for each key, which would cost more than most commits wait."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

import anyio
from anyio.lowlevel import current_token

from .loops import running_loop

__all__ = ["Turn", "is_taken"]

Key = tuple[object, int, bytes]

# Who waits for whom, first come first served, by what is taken now; None: nobody does.
_taken: dict[Key, deque[anyio.Event] | None] = {}


class Turn:
    """``async with Turn(owner, key):`` waits until nobody else is inside for the same owner and key.

    Each event loop is apart, whose events are no other's.
    """

    __slots__ = ("_key",)

    def __init__(self, owner: object, key: bytes) -> None:
        self._key = _key(owner, key)

    async def take(self) -> Self:
        """Go inside once all who came before have left; who did has to ``leave()``."""
        if self._key not in _taken:
            _taken[self._key] = None
            return self
        waiting = _taken[self._key]
        if waiting is None:
            waiting = _taken[self._key] = deque()
        called = anyio.Event()
        waiting.append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():  # cancelled just when it was its turn
                self.leave()
            else:
                waiting.remove(called)
            raise
        return self

    def leave(self) -> None:
        """Let the next one in."""
        waiting = _taken[self._key]
        if waiting:
            waiting.popleft().set()
        else:
            del _taken[self._key]

    async def __aenter__(self) -> Self:
        return await self.take()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def is_taken(owner: object, key: bytes) -> bool:
    """Whether somebody is inside; mostly nobody is anywhere, which is known without asking for the event loop."""
    return bool(_taken) and _key(owner, key) in _taken


def _key(owner: object, key: bytes) -> Key:
    try:
        loop: object = running_loop()
    except RuntimeError:  # trio
        loop = current_token()
    return loop, id(owner), key


KeyedLock, is_locked = Turn, is_taken
