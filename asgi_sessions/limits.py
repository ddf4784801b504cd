"""How long work may take: one timer for all limits of an event loop, so that a limit costs next to nothing."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import anyio
import msgspec

from .loops import running_loop

__all__ = ["Limits", "limits_of"]


class Limits(Protocol):
    """Limits of so many seconds in one event loop: what is awaited when one of them is over is cancelled.

    As ``asyncio.timeout()``, whose timer for each call takes six times as long, and ``anyio.fail_after()`` on trio;
    but by hand, without a context manager: each limit that begins has to end.
    """

    def begin(self) -> Any:
        """A limit of the task that runs, from now on."""

    def end(self, limit: Any, error: BaseException | None = None) -> bool:
        """
        Args:
            error: what the work ended with.

        Returns:
            Whether ``error`` is the cancellation of this limit. It is taken back then, and must not be raised again.
        """


def limits_of(seconds: float) -> Limits:
    """The limits of so many seconds in the event loop that runs."""
    try:
        loop = running_loop()
    except RuntimeError:
        return _TrioLimits(seconds)
    return _limits.get((loop, seconds)) or _make(loop, seconds)


class _Limit(msgspec.Struct, eq=False, gc=False):
    """It refers to nothing, so that whoever waits keeps nothing more for the garbage collector to look at."""

    until: float  # by the event loop's clock
    cancelling: int  # how often its task was cancelled before
    over: bool = False


class _AsyncioLimits:
    """They end in the order in which they began."""

    __slots__ = ("_loop", "_seconds", "_tasks", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._tasks: dict[_Limit, asyncio.Task[object]] = {}
        self._timer: asyncio.TimerHandle | None = None  # it stays when a limit goes: it may serve the next ones

    def begin(self) -> _Limit:
        loop = self._loop
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time limit needs a task")
        limit = _Limit(loop.time() + self._seconds, task.cancelling())
        self._tasks[limit] = task
        if self._timer is None:
            self._watch(limit)
        return limit

    def end(self, limit: _Limit, error: BaseException | None = None) -> bool:
        self._tasks.pop(limit, None)
        if not limit.over:
            return False
        task: asyncio.Task[object] = asyncio.current_task(self._loop)  # type: ignore[assignment]  # that began it
        return task.uncancel() <= limit.cancelling and isinstance(error, asyncio.CancelledError)

    def _watch(self, limit: _Limit) -> None:
        self._timer = self._loop.call_at(limit.until, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for limit, task in list(self._tasks.items()):
            if limit.until > now:
                self._watch(limit)
                return
            del self._tasks[limit]
            limit.over = True
            task.cancel()


class _TrioLimits:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def begin(self) -> anyio.CancelScope:
        return anyio.CancelScope(deadline=anyio.current_time() + self._seconds).__enter__()

    def end(self, limit: anyio.CancelScope, error: BaseException | None = None) -> bool:
        if error is None:
            return bool(limit.__exit__(None, None, None))
        return bool(limit.__exit__(type(error), error, error.__traceback__))


_limits: dict[tuple[asyncio.AbstractEventLoop, float], _AsyncioLimits] = {}


def _make(loop: asyncio.AbstractEventLoop, seconds: float) -> _AsyncioLimits:
    for known in [known for known in list(_limits) if known[0].is_closed()]:
        _limits.pop(known, None)
    return _limits.setdefault((loop, seconds), _AsyncioLimits(loop, seconds))
