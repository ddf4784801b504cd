"""What the cookies that a browser presented hold."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from ..config import Binding
from ..cookies import find, is_prefixed
from ..crypto.seal import Unsealed
from ..exceptions import BadCookieSignature, CookieRefused, DuplicateCookie, MalformedSession, SerializationError
from ..importers import read_foreign
from ..stores.cookie import CookieStore
from .opener import Opener
from .record import Loaded, check_end

__all__ = ["Headers", "read_adoptable", "read_cookies", "unseal_all"]

logger = logging.getLogger("asgi_sessions")

Headers = Iterable[tuple[bytes, bytes]]


def read_cookies(
    binding: Binding, cookies: Sequence[bytes], known: Loaded | None, now: float
) -> tuple[Loaded, dict[Any, Any]]:
    """A session that lives in its cookie, and its values.

    Args:
        cookies: one or more of its name.
        known: what the only one holds, if it was met lately.
        now: POSIX seconds.

    Raises:
        CookieRefused: there is no session in them.
    """
    opener: Opener[Loaded] = binding.opener  # type: ignore[assignment]  # of the other kind
    codec = binding.codec
    if known is not None:
        check_end(known.ends_at, now)
        return known, codec.serializer.loads_again(known.record.values)  # type: ignore[return-value]  # it was a dict
    if len(cookies) > 1:
        store: CookieStore = binding.store  # type: ignore[assignment]  # the other kind
        loaded = store.one_of(unseal_all(binding, cookies, now), codec, binding.lifetime, now)
        return loaded, codec.values(loaded.record)
    loaded = opener.open(cookies[0], now)
    values = codec.values(loaded.record)
    opener.add(cookies[0], loaded)
    check_end(loaded.ends_at, now)
    return loaded, values


def unseal_all(binding: Binding, cookies: Sequence[bytes], now: float) -> list[Unsealed]:
    """The authentic tokens among the cookies of the session's name.

    Raises:
        CookieRefused: there is none; the error of the cookie that got furthest.
    """
    if len(cookies) > 1 and is_prefixed(binding.writer.name):
        raise DuplicateCookie(f"the browser sent {len(cookies)} different cookies of a prefixed name")
    tokens: list[Unsealed] = []
    error: CookieRefused | None = None
    for cookie in cookies:
        try:
            tokens.append(binding.sealer.unseal(cookie, now))
        except CookieRefused as exc:
            error = exc if error is None or exc.stage > error.stage else error
    if error is not None and not tokens:
        raise error
    return tokens


def read_adoptable(binding: Binding, headers: Headers, now: float) -> tuple[dict[Any, Any], bytes] | None:
    """The session of another library's cookie, also encoded; None if a cookie of the name is one of ours, however old.

    Args:
        now: POSIX seconds.
    """
    cookies = find(headers, binding.writer.name)
    try:
        unseal_all(binding, cookies, now)
    except (MalformedSession, BadCookieSignature):
        values = read_foreign(binding.readers, cookies, now)
    except CookieRefused:
        return None
    else:
        return None
    if values is None:
        return None
    try:
        return values, binding.serializer.dumps(values)
    except SerializationError:
        logger.warning("session %r: a cookie of another library holds what can not be stored", binding.name)
        return None
