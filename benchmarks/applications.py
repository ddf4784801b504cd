"""What is measured: the sessions, and tiny raw ASGI applications that use them in one way each."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

Application = Callable[[Any, Any, Any], Awaitable[None]]

SMALL: dict[str, Any] = {
    "user": "alice@example.org",
    "roles": ["admin", "editor"],
    "csrf": "9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c",
    "cart": [{"sku": "A-100", "n": 2}, {"sku": "B-200", "n": 1}],
    "locale": "de_DE",
    "theme": "dark",
    "seen": 1234567890,
    "note": "x" * 60,
    "n": 0,
}
LARGE = SMALL | {
    "cart": [{"sku": f"C-{number}", "n": number % 7} for number in range(60)],
    "history": [f"/catalogue/{number}/details" for number in range(28)],
    "note": "x" * 435,
}
SIZES: Mapping[str, dict[str, Any]] = {"300 B": SMALL, "3 KB": LARGE}  # as JSON; still one cookie of 4096 bytes
FILLS = {size: f"fill, {size}" for size in SIZES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What one visitor does, again and again.

    Attributes:
        requests: the applications called, one after the other; the time is that of all of them.
        keeps_cookies: the visitor sends what the response before set; otherwise the same cookie each time.
        by_strangers: each time it is another visitor, whom nobody has seen for a while.
    """

    requests: tuple[str, ...]
    keeps_cookies: bool = False
    by_strangers: bool = False


SCENARIOS: Mapping[str, Scenario] = {
    "untouched": Scenario(requests=("untouched",)),
    "read": Scenario(requests=("read",)),
    "strangers": Scenario(requests=("read",), by_strangers=True),
    "write": Scenario(requests=("write",)),
    "nested": Scenario(requests=("nested",)),
    "flash": Scenario(requests=("flash", "show"), keeps_cookies=True),
    "login": Scenario(requests=("login",), keeps_cookies=True),
}

_logins = itertools.count(1)


async def respond(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def read(scope: Any, receive: Any, send: Any) -> None:
    _ = scope["session"]["user"]
    await respond(scope, receive, send)


async def write(scope: Any, receive: Any, send: Any) -> None:
    scope["session"]["n"] += 1
    await respond(scope, receive, send)


async def nested(scope: Any, receive: Any, send: Any) -> None:
    scope["session"]["cart"][0]["n"] += 1
    await respond(scope, receive, send)


async def nested_and_assigned(scope: Any, receive: Any, send: Any) -> None:
    """For packages that do not notice a nested change: what they tell their users to do."""
    session = scope["session"]
    cart = session["cart"]
    cart[0]["n"] += 1
    session["cart"] = cart
    await respond(scope, receive, send)


async def count(scope: Any, receive: Any, send: Any) -> None:
    """The counter of the end-to-end part: it answers what its session holds."""
    body = b"%d" % scope["session"]["n"]
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def count_bare(scope: Any, receive: Any, send: Any) -> None:
    await count({"session": {"n": 0}}, receive, send)


def next_login() -> int:
    """A user that nobody was before."""
    return next(_logins)


def filling(values: Mapping[str, Any]) -> Application:
    async def fill(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].update(values)
        await respond(scope, receive, send)

    return fill


def seeing(seen: dict[str, Any]) -> Application:
    """An application that copies its session into ``seen``, for verification."""

    async def see(scope: Any, receive: Any, send: Any) -> None:
        seen.clear()
        seen.update(scope["session"])
        await respond(scope, receive, send)

    return see


BASIC: Mapping[str, Application] = {
    "untouched": respond,
    "read": read,
    "write": write,
    "nested": nested,
    "count": count,
    **{FILLS[size]: filling(values) for size, values in SIZES.items()},
}
