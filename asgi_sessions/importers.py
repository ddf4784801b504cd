"""Cookies of other libraries, read for a while so that moving in logs nobody out."""

import logging
import math
from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec
from itsdangerous import BadData, TimestampSigner

from .crypto.seal import CLOCK_SKEW, MAX_SEALED
from .lifetime import DAY

logger = logging.getLogger("asgi_sessions")

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@runtime_checkable
class CookieReader(Protocol):
    """Reads the cookies of another library; given to ``SessionMiddleware(readers=[...])``."""

    def read(self, value: bytes, now: float) -> dict[str, Any] | None:
        """The session that the cookie holds; None if it is not one to be trusted.

        It must check the signature before anything else, and refuse everything after a date: the cookies that it
        accepts cannot be revoked.

        Args:
            value: the raw bytes of the cookie's value, at most 4096.
            now: POSIX seconds.
        """


class StarletteCookies:
    """Accepts the cookies of Starlette's ``SessionMiddleware`` until a date.

    Such a cookie opens a new session with its values, which is sealed as ours, or created in the store, at the first
    response of a request that used the session. The browser replaces the old cookie by the new one only if name, path
    and domain are the same: keep them.

    An old cookie stays good until ``until`` for whoever has a copy of it, also after a logout, which no server can
    tell it: the signature does not say for which cookie or visitor it was made. Do not set the date further off
    than needed: now + the former ``max_age``, after which Starlette itself would have refused the last of them.

    Args:
        secret_key: the key that the cookies were signed with; take another one for this library, if you can.
        until: an aware datetime or POSIX seconds; from then on every such cookie is refused.
        max_age: seconds after its signing that a cookie is accepted, as it was configured there; None: not limited.

    Raises:
        ValueError, TypeError: an argument cannot be right.
    """

    def __init__(self, secret_key: object, *, until: datetime | float, max_age: float | None = 14 * DAY) -> None:
        key = secret_key if isinstance(secret_key, bytes) else str(secret_key)  # also Starlette's Secret
        if secret_key is None or not key:
            raise ValueError("StarletteCookies: secret_key is empty; anybody could sign such cookies")
        self.until = _instant(until)
        if max_age is not None and not _is_seconds(max_age):
            raise ValueError(f"StarletteCookies: max_age={max_age!r}: must be a number of seconds, or None")
        self.max_age = max_age
        self._signer = TimestampSigner(key)

    def read(self, value: bytes, now: float) -> dict[str, Any] | None:
        if now >= self.until or len(value) > MAX_SEALED:
            return None
        try:
            payload, signed_at = self._signer.unsign(value, return_timestamp=True)
            age = int(now) - int(signed_at.timestamp())
            # Starlette knows no skew, but while both are deployed side by side, two clocks are the rule.
            if age < -CLOCK_SKEW or (self.max_age is not None and age > self.max_age):
                return None
            return _decode(b64decode(payload, validate=True))
        except (BadData, ValueError, RecursionError):
            return None


def read_foreign(readers: Sequence[CookieReader], values: Sequence[bytes], now: float) -> dict[str, Any] | None:
    """The session in another library's cookies; None if no reader takes one, or two differ (cookie tossing)."""
    found = [read for value in values for reader in readers if (read := _read(reader, value, now))]
    return found[0] if found and all(read == found[0] for read in found) else None


def _read(reader: CookieReader, value: bytes, now: float) -> dict[str, Any] | None:
    if len(value) > MAX_SEALED:
        return None
    try:
        return reader.read(value, now)
    except Exception:  # whatever a cookie does to a reader, the request goes on
        logger.exception("%s failed; the cookie is refused", type(reader).__name__)
        return None


def _instant(until: datetime | float) -> float:
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise ValueError(f"StarletteCookies: until={until!r} has no time zone; write datetime(..., tzinfo=UTC)")
        return until.timestamp()
    if not _is_seconds(until):
        raise ValueError(f"StarletteCookies: until={until!r}: must be an aware datetime, or POSIX seconds")
    return until


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
