"""The contents of a cookie, as far as the keys tell."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from .._engine.codec import RecordCodec
from .._engine.record import HANDLE_SIZE, SECRET_SIZE, Record
from ..cookies import check_cookie_name
from ..crypto.keys import Keyring
from ..exceptions import BadCookieSignature, CookieRefused, MalformedSession
from ..lifetime import Lifetime
from ..serializers import JSONSerializer, MessagePackSerializer
from .cookies import Pair

SERIALIZERS = (MessagePackSerializer(), JSONSerializer())
_STARLETTE = re.compile(rb"[\w+/-]+=*\.[\w-]{6}\.[\w-]{27}")  # base64 of JSON, itsdangerous' time, SHA-1
_codec = RecordCodec(SERIALIZERS[0], readable=False)


class Unreadable(NamedTuple):
    """Stands for a value that only the application can read."""

    reason: str

    def __repr__(self) -> str:
        return f"<{self.reason}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cookie; what does not apply, or nobody can know, is None. It holds nothing that opens a session.

    Attributes:
        reason: why it is refused; None: it is not.
        stale: sealed under a fallback key.
        handle: of a server-side session, in hex.
        sealed_at, created_at, started_at, expires_at: POSIX seconds.
        remember: the lifetime chosen at run time, seconds; 0: until the browser closes.
        flashes: categories and messages.
    """

    name: str
    reason: str | None = None
    mode: Literal["signed", "encrypted"] | None = None
    kind: Literal["cookie", "server-side"] | None = None
    stale: bool = False
    handle: str | None = None
    sealed_at: float | None = None
    created_at: float | None = None
    started_at: float | None = None
    expires_at: float | None = None
    remember: int | None = None
    owner: str | int | None = None
    values: Any = None
    flashes: tuple[tuple[str, Any], ...] = ()

    @property
    def authentic(self) -> bool:
        """Whether it was sealed under one of the keys, by whatever is configured like this application."""
        return self.mode is not None


def examine(pair: Pair, keyring: Keyring, lifetime: Lifetime, now: float) -> Finding:
    """Unseal one cookie, whichever way it was sealed."""
    name, value = pair
    try:
        check_cookie_name(name)
    except ValueError as exc:
        return Finding(name=name, reason=str(exc))
    refused: list[CookieRefused] = []
    for mode in ("signed", "encrypted"):
        sealer = keyring.signer(name) if mode == "signed" else keyring.encrypter(name)
        try:
            opened = sealer.unseal(value, now)
        except CookieRefused as exc:
            refused.append(exc)
            continue
        finding = Finding(name=name, mode=mode, stale=opened.stale, sealed_at=opened.sealed_at)
        return _describe(finding, opened.token, lifetime, now)
    furthest = max(refused, key=lambda exc: exc.stage)
    return Finding(name=name, reason=_reason(furthest, name, value))


def _describe(finding: Finding, token: bytes, lifetime: Lifetime, now: float) -> Finding:
    try:
        record = _codec.decode(token)
    except CookieRefused as exc:
        if len(token) == HANDLE_SIZE + SECRET_SIZE:
            return replace(finding, kind="server-side", handle=token[:HANDLE_SIZE].hex())
        return replace(finding, reason=f"authentic, but it holds no session: {exc}")
    finding = replace(
        finding,
        kind="cookie",
        created_at=record.created_at,
        started_at=record.started_at,
        remember=record.remember,
        owner=record.owner,
        values=_read(record.values),
        flashes=tuple((flash.category, _read(flash.message)) for flash in record.flashes),
    )
    return _with_end(finding, record, lifetime, now)


def _with_end(finding: Finding, record: Record, lifetime: Lifetime, now: float) -> Finding:
    try:
        chosen = lifetime.chosen(record.remember)
    except ValueError:
        return replace(finding, reason=f"the lifetime in it cannot be right: {record.remember} s")
    ends_at = chosen.expires_at(renewed_at=finding.sealed_at or 0, started_at=record.started_at)
    reason = "it has expired" if now >= ends_at else None
    return replace(finding, expires_at=ends_at, reason=reason)


def _reason(error: CookieRefused, name: str, value: bytes) -> str:
    if isinstance(error, BadCookieSignature):
        return (
            f"not sealed under these keys for a cookie named {name!r}: another secret_key, another cookie name, "
            "or somebody changed it"
        )
    if isinstance(error, MalformedSession) and _STARLETTE.fullmatch(value):
        return "not one of our tokens; it looks like a cookie of Starlette's own SessionMiddleware"
    if isinstance(error, MalformedSession):
        return "not one of our tokens, or a part of one: nothing in it is sealed"
    return str(error)


def _read(data: bytes) -> Any:
    """The value, read by one of our serializers; in a dict, what cannot be read is marked by itself."""
    for serializer in SERIALIZERS:
        try:
            return serializer.loads(data)
        except CookieRefused:
            continue
    for serializer in SERIALIZERS:
        try:
            return {key: _read_part(part) for key, part in serializer.split(data).items()}
        except CookieRefused:
            continue
    return Unreadable(f"{len(data)} bytes that only the application's serializer can read")


def _read_part(data: bytes) -> Any:
    try:
        return SERIALIZERS[0].loads(data)
    except MalformedSession as exc:
        return Unreadable(f"{len(data)} bytes: {exc}")
