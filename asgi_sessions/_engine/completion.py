"""Work that is done to its end, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable

__all__ = ["undisturbed"]


async def undisturbed(work: Awaitable[object]) -> None:
    """Wait for the work to its end; inside a shield, as ``task.cancel()`` knows none."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # trio
        await work
        return
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()
