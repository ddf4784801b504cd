"""A named hostile input with its expected outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from asgi_sessions import CookieRefused

from .target import KINDS, Headers, Target, cookies

Send = Callable[[Target], Awaitable[Headers]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """
    Attributes:
        send: prepares the attack and returns the request headers.
        error: what ``session.error`` is, by kind where they differ; None: there is no cookie of ours.
        kinds: of sessions that it is tried on.
        reads: whether the store is asked at all; None: either way.
        put_aside: whether a store puts a record aside for it.
        json: whether the application uses the JSON serializer.
    """

    name: str
    send: Send
    error: type[CookieRefused] | None
    encrypted: type[CookieRefused] | None = None
    kinds: tuple[str, ...] = KINDS
    reads: bool | None = None
    put_aside: bool = False
    json: bool = False

    def expected(self, kind: str) -> type[CookieRefused] | None:
        return self.encrypted if kind == "encrypted" and self.encrypted is not None else self.error


async def live_cookie(target: Target) -> bytes:
    """A visitor's cookie that works."""
    browser = target.browser()
    assert (await browser.get("/login")).status == 200
    assert (await browser.get("/")).json() == {"user": "ann"}
    return browser.jar["session"].encode("ascii")


def opened(target: Target, cookie: bytes) -> bytes:
    """The token inside."""
    make = target.keyring.encrypter if target.kind == "encrypted" else target.keyring.signer
    return make("session").unseal(cookie, target.clock.now).token


def altered(name: str, alter: Callable[[Target, bytes], bytes | str]) -> tuple[str, Send]:
    """Somebody's working cookie, altered."""

    async def send(target: Target) -> Headers:
        return cookies(alter(target, await live_cookie(target)))

    return name, send
