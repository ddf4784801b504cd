"""How long work may take: one timer for all limits of an event loop, so that a limit costs next to nothing."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType

import anyio
import msgspec

from .loops import running_loop

__all__ = ["limited"]


def limited(seconds: float) -> AbstractContextManager[object]:
    """``with limited(seconds):`` ends what is awaited inside once the time is over.

    As ``asyncio.timeout()``, whose timer for each call takes ten times as long; on trio ``anyio.fail_after()``.

    Raises:
        TimeoutError: on leaving; it took longer.
    """
    try:
        loop = running_loop()
    except RuntimeError:
        return anyio.fail_after(seconds)
    task = asyncio.current_task(loop)
    if task is None:
        raise RuntimeError("a time limit needs a task")
    watch = _watches.get((loop, seconds))
    if watch is None:
        watch = _watch(loop, seconds)
    limit = _Limit(watch, task, task.cancelling())
    until = watch.until[limit] = loop.time() + seconds
    if watch.timer is None:
        watch.watch(until)
    return limit


class _Watch:
    """All limits of so many seconds in one event loop. They end in the order in which they began."""

    __slots__ = ("loop", "seconds", "timer", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop = loop
        self.seconds = seconds
        self.until: dict[_Limit, float] = {}
        self.timer: asyncio.TimerHandle | None = None  # it stays when a limit goes: it may serve the next ones

    def watch(self, until: float) -> None:
        self.timer = self.loop.call_at(until, self._expire)

    def _expire(self) -> None:
        self.timer = None
        now = self.loop.time()
        for limit, until in list(self.until.items()):
            if until > now:
                self.watch(until)
                return
            del self.until[limit]
            limit.expire()


class _Limit(msgspec.Struct, eq=False):
    watch: _Watch
    task: asyncio.Task[object]
    cancelling: int
    expired: bool = False

    def __enter__(self) -> None:
        """It began when it was made."""

    def expire(self) -> None:
        self.expired = True
        self.task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.until.pop(self, None)
        if self.expired and self.task.uncancel() <= self.cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from exc


_watches: dict[tuple[asyncio.AbstractEventLoop, float], _Watch] = {}


def _watch(loop: asyncio.AbstractEventLoop, seconds: float) -> _Watch:
    for known in [known for known in list(_watches) if known[0].is_closed()]:
        _watches.pop(known, None)
    return _watches.setdefault((loop, seconds), _Watch(loop, seconds))
