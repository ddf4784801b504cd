"""How long work may take: one timer for all limits of an event loop, so that a limit costs next to nothing."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType

import anyio

__all__ = ["limited"]


def limited(seconds: float) -> AbstractContextManager[object]:
    """``with limited(seconds):`` ends what is awaited inside once the time is over.

    As ``asyncio.timeout()``, whose timer for each call takes ten times as long; on trio ``anyio.fail_after()``.

    Raises:
        TimeoutError: on leaving; it took longer.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return anyio.fail_after(seconds)
    watch = _watches.get((loop, seconds))
    return _Limit(_watch(loop, seconds) if watch is None else watch)


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


class _Limit:
    __slots__ = ("_cancelling", "_expired", "_task", "_watch")

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch
        self._expired = False

    def __enter__(self) -> None:
        watch = self._watch
        task = asyncio.current_task(watch.loop)
        if task is None:
            raise RuntimeError("a time limit needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        until = watch.until[self] = watch.loop.time() + watch.seconds
        if watch.timer is None:
            watch.watch(until)

    def expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.until.pop(self, None)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from exc


_watches: dict[tuple[asyncio.AbstractEventLoop, float], _Watch] = {}


def _watch(loop: asyncio.AbstractEventLoop, seconds: float) -> _Watch:
    for known in [known for known in list(_watches) if known[0].is_closed()]:
        _watches.pop(known, None)
    return _watches.setdefault((loop, seconds), _Watch(loop, seconds))
