"""Requests that can be held at a point, so that a test decides what happens first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from tests.browser import Browser, Response


class Slow:
    """A handler that works, then waits until the test lets it finish.

    Attributes:
        working: set when the handler did its work.
        finish: the test sets it.
    """

    def __init__(self, work: Callable[[Any], Any] = lambda session: session.get("x")) -> None:
        self.work = work
        self.working = anyio.Event()
        self.finish = anyio.Event()

    async def __call__(self, scope: Any) -> Any:
        session = await scope["sessions"].get()
        self.work(session)
        self.working.set()
        await self.finish.wait()
        return None

    @property
    def __code__(self) -> Any:  # what tests.browser looks at
        return type(self).handler.__code__

    async def handler(scope: Any) -> None:  # noqa: N805 - only its signature counts
        """Takes the scope."""


@asynccontextmanager
async def held(browser: Browser, path: str, slow: Slow) -> AsyncIterator[list[Response]]:
    """A request that has done its work and is answered when the block ends; its response is in the list then."""
    responses: list[Response] = []

    async def request() -> None:
        responses.append(await browser.get(path))

    async with anyio.create_task_group() as group:
        group.start_soon(request)
        await slow.working.wait()
        yield responses
        slow.finish.set()
