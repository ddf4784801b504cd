"""When a session ends, and when it is due for renewal."""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

DAY = 24 * 3600  # seconds

#: Renewal is due after this part of the lifetime, but not more often than once a minute.
RENEWALS_PER_LIFETIME = 10
SHORTEST_REFRESH = 60.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long a session lives; all figures in seconds.

    Attributes:
        max_age: lifetime of the session and of its cookie. None: the cookie lasts until the browser closes and the
            record for ``browser_session_ttl``. Zero or negative: expired at once.
        browser_session_ttl: lifetime of the record of a browser-session cookie.
        rolling: a request that accesses the session extends it. Otherwise it ends ``max_age`` after its start.
        refresh_interval: a rolling session is renewed at most once in this time. None: a tenth of the lifetime, at
            least 60 s, at most half of the lifetime.
        absolute_timeout: an upper bound, counted from the session's creation or its last ``regenerate()`` (login),
            that no activity extends (OWASP Session Management Cheat Sheet, "Absolute Timeout"). None: no bound.
        duration: seconds from one renewal to the end.
        interval: seconds from one renewal to the next; infinite if it is not rolling.
        cookie_max_age: whole seconds that a cookie lasts if nothing bounds the lifetime, from 0; None: until the
            browser closes.

    Raises:
        ValueError: if a figure is not a number of seconds, or contradicts another one.
    """

    max_age: float | None = 14 * DAY
    browser_session_ttl: float = DAY
    rolling: bool = True
    refresh_interval: float | None = None
    absolute_timeout: float | None = None
    duration: float = field(init=False)
    interval: float = field(init=False)
    cookie_max_age: int | None = field(init=False)

    def __post_init__(self) -> None:
        for option in ("max_age", "browser_session_ttl", "refresh_interval", "absolute_timeout"):
            _check_seconds(option, getattr(self, option))
        if self.browser_session_ttl is None or self.browser_session_ttl <= 0:
            raise ValueError(f"browser_session_ttl={self.browser_session_ttl!r}: must be more than 0 seconds")
        if self.absolute_timeout is not None and self.absolute_timeout <= 0:
            raise ValueError(f"absolute_timeout={self.absolute_timeout!r}: must be more than 0 seconds, or None")
        if self.refresh_interval is not None and self.refresh_interval < 0:
            raise ValueError(f"refresh_interval={self.refresh_interval!r}: must not be negative; None picks one")
        object.__setattr__(self, "duration", self.browser_session_ttl if self.max_age is None else self.max_age)
        object.__setattr__(self, "interval", self._interval() if self.rolling else math.inf)
        object.__setattr__(self, "cookie_max_age", None if self.max_age is None else max(int(self.max_age), 0))
        lifetime = min(self.duration, self.absolute_timeout or self.duration)
        if self.rolling and self.duration > 0 and (self.refresh_interval or 0) >= lifetime:
            raise ValueError(
                f"refresh_interval={self.refresh_interval!r} is not shorter than the lifetime of {lifetime} s, "
                "so the session would never be renewed; make it shorter, or set rolling=False"
            )

    def _interval(self) -> float:
        interval = self.refresh_interval
        if interval is None:
            interval = max(SHORTEST_REFRESH, self.duration / RENEWALS_PER_LIFETIME)
        return min(interval, self.duration / 2)

    def chosen(self, remember: int | None) -> "Lifetime":
        """This lifetime after ``remember(seconds)`` or ``forget()`` (0); None: no choice was made."""
        return self if remember is None else _chosen(self, remember)

    def expires_at(self, renewed_at: float, started_at: float) -> float:
        """The deadline of a session that started and was last renewed at these instants (POSIX seconds)."""
        end = (renewed_at if self.rolling else started_at) + self.duration
        return end if self.absolute_timeout is None else min(end, started_at + self.absolute_timeout)

    def due_at(self, renewed_at: float) -> float:
        """When an accessed session that was renewed at this instant is due for renewal (POSIX seconds)."""
        return renewed_at + self.interval


@lru_cache(1024)
def _chosen(lifetime: Lifetime, remember: int) -> Lifetime:
    duration = remember or lifetime.browser_session_ttl
    interval = lifetime.refresh_interval
    if interval is not None and interval >= min(duration, lifetime.absolute_timeout or duration):
        interval = None  # it was made for another duration
    return replace(lifetime, max_age=remember or None, refresh_interval=interval)


def _check_seconds(option: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e11:
        raise ValueError(f"{option}={value!r}: must be a number of seconds, or None")
