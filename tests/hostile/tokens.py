"""Hostile tokens: forged and foreign ones, and authentic ones that lead nowhere."""

import base64
import hmac
import json
from collections.abc import Awaitable, Callable

from asgi_sessions import (
    BadCookieSignature,
    ExpiredSession,
    MalformedSession,
    MessagePackSerializer,
    RegeneratedSession,
    UnknownSession,
)
from asgi_sessions._engine.record import digest
from asgi_sessions.crypto.keys import Keyring

from ..browser import KEY, OTHER_KEY
from .case import Case, altered, live_cookie, opened
from .target import COOKIE_KINDS, HANDLE, SECRET, SERVER_KINDS, Headers, Target, cookies

NOT_ENCRYPTED = ("signed", *SERVER_KINDS)


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def changed_at(cookie: bytes, index: int) -> bytes:
    index %= len(cookie)
    other = b"A" if cookie[index : index + 1] != b"A" else b"B"
    return cookie[:index] + other + cookie[index + 1 :]


def jwt(algorithm: str, key: bytes) -> bytes:
    head = encoded(json.dumps({"alg": algorithm}).encode()) + b"." + encoded(b'{"user":"ann"}')
    signature = encoded(hmac.digest(key, head, "sha256")) if algorithm == "HS256" else b""
    return head + b"." + signature


def _parts(cookie: bytes) -> list[bytes]:
    return cookie.split(b".")


def _other(target: Target, cookie: bytes, key: str = KEY, cookie_name: str = "session") -> str:
    """The same token, sealed under another key or for another cookie."""
    ring = Keyring(key)
    make = ring.encrypter if target.kind == "encrypted" else ring.signer
    return make(cookie_name).seal(opened(target, cookie), target.clock.now).decode()


def _other_mode(target: Target, cookie: bytes) -> str:
    make = target.keyring.signer if target.kind == "encrypted" else target.keyring.encrypter
    return make("session").seal(opened(target, cookie), target.clock.now).decode()


def _resealed(later: float) -> Callable[[Target, bytes], str]:
    def alter(target: Target, cookie: bytes) -> str:
        return target.seal(opened(target, cookie), now=target.clock.now + later)

    return alter


def _record_of(target: Target, size: int) -> bytes:
    """A sound record, but for its size."""
    return target.codec().encode(target.record(values=MessagePackSerializer().dumps({"user": "x" * size})))


def _case(
    case: tuple[str, Callable[[Target], Awaitable[Headers]]], error: type, encrypted: type, **more: object
) -> Case:
    name, send = case
    return Case(name=name, send=send, error=error, encrypted=encrypted, **{"reads": False, **more})  # type: ignore[arg-type]  # from the table below


FORGED = [
    _case(
        altered("the first half of a token", lambda _, c: c[: len(c) // 8 * 4]), MalformedSession, BadCookieSignature
    ),
    _case(
        altered("a token cut by one character", lambda _, c: c[:-1]),
        MalformedSession,
        MalformedSession,
        kinds=NOT_ENCRYPTED,
    ),
    _case(altered("a token that lost its beginning", lambda _, c: c[4:]), BadCookieSignature, BadCookieSignature),
    _case(altered("a token with four characters more", lambda _, c: c + b"AAAA"), MalformedSession, BadCookieSignature),
    _case(
        altered("a token with four characters before it", lambda _, c: b"AAAA" + c),
        BadCookieSignature,
        BadCookieSignature,
    ),
    _case(
        altered("a token with its first character changed", lambda _, c: changed_at(c, 0)),
        BadCookieSignature,
        BadCookieSignature,
    ),
    _case(
        altered("a token with its tenth character changed", lambda _, c: changed_at(c, 9)),
        BadCookieSignature,
        BadCookieSignature,
    ),
    _case(
        altered("a signature with a character changed", lambda _, c: changed_at(c, -9)),
        BadCookieSignature,
        BadCookieSignature,
    ),
    _case(
        altered("sixteen characters of a token", lambda _, c: c.replace(b".", b"")[:16]),
        MalformedSession,
        MalformedSession,
    ),
    _case(altered("a token twice", lambda _, c: c + b"." + c), MalformedSession, MalformedSession),
    _case(
        altered("a token as hexadecimal digits, twice", lambda _, c: c.hex() * 2), MalformedSession, BadCookieSignature
    ),
    _case(
        altered("a token encoded once more", lambda _, c: encoded(c + b"-" * (-len(c) % 3))),
        MalformedSession,
        BadCookieSignature,
    ),
    _case(
        altered("a token under another key", lambda t, c: _other(t, c, key=OTHER_KEY)),
        BadCookieSignature,
        BadCookieSignature,
    ),
    _case(
        altered("a token under the key with a newline", lambda t, c: _other(t, c, key=KEY + "\n")),
        BadCookieSignature,
        BadCookieSignature,
    ),
    _case(
        altered("a token of another cookie name", lambda t, c: _other(t, c, cookie_name="cart")),
        BadCookieSignature,
        BadCookieSignature,
    ),
    _case(
        altered("a token of the name in upper case", lambda t, c: _other(t, c, cookie_name="SESSION")),
        BadCookieSignature,
        BadCookieSignature,
    ),
    _case(altered("a token of the other mode", _other_mode), MalformedSession, MalformedSession),
    _case(
        altered("the token itself, not sealed", lambda t, c: encoded(opened(t, c))),
        MalformedSession,
        BadCookieSignature,
    ),
    _case(
        altered("a token with an empty signature", lambda _, c: b".".join([*_parts(c)[:1], b""])),
        MalformedSession,
        MalformedSession,
        kinds=NOT_ENCRYPTED,
    ),
    _case(
        altered("a token with a signature of zeros", lambda _, c: b".".join([*_parts(c)[:1], b"A" * 43])),
        BadCookieSignature,
        BadCookieSignature,
        kinds=NOT_ENCRYPTED,
    ),
    _case(
        altered("a token with another time", lambda _, c: b"AAAAAAA" + c[7:]),
        BadCookieSignature,
        BadCookieSignature,
        kinds=NOT_ENCRYPTED,
    ),
    _case(
        altered("a token whose parts changed places", lambda _, c: b".".join(reversed(_parts(c)))),
        MalformedSession,
        MalformedSession,
        kinds=NOT_ENCRYPTED,
    ),
    _case(
        altered("a signature with the bare key", lambda _, c: b".".join([*_parts(c)[:1], encoded(_mac(c))])),
        BadCookieSignature,
        BadCookieSignature,
        kinds=NOT_ENCRYPTED,
    ),
    _case(altered("a JWT without a signature", lambda _, c: jwt("none", b"")), MalformedSession, MalformedSession),
    _case(
        altered("a JWT signed with the key", lambda _, c: jwt("HS256", KEY.encode())),
        MalformedSession,
        MalformedSession,
    ),
    _case(
        altered("an oversized authentic token", lambda t, c: t.seal(_record_of(t, 3200))),
        MalformedSession,
        MalformedSession,
    ),
    _case(
        altered("an authentic token of 64 KB", lambda t, c: t.seal(_record_of(t, 48_000))),
        MalformedSession,
        MalformedSession,
    ),
    _case(altered("a nonce without a message", lambda _, c: encoded(bytes(24))), MalformedSession, MalformedSession),
    _case(altered("zeros of the right length", lambda _, c: encoded(bytes(97))), MalformedSession, BadCookieSignature),
    _case(altered("a token from 61 seconds ahead", _resealed(61)), ExpiredSession, ExpiredSession),
    _case(altered("a token from a year ahead", _resealed(365 * 86400)), ExpiredSession, ExpiredSession),
    _case(altered("a token from the end of time", _resealed(2**40 - 1 - 4e9)), ExpiredSession, ExpiredSession),
    _case(altered("a token from two weeks ago", _resealed(-14 * 86400)), ExpiredSession, ExpiredSession, reads=None),
    _case(altered("a token from 1970", _resealed(-4e9)), ExpiredSession, ExpiredSession, reads=None),
]


def _mac(cookie: bytes) -> bytes:
    return hmac.digest(KEY.encode(), cookie.rpartition(b".")[0], "sha256")


# -- authentic, for a store ------------------------------------------------------------------------------------------


def _token(name: str, token: bytes, error: type, *, reads: bool) -> Case:
    async def send(target: Target) -> Headers:
        return cookies(target.seal(token))

    return Case(name=name, send=send, error=error, kinds=SERVER_KINDS, reads=reads)


def _altered_token(name: str, alter: Callable[[bytes, bytes], bytes]) -> Case:
    """Of a live session, with its handle and its secret."""

    async def send(target: Target) -> Headers:
        token = opened(target, await live_cookie(target))
        return cookies(target.seal(alter(token[:16], token[16:])))

    return Case(name=name, send=send, error=UnknownSession, kinds=SERVER_KINDS, reads=True)


def _bit(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data) ^ 1 << bit).to_bytes(len(data))


async def _after_logout(target: Target) -> Headers:
    cookie = await live_cookie(target)
    browser = target.browser()
    browser.jar["session"] = cookie.decode()
    await browser.get("/logout")
    return cookies(cookie)


async def _after_login(target: Target) -> Headers:
    browser = target.browser()
    await browser.get("/set")
    before = browser.jar["session"]
    await browser.get("/login")
    return cookies(before)


async def _long_after_login(target: Target) -> Headers:
    headers = await _after_login(target)
    target.clock.now += 61
    return headers


async def _long_after(target: Target) -> Headers:
    cookie = await live_cookie(target)
    target.clock.now += 14 * 86400
    return cookies(cookie)


async def _mine_and_yours(target: Target) -> Headers:
    mine, yours = opened(target, await live_cookie(target)), opened(target, await live_cookie(target))
    return cookies(target.seal(yours[:16] + mine[16:]))


SIZES = (1, 15, 16, 17, 32, 47, 49, 64, 2000)
NASTY = {
    "of zeros": bytes(16),
    "of ones": b"\xff" * 16,
    "that is a path": b"../../etc/passwd",
    "that is a Redis pattern": b"********[a-z]???",
    "that is a Redis command": b"\r\nFLUSHALL\r\n\r\n\r\n",
    "that is a cluster's hash tag": b"{session}{sessio",
    "that is a directory of the store": b"locks" + bytes(11),
}

SERVER: list[Case] = [
    *[_token(f"an authentic token of {size} bytes", b"x" * size, MalformedSession, reads=False) for size in SIZES],
    *[_token(f"a handle {what}", handle + SECRET, UnknownSession, reads=True) for what, handle in NASTY.items()],
    _token("a handle that the store never made", HANDLE + SECRET, UnknownSession, reads=True),
    _altered_token("a live handle with a secret of zeros", lambda handle, secret: handle + bytes(32)),
    _altered_token("a live handle with the stored hash as the secret", lambda handle, secret: handle + digest(secret)),
    _altered_token("a live handle with a secret one bit off", lambda handle, secret: handle + _bit(secret, 0)),
    _altered_token("a live handle with its secret reversed", lambda handle, secret: handle + secret[::-1]),
    _altered_token("a live secret under a handle one bit off", lambda handle, secret: _bit(handle, 127) + secret),
    _altered_token("a live secret before its handle", lambda handle, secret: secret + handle),
    Case(name="my secret with your handle", send=_mine_and_yours, error=UnknownSession, kinds=SERVER_KINDS, reads=True),
    Case(name="a token after logout", send=_after_logout, error=UnknownSession, kinds=SERVER_KINDS, reads=True),
    Case(name="a token after login", send=_after_login, error=RegeneratedSession, kinds=SERVER_KINDS, reads=True),
    Case(name="a token long after login", send=_long_after_login, error=UnknownSession, kinds=SERVER_KINDS, reads=True),
]

AUTHENTIC: list[Case] = [
    Case(name="a token after its time", send=_long_after, error=ExpiredSession),
]

# An authentic token of a store that was used before is no record, and the other way round.
FORMER: list[Case] = [
    Case(
        name="a token of a server-side session in a cookie session",
        send=_token("", HANDLE + SECRET, MalformedSession, reads=False).send,
        error=MalformedSession,
        kinds=COOKIE_KINDS,
    ),
]

TOKENS: list[Case] = [*FORGED, *SERVER, *AUTHENTIC, *FORMER]
