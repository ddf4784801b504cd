"""Finds and opens the cookies of one session, and remembers those that it saw lately."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from .cookies import find
from .sealing import Sealer, Unsealed

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
        self._found: dict[bytes, tuple[bytes, ...]] = {}  # by Cookie header: the one cookie in it, which is known

    def find(self, headers: Iterable[tuple[bytes, bytes]]) -> Sequence[bytes]:
        """``cookies.find``; a header in which a cookie that is known was found is not searched again.

        Finding a known cookie and looking it up takes a third of the time then, but half as much again where the other
        cookies of the header are never the same.
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
            return ()
        if others:
            return find([(b"cookie", each) for each in (line, *others)], self._name)
        return self._found.get(line) or self._search(line)

    def _search(self, line: bytes) -> Sequence[bytes]:
        found = tuple(find([(b"cookie", line)], self._name))
        if len(found) == 1 and found[0] in self._known and len(line) <= LONGEST_KNOWN:
            if len(self._found) >= MOST_KNOWN:
                self._found.clear()  # one atomic step: threads may share an opener
            self._found[line] = found
        return found

    def known(self, value: bytes, now: float) -> T | None:
        """What a cookie holds that was added before; None: it has to be opened.

        Args:
            value: the raw bytes of the cookie's value.
            now: POSIX seconds.
        """
        known = self._known.get(value)
        return known if known is not None and known.renewed_at <= now else None

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
        self._known[value] = opened
        return opened
