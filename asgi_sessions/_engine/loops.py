"""The running event loop, without asking the kernel."""

import asyncio
import os
import sys
import threading

__all__ = ["running_loop"]


class _Known(threading.local):
    loop: asyncio.AbstractEventLoop | None = None  # the one that ran last in this thread


_known = _Known()


def _remembered_loop() -> asyncio.AbstractEventLoop:
    """``asyncio.get_running_loop()``, which before Python 3.12 asks for the process id each time.

    In a request to a server that is a twentieth of its time. A thread runs one event loop at a time, so the one that
    was known and still runs is it; in a forked process none does.

    Raises:
        RuntimeError: no event loop of asyncio runs in this thread.
    """
    loop = _known.loop
    if loop is None or not loop.is_running():
        loop = _known.loop = asyncio.get_running_loop()
    return loop


def _forget() -> None:
    _known.loop = None


if sys.version_info >= (3, 12):
    running_loop = asyncio.get_running_loop
else:
    running_loop = _remembered_loop
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)
