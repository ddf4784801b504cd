"""Threads that work for an event loop: a hop there and back takes half the time of one through an executor."""

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")

Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]
Jobs = SimpleQueue[Job | None]  # first come first served; None sends a thread home


class Workers:
    """A store's own threads. They are daemons: a disk that hangs must not keep the process from ending.

    Args:
        threads: how many jobs run at once.
    """

    def __init__(self, threads: int) -> None:
        self._jobs: Jobs = SimpleQueue()
        self._threads = [Thread(target=_work, args=(self._jobs,), name="sessions", daemon=True) for _ in range(threads)]
        # Also when the last reference to us is gone: the threads know the jobs only.
        self._send_home = weakref.finalize(self, _send_home, self._jobs, threads)
        for thread in self._threads:
            thread.start()

    async def run(self, end: float, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function; returns or raises what it does. A job that is given up is not begun, or ends by itself.

        Args:
            end: in the event loop's time.

        Raises:
            TimeoutError: it was not done by then.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        timer = loop.call_at(end, _settle, future, future.set_exception, TimeoutError())
        self._jobs.put((future, function, arguments))
        try:
            return await future
        finally:
            timer.cancel()

    def dismiss(self, timeout: float) -> None:
        """End the threads when their work is done, and wait for that, at most so many seconds."""
        self._send_home()
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))


def _send_home(jobs: Jobs, threads: int) -> None:
    for _ in range(threads):
        jobs.put(None)


def _work(jobs: Jobs) -> None:
    for future, function, arguments in iter(jobs.get, None):
        _do(future, function, arguments)
        del future, function, arguments  # a thread that waits holds on to nothing


def _do(future: "asyncio.Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if future.done():  # given up before it began
        return
    try:
        result = function(*arguments)
    except BaseException as exc:
        _tell(future, future.set_exception, exc)
    else:
        _tell(future, future.set_result, result)


def _tell(future: "asyncio.Future[Any]", settle: Callable[[Any], None], outcome: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the event loop was closed
        future.get_loop().call_soon_threadsafe(_settle, future, settle, outcome)


def _settle(future: "asyncio.Future[Any]", settle: Callable[[Any], None], outcome: Any) -> None:
    if not future.done():
        settle(outcome)
