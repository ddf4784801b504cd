"""How long work may take, and that it is done to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio

__all__ = ["completed", "limited"]


def limited(seconds: float) -> AbstractAsyncContextManager[object]:
    """``asyncio.timeout()`` takes half the time of ``anyio.fail_after()``, which is for trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _limited_by_trio(seconds)
    return asyncio.timeout(seconds)


@contextlib.asynccontextmanager
async def _limited_by_trio(seconds: float) -> AsyncIterator[None]:
    with anyio.fail_after(seconds):
        yield


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
