"""What a worker counts about requests: thread hops, bytes of cookies, file system events, memory."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .applications import FILLS, SCENARIOS, Application
from .subject import Subject
from .system_calls import mark
from .visitor import Visitor, arrive

TIMES = 20  # requests that are counted together
WARMING = 3  # before: connections are made, scripts loaded, folders made


@dataclass(slots=True)
class Audited:
    """What the interpreter said about files under a directory."""

    directory: str = ""
    events: int = 0


_audited = Audited()


@dataclass(frozen=True, slots=True)
class Regular:
    """A visitor who comes again for the same."""

    visitor: Visitor
    applications: list[Application]
    scenario: str

    async def visit(self, times: int) -> list[bytes]:
        """The Set-Cookie headers of all requests."""
        return [
            cookie
            for _ in range(times)
            for application in self.applications
            for cookie in await self.visitor.visit(application)
        ]


def audit(directory: str) -> None:
    """From now on count what the interpreter says about files there; it says nothing of read, write, stat and close."""
    if not _audited.directory:
        sys.addaudithook(_on_event)
    _audited.directory = directory


def _on_event(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" or event.startswith("os."):
        _audited.events += any(_audited.directory in str(arg) for arg in args)


async def begin(subject: Subject, scenario: str) -> Regular:
    """A visitor with a small session who has been there before: connections are made, scripts loaded."""
    (visitor,) = await arrive(subject, "300 B", 1)
    regular = Regular(visitor, [subject.application(request) for request in SCENARIOS[scenario].requests], scenario)
    await regular.visit(WARMING)
    return regular


async def per_request(regular: Regular) -> dict[str, float]:
    """Averages over TIMES requests."""
    events = _audited.events
    with hops() as ended:
        mark(regular.scenario)
        cookies = await regular.visit(TIMES)
        mark("")
    return {
        "thread hops": len(ended) / TIMES,
        "Set-Cookie bytes": sum(map(len, cookies)) / TIMES,
        "file events": (_audited.events - events) / TIMES,
    }


@contextmanager
def hops() -> Iterator[list[float]]:
    """When a thread was done with something for the event loop: there is one way for it to tell."""
    loop: Any = asyncio.get_running_loop()
    own, tell = threading.get_ident(), loop.call_soon_threadsafe
    ended: list[float] = []

    def telling(*args: Any, **options: Any) -> Any:
        if threading.get_ident() != own:
            ended.append(time.perf_counter())
        return tell(*args, **options)

    loop.call_soon_threadsafe = telling
    try:
        yield ended
    finally:
        del loop.call_soon_threadsafe


async def cookie_bytes(subject: Subject) -> int:
    """Name and value of the cookie that a new small session sets."""
    cookies = await Visitor().visit(subject.application(FILLS["300 B"]))
    return sum(len(cookie.partition(b";")[0]) for cookie in cookies)


async def memory(subject: Subject, sessions: int) -> int:
    """Bytes that Python had allocated at the most while so many small sessions were begun, and stayed."""
    fill = subject.application(FILLS["300 B"])
    await Visitor().visit(fill)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(sessions):
            await Visitor().visit(fill)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
