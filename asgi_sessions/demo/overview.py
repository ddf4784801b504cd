"""What the page tells about each session of the browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request

from ..session import Session
from ..stores import RecordStore
from .keys import Keys

__all__ = ["MONTH", "Kept", "Overview", "describe", "for_how_long", "when"]

DAY = 24 * 3600  # seconds
MONTH = 30 * DAY
UNITS = {"day": DAY, "hour": 3600, "minute": 60, "second": 1}  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where one of the sessions is kept.

    Attributes:
        sealed: how its cookie is protected.
        store: None: in its cookie.
    """

    label: str
    sealed: str
    store: RecordStore | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One session, in words.

    Attributes:
        refused: why its cookie was refused, or nothing.
        values: what it holds, as Python writes it, or nothing.
    """

    name: str
    store: str
    flags: list[str]
    rows: dict[str, str]
    values: str
    refused: str


async def describe(request: Request, session: Session, kept: Kept, keys: Keys) -> Overview:
    error = session.error
    return Overview(
        name=session.name,
        store=kept.label,
        flags=list(_flags(request, session, kept)),
        rows={label: value for label, value in (await _rows(request, session, kept, keys)).items() if value},
        values=", ".join(f"{key}: {value!r}" for key, value in session.items()),
        refused="" if error is None else f"{type(error).__name__}: {error}",
    )


def _flags(request: Request, session: Session, kept: Kept) -> Iterator[str]:
    options = session.cookie_options
    if session.is_new:
        yield "new"
    if session.error is not None:
        yield "refused"
    if session.owner is not None:
        yield "logged in"
    yield "until the browser closes" if session.max_age is None else "persistent"
    yield kept.sealed
    if options.http_only:
        yield "HttpOnly"
    if options.same_site:
        yield f"SameSite={options.same_site.title()}"
    if request.url.scheme == "https" or options.https_only:
        yield "Secure"


async def _rows(request: Request, session: Session, kept: Kept, keys: Keys) -> dict[str, str]:
    cookie = request.cookies.get(session.name)
    found = not session.is_new
    now = time.time()
    return {
        "Store": kept.label,
        "Record": (session.handle or "in the cookie") if found else "none yet",
        "Size": await _size(session, cookie, kept),
        "Created": when(session.created_at) if found else "not yet",
        "Age": _duration(now - session.created_at) if found else "",
        "Expires": when(session.expires_at) if found else "not yet",
        "Ends in": _duration(session.expires_at - now) if found else "",
        "Sealed under": _key(session, cookie, keys) if found and cookie else "",
    }


async def _size(session: Session, cookie: str | None, kept: Kept) -> str:
    sizes = [f"{len(session.name) + 1 + len(cookie)} bytes in the cookie"] if cookie else []
    if kept.store is not None and session.handle is not None:
        stored = await kept.store.read(bytes.fromhex(session.handle))
        sizes += [f"{len(stored.data)} in the store"] if stored else []
    return ", ".join(sizes) or "none"


def _key(session: Session, cookie: str, keys: Keys) -> str:
    index = keys.opener(session.name, cookie)
    if index is None:
        return ""
    return f"key {keys.fingerprints()[index]}" + (", a former one; sealed anew by this response" if index else "")


def _duration(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in UNITS.items() if seconds >= 2 * size), ("second", 1))
    count = max(0, round(seconds / size))
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def when(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M UTC")


def for_how_long(max_age: float | None) -> str:
    return "until the browser closes" if max_age is None else f"for {max_age / DAY:.0f} days"
