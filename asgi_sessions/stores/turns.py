"""One after the other, by key: without a lock for each key, which would cost more than most commits wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import current_token

from ..loops import running_loop

__all__ = ["Turns", "turns_of"]


class Turns(dict[bytes, "deque[anyio.Event] | None"]):
    """Whose turn it is, by key: who waits, first come first served, by what is taken now.

    ``async with turns.turn(key):`` waits until nobody else is inside for the same key. By hand, which costs a sixth
    where nobody waits: ``if key in turns: await turns.wait(key)``, otherwise ``turns[key] = None``; then
    ``turns.leave(key)``.
    """

    __slots__ = ()

    async def wait(self, key: bytes) -> None:
        """Go inside once all who came before have left."""
        waiting = self[key]
        if waiting is None:
            waiting = self[key] = deque()
        called = anyio.Event()
        waiting.append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():  # cancelled just when it was its turn
                self.leave(key)
            else:
                waiting.remove(called)
            raise

    def leave(self, key: bytes) -> None:
        """Let the next one in."""
        waiting = self[key]
        if waiting:
            waiting.popleft().set()
        else:
            del self[key]

    @asynccontextmanager
    async def turn(self, key: bytes) -> AsyncIterator[None]:
        if key in self:
            await self.wait(key)
        else:
            self[key] = None
        try:
            yield
        finally:
            self.leave(key)


# In each event loop apart, whose events are no other's, and for each owner.
_turns: dict[tuple[object, int], Turns] = {}


def turns_of(owner: object) -> Turns:
    """The turns of ``owner`` in the event loop that runs."""
    try:
        loop: object = running_loop()
    except RuntimeError:  # trio
        loop = current_token()
    turns = _turns.get((loop, id(owner)))
    return _make(loop, owner) if turns is None else turns


def _make(loop: object, owner: object) -> Turns:
    for known in list(_turns):
        if isinstance(known[0], asyncio.AbstractEventLoop) and known[0].is_closed():
            _turns.pop(known, None)
    return _turns.setdefault((loop, id(owner)), Turns())
