"""One after the other, by key: without a lock for each key, which would cost more than most commits wait."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

import anyio
import msgspec
from anyio.lowlevel import current_token

from ..loops import running_loop

__all__ = ["Turn", "turn"]

Taken = dict[bytes, deque[anyio.Event] | None]  # who waits, first come first served, by what is taken now

# In each event loop apart, whose events are no other's, and for each owner.
_taken: dict[tuple[object, int], Taken] = {}


class Turn(msgspec.Struct, eq=False, gc=False):
    """``async with turn(owner, key):`` waits until nobody else of this event loop is inside for the same two.

    By hand, which costs a third where nobody waits: ``if not mine.take(): await mine.wait()``, then ``mine.leave()``.
    """

    _taken: Taken
    _key: bytes

    def take(self) -> bool:
        """Go inside if nobody is; False: ``wait()`` first."""
        if self._key in self._taken:
            return False
        self._taken[self._key] = None
        return True

    async def wait(self) -> None:
        """Go inside once all who came before have left."""
        waiting = self._taken[self._key]
        if waiting is None:
            waiting = self._taken[self._key] = deque()
        turn = anyio.Event()
        waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # cancelled just when it was its turn
                self.leave()
            else:
                waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Let the next one in."""
        waiting = self._taken[self._key]
        if waiting:
            waiting.popleft().set()
        else:
            del self._taken[self._key]

    async def __aenter__(self) -> None:
        if not self.take():
            await self.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def turn(owner: object, key: bytes) -> Turn:
    """The next turn of ``owner`` with ``key``."""
    try:
        loop: object = running_loop()
    except RuntimeError:  # trio
        loop = current_token()
    taken = _taken.get((loop, id(owner)))
    return Turn(_make(loop, owner) if taken is None else taken, key)


def _make(loop: object, owner: object) -> Taken:
    for known in list(_taken):
        if isinstance(known[0], asyncio.AbstractEventLoop) and known[0].is_closed():
            _taken.pop(known, None)
    return _taken.setdefault((loop, id(owner)), {})
