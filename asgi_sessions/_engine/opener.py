"""Finds and opens the cookies of one session, and remembers those that it saw lately."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from ..cookies import find
from ..crypto.seal import Sealer, Unsealed

__all__ = ["LONGEST_KNOWN", "MOST_KNOWN", "Opener"]

MOST_KNOWN = 512  # cookies that one session's opener remembers: 5 MB of the longest, 200 kB of those of a store
LONGEST_KNOWN = 2048  # bytes of a Cookie header that is remembered: 2 MB for as many of them, with their cookies


class Opened(Protocol):
    """What a cookie holds."""

    @property
    def renewed_at(self) -> float:
        """When it was sealed, in POSIX seconds."""


T = TypeVar("T", bound=Opened)


class Opener(Generic[T]):
    """A browser sends the same cookie again and again: what was opened or sealed lately is not verified again.

    Whoever presents one has the whole of it already, so looking it up tells nobody anything about others.

    Args:
        name: the cookie's, as ``check_cookie_name`` returns it.
        sealer: verifies, or decrypts.
        read: makes what is remembered of an authentic token: nothing that depends on the time.
    """

    __slots__ = ("_found", "_known", "_name", "_read", "_sealer")

    def __init__(self, name: bytes, sealer: Sealer, read: Callable[[Unsealed], T]) -> None:
        self._name = name
        self._sealer = sealer
        self._read = read
        self._known: dict[bytes, T] = {}
        self._found: dict[bytes, tuple[Sequence[bytes], T]] = {}  # by Cookie header: the one cookie in it, and that

    def find(self, headers: Iterable[tuple[bytes, bytes]], now: float) -> tuple[Sequence[bytes], T | None]:
        """The cookies of the name, as ``cookies.find`` returns them, and what the only one holds, if that is known.

        A header in which a cookie that is known was found is not searched again: it takes a third of the time then,
        but half as much again where the other cookies of the header are never the same.

        Args:
            now: POSIX seconds. What was sealed later has to be opened, known or not.
        """
        line: bytes | None = None
        others: list[bytes] = []
        for name, value in headers:
            if name == b"cookie":
                if line is None:
                    line = value
                else:
                    others.append(value)
        if line is None:
            return (), None
        if not others:
            found = self._found.get(line)
            if found is not None and found[1].renewed_at <= now:
                return found
        cookies = find([(b"cookie", each) for each in (line, *others)], self._name)
        known = self._known.get(cookies[0]) if len(cookies) == 1 else None
        if known is None or known.renewed_at > now:
            return cookies, None
        if not others and len(line) <= LONGEST_KNOWN:
            if len(self._found) >= MOST_KNOWN:
                self._found.clear()  # one atomic step: threads may share an opener
            self._found[line] = tuple(cookies), known
        return cookies, known

    def open(self, value: bytes, now: float) -> T:
        """What a cookie holds.

        Raises:
            CookieRefused: it is none of ours, or comes from the future.
        """
        return self._read(self._sealer.unseal(value, now))

    def add(self, value: bytes, opened: T) -> T:
        """Remember a cookie that is authentic, and what it holds good."""
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()  # one atomic step: threads may share an opener
            self._found.clear()  # what it holds would be another object than what is known from now on
        self._known[value] = opened
        return opened
