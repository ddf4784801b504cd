"""Calls applications as a server would, with the cookies of one visitor."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

from .applications import FILLS, SCENARIOS, SIZES, Application, respond, seeing
from .subject import Subject

MOST_SLICES = 4  # of one sample
CROWD_CALLS = 8  # of each visitor in a slice, at least, where they come at once
BARE_REQUESTS = 100  # in one slice, at least
HEADERS = ((b"host", b"example.org"), (b"user-agent", b"Mozilla/5.0"), (b"accept", b"*/*"))

Slices = dict[str, list[float]]  # us per request: of the "bare" application, and of the "wrapped" one


class Unfit(Exception):
    """A contender that does not do what is to be timed."""


class Visitor:
    """A browser, as far as cookies go: one cookie before the session's, and one after."""

    __slots__ = ("_jar", "_line")

    def __init__(self) -> None:
        self._jar: dict[bytes, bytes] = {}
        self._line = b""

    async def call(self, application: Application) -> list[Any]:
        """The messages that were sent; what they set is not kept."""
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [*HEADERS, (b"cookie", self._line)] if self._line else [*HEADERS]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "server": ("example.org", 80),
            "client": ("192.0.2.1", 40000),
        }
        await application(scope, receive, send)
        return sent

    async def visit(self, application: Application) -> list[bytes]:
        """Call it and keep the cookies; the Set-Cookie headers."""
        start = (await self.call(application))[0]
        cookies = [value for name, value in start.get("headers", ()) if name.lower() == b"set-cookie"]
        if start["status"] != 200:
            raise Unfit(f"answered {start['status']}")
        if cookies:
            self._keep(cookies)
        return cookies

    def _keep(self, cookies: Sequence[bytes]) -> None:
        for cookie in cookies:
            name, _, value = cookie.partition(b";")[0].partition(b"=")
            self._jar[name] = value
        pairs = (b"%s=%s; " % pair for pair in self._jar.items())
        self._line = b"first=1; %slast=2" % b"".join(pairs)

    @property
    def cookies(self) -> dict[bytes, bytes]:
        return dict(self._jar)


class Strangers(Visitor):
    """Another visitor with each request."""

    __slots__ = ("_turns",)

    def __init__(self, visitors: Sequence[Visitor]) -> None:
        super().__init__()
        self._turns = itertools.cycle(visitors)

    async def call(self, application: Application) -> list[Any]:
        return await next(self._turns).call(application)


async def arrive(subject: Subject, size: str, number: int) -> list[Visitor]:
    """So many visitors, each with a session of its own."""
    fill = subject.application(FILLS[size])
    visitors = [Visitor() for _ in range(number)]
    for visitor in visitors:
        if not await visitor.visit(fill):
            raise Unfit("no cookie was set for a new session")
    return visitors


async def verify(subject: Subject, size: str, scenarios: Sequence[str]) -> None:
    """Do each scenario once, and read back in the next request what it should have done.

    Raises:
        Unfit: it did not do it.
    """
    (visitor,) = await arrive(subject, size, 1)
    seen: dict[str, Any] = {}
    see = subject.around(seeing(seen))
    expected: dict[str, Any] = {**SIZES[size], "cart": [dict(item) for item in SIZES[size]["cart"]]}
    await _expect(visitor, see, seen, expected, "fill")
    for scenario in scenarios:
        before = visitor.cookies
        for request in SCENARIOS[scenario].requests:
            await visitor.visit(subject.application(request))
        if scenario == "write":
            expected["n"] += 1
        if scenario == "nested":
            expected["cart"][0]["n"] += 1
        if scenario == "login" and visitor.cookies == before:
            raise Unfit("login: the cookie is the one from before")
        await _expect(visitor, see, seen, expected, scenario)


async def _expect(
    visitor: Visitor, see: Application, seen: dict[str, Any], expected: dict[str, Any], after: str
) -> None:
    await visitor.visit(see)
    wrong = sorted(key for key, value in expected.items() if seen.get(key) != value)
    if wrong:
        raise Unfit(f"{after}: the next request reads other values of {', '.join(wrong)}")


async def elapsed(applications: Sequence[Application], visitors: Sequence[Visitor], times: int, keeps: bool) -> float:
    """Microseconds for each time that a visitor calls all the applications; the visitors come at once."""

    async def stay(visitor: Visitor) -> None:
        for _ in range(times):
            for application in applications:
                await (visitor.visit(application) if keeps else visitor.call(application))

    start = time.perf_counter()
    if len(visitors) == 1:
        await stay(visitors[0])
    else:
        await asyncio.gather(*map(stay, visitors))
    return (time.perf_counter() - start) / (times * len(visitors)) * 1e6


async def sample(
    subject: Subject, scenario: str, visitors: Sequence[Visitor], seconds: float, prepared: dict[str, Application]
) -> Slices:
    """Slices with the middleware between slices of the bare application, for about ``seconds``.

    Where visitors come at once, a slice is long enough for its beginning and its end, when fewer are there, to count
    little.

    Args:
        prepared: keeps the wrapped applications from sample to sample.
    """
    plan = SCENARIOS[scenario]
    for request in plan.requests:
        if request not in prepared:
            prepared[request] = subject.application(request)
    wrapped = [prepared[request] for request in plan.requests]
    bare = [respond] * len(wrapped)
    fewest = CROWD_CALLS if len(visitors) > 1 else 1
    turn = await elapsed(wrapped, visitors, 1, plan.keeps_cookies) * len(visitors) / 1e6  # seconds
    slices = max(1, min(MOST_SLICES, int(seconds / turn / fewest)))
    times = max(fewest, int(seconds / turn / slices))
    enough = max(times, BARE_REQUESTS // len(visitors))
    found: Slices = {"bare": [], "wrapped": []}
    for _ in range(slices):
        found["bare"].append(await elapsed(bare, visitors, enough, plan.keeps_cookies))
        found["wrapped"].append(await elapsed(wrapped, visitors, times, plan.keeps_cookies))
    return found
