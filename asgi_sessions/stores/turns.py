"""One after the other, by key: without a lock for each key, which would cost more than most commits wait."""

from __future__ import annotations

from collections import deque
from types import TracebackType

import anyio
import msgspec
from anyio.lowlevel import current_token

from ..loops import running_loop

__all__ = ["Turn", "turn"]

# Who waits, first come first served, by what is taken now; in each event loop apart, whose events are no other's.
_taken: dict[tuple[object, int, bytes], deque[anyio.Event] | None] = {}


class Turn(msgspec.Struct, eq=False, gc=False):
    """``async with turn(owner, key):`` waits until nobody else of this event loop is inside for the same two.

    By hand, which costs a third where nobody waits: ``if not mine.take(): await mine.wait()``, then ``mine.leave()``.
    """

    _key: tuple[object, int, bytes]

    def take(self) -> bool:
        """Go inside if nobody is; False: ``wait()`` first."""
        if self._key in _taken:
            return False
        _taken[self._key] = None
        return True

    async def wait(self) -> None:
        """Go inside once all who came before have left."""
        waiting = _taken[self._key]
        if waiting is None:
            waiting = _taken[self._key] = deque()
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
        waiting = _taken[self._key]
        if waiting:
            waiting.popleft().set()
        else:
            del _taken[self._key]

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
    return Turn((loop, id(owner), key))
