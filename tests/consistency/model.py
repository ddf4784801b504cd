"""A small model of what the sessions of one browser must do: no bytes, no versions, no merging, no retries.

Requests to the model happen one step after the other. What the package may do in many attempts, with replies lost and
rivals in between, is one step here.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Literal

from asgi_sessions import LeaseExpired, LeaseTimeout, SessionSuperseded

MAX_AGE = 10_000  # seconds
SUPERSEDED_FOR = 60  # seconds
LEASE = 10  # seconds

KEEP: Any = object()

Token = tuple[int, int, float]  # handle, secret, and when it was sealed
Entered = Literal["inside", "waiting"]


@dataclass
class Kept:
    """A record."""

    values: dict[str, int]
    flashes: list[str]
    epoch: int
    secret: int
    ends_at: float
    previous: int = 0
    previous_until: float = 0
    holder: int = 0
    until: float = 0

    def is_held_by(self, holder: int, now: float) -> bool:
        return self.holder == holder and self.until > now


@dataclass(frozen=True)
class Seen:
    """A record as a request has seen it last."""

    handle: int
    values: dict[str, int]
    flashes: list[str]
    epoch: int
    secret: int
    sealed_at: float
    holder: int
    until: float


@dataclass
class Known:
    """What a request knows of its session, and did to it since the last commit.

    Attributes:
        seen: its record; None: it has none.
        dead: a logout, a login or a clear was faster; nothing is committed any more.
        doomed: the record that ``invalidate()`` left behind.
        holder: of the lease, inside an exclusive section.
        cookie: what the response will say: a token, None to expire it, KEEP for nothing.
    """

    seen: Seen | None = None
    values: dict[str, int] = field(default_factory=dict)
    base: dict[str, int] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)
    cleared: bool = False
    regenerated: bool = False
    doomed: Seen | None = None
    dead: bool = False
    holder: int = 0
    cookie: Token | None = KEEP

    @property
    def flashes(self) -> list[str]:
        stored = self.seen.flashes if self.seen and not self.cleared else []
        return [flash for flash in stored if flash not in self.consumed] + self.added

    @property
    def is_changed(self) -> bool:
        return bool(self.cleared or self.regenerated or self.added or self.consumed or self.values != self.base)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be kept."""
        return (self.seen is None or self.cleared) and not self.values and not self.flashes

    @property
    def is_writing(self) -> bool:
        """Whether a commit would be more than a renewal."""
        if self.dead:
            return self.is_changed
        if self.is_over:
            return bool(self.seen or self.doomed)
        return self.seen is None or self.is_changed

    def settle(self, seen: Seen | None) -> None:
        """What was done so far is dealt with."""
        self.seen, self.base, self.added, self.consumed = seen, dict(self.values), [], []
        self.cleared = self.regenerated = False
        self.doomed = None

    def fill(self, seen: Seen | None) -> None:
        self.values = dict(seen.values) if seen else {}
        self.settle(seen)

    def drop(self, seen: Seen | None) -> SessionSuperseded:
        self.settle(seen)
        self.dead, self.cookie = True, KEEP
        return SessionSuperseded()

    # -- what an application does to it -----------------------------------------------------------------------------

    def take_flashes(self) -> list[str]:
        taken = self.flashes
        self.consumed += [flash for flash in taken if flash not in self.added]
        self.added.clear()
        return taken

    def clear(self) -> None:
        self.values, self.added, self.cleared = {}, [], True

    def invalidate(self) -> None:
        doomed = self.seen or self.doomed
        self.fill(None)
        self.doomed = doomed


class Model:
    """The records, and the cookie that the browser has."""

    def __init__(self, now: float, *, rolling: bool) -> None:
        self.now, self.rolling = now, rolling
        self.records: dict[int, Kept] = {}
        self.jar: Token | None = None
        self.queue: list[tuple[int, Known]] = []  # who waits for the exclusive section of which handle
        self.made = 0

    def new(self) -> int:
        self.made += 1
        return self.made

    def record(self, handle: int) -> Kept | None:
        kept = self.records.get(handle)
        return kept if kept is not None and kept.ends_at > self.now else None

    def see(self, handle: int, sealed_at: float) -> Seen:
        kept = self.records[handle]
        values, flashes = dict(kept.values), list(kept.flashes)
        return Seen(handle, values, flashes, kept.epoch, kept.secret, sealed_at, kept.holder, kept.until)

    # -- a request --------------------------------------------------------------------------------------------------

    def find(self, handle: int, secret: int, sealed_at: float) -> Seen | None:
        kept = self.record(handle)
        if kept is None or kept.secret != secret or (self.rolling and self.now >= sealed_at + MAX_AGE):
            return None
        return self.see(handle, sealed_at)

    def begin(self) -> Known:
        known = Known()
        if self.jar is not None:
            known.fill(self.find(*self.jar))
            kept = self.record(self.jar[0])
            known.dead = kept is not None and kept.previous == self.jar[1] and self.now < kept.previous_until
        return known

    def end(self, known: Known) -> None:
        waiting = known.cookie
        with contextlib.suppress(SessionSuperseded):  # logged; the response goes out without a cookie
            self.save(known)
            if known.cookie is waiting is not KEEP and known.seen is not None:
                self.current(known, known.seen)  # of an earlier save: a login or logout may have overtaken it
        if known.cookie is not KEEP:
            self.jar = known.cookie

    def reload(self, known: Known) -> None:
        seen = known.seen
        if seen is None:
            doomed = known.doomed
            known.fill(None)
            known.doomed = doomed
            return
        known.fill(self.find(seen.handle, seen.secret, seen.sealed_at))
        if known.seen is None:
            known.dead, known.cookie = True, KEEP
        else:
            known.dead = False

    def save(self, known: Known, *, release: bool = False) -> None:
        if known.dead:
            if known.is_changed:
                raise known.drop(known.seen)
        elif known.is_over:
            self.delete(known, known.seen or known.doomed)
        else:
            if known.doomed is not None:
                self.remove(known, known.doomed)
            if known.seen is None:
                self.create(known)
            elif known.is_changed:
                self.change(known, known.seen, release=release)
            elif self.rolling:
                self.renew(known, known.seen)

    def delete(self, known: Known, doomed: Seen | None) -> None:
        if doomed is None:
            return
        known.seen = None
        self.remove(known, doomed)
        known.settle(None)
        known.cookie = None

    def remove(self, known: Known, doomed: Seen) -> None:
        self.current(known, doomed)
        del self.records[doomed.handle]

    def current(self, known: Known, seen: Seen) -> Kept:
        """The record, unless somebody ended the session or raised its epoch."""
        kept = self.record(seen.handle)
        if kept is None or kept.epoch != seen.epoch:
            raise known.drop(known.seen)
        return kept

    def create(self, known: Known) -> None:
        known.holder = 0  # its lease was on another record
        handle, secret = self.new(), self.new()
        self.records[handle] = Kept(dict(known.values), list(known.added), 0, secret, self.now + MAX_AGE)
        self.emit(known, handle)

    def emit(self, known: Known, handle: int) -> None:
        known.settle(self.see(handle, self.now))
        known.cookie = (handle, self.records[handle].secret, self.now)

    def renew(self, known: Known, seen: Seen) -> None:
        self.current(known, seen).ends_at = self.now + MAX_AGE
        self.emit(known, seen.handle)

    def change(self, known: Known, seen: Seen, *, release: bool = False) -> None:
        kept = self.leased(known, seen)
        if known.cleared:
            kept.values, kept.flashes = {}, []
        for key in known.base.keys() - known.values.keys():
            kept.values.pop(key, None)
        kept.values |= {k: v for k, v in known.values.items() if known.cleared or known.base.get(k) != v}
        kept.flashes = [flash for flash in kept.flashes if flash not in known.consumed] + known.added
        kept.epoch += known.cleared or known.regenerated
        if release or ((known.cleared or known.regenerated) and not known.holder):
            kept.holder = 0
        if known.regenerated:
            kept.previous, kept.previous_until = kept.secret, self.now + SUPERSEDED_FOR
            kept.secret = self.new()
        if not (known.regenerated or self.rolling):
            known.settle(self.see(seen.handle, seen.sealed_at))
            return
        kept.ends_at = self.now + MAX_AGE
        self.emit(known, seen.handle)

    # -- exclusive sections -----------------------------------------------------------------------------------------

    def enter(self, known: Known, *, patient: bool) -> Entered:
        self.save(known)
        if known.seen is None:
            return "inside"
        self.queue.append((known.seen.handle, known))
        entered = self.look_again(known)
        if entered == "waiting" and not patient:
            self.give_up(known)
            raise LeaseTimeout
        return entered

    def look_again(self, known: Known) -> Entered:
        """Enter if it is this one's turn and nobody is inside; raise SessionSuperseded if the session is over."""
        handle = next(handle for handle, waiting in self.queue if waiting is known)
        if known is not next(waiting for other, waiting in self.queue if other == handle):
            return "waiting"
        self.reload(known)
        kept = self.records[handle] if known.seen else None
        if kept is not None and kept.holder and kept.until > self.now:
            return "waiting"
        self.give_up(known)
        if known.seen is None or kept is None:
            raise SessionSuperseded
        known.holder = kept.holder = self.new()
        kept.until = self.now + LEASE
        known.seen = self.see(handle, known.seen.sealed_at)
        return "inside"

    def give_up(self, known: Known) -> None:
        """Wait no longer."""
        self.queue = [(handle, waiting) for handle, waiting in self.queue if waiting is not known]

    def leave(self, known: Known, *, failed: bool) -> None:
        """Commit what was done inside, or drop it, and give the lease back."""
        seen = known.seen or known.doomed
        if failed:
            self.restore(known, seen)
        try:
            if seen is not None and known.holder and not known.is_writing:
                self.release(known, seen)
            else:
                self.save(known, release=True)
        except (SessionSuperseded, LeaseExpired):
            self.restore(known, seen)
            if not failed:
                raise
        finally:
            known.holder = 0

    def restore(self, known: Known, seen: Seen | None) -> None:
        if seen is None:
            self.reload(known)
            return
        known.fill(seen)
        known.dead = False

    def release(self, known: Known, seen: Seen) -> None:
        known.seen = seen
        self.leased(known, seen).holder = 0
        known.settle(self.see(seen.handle, seen.sealed_at))

    def leased(self, known: Known, seen: Seen) -> Kept:
        """The record, if it may be changed: outside of sections by anybody, inside only while the lease lasts."""
        if known.holder and (seen.holder != known.holder or seen.until <= self.now):
            raise LeaseExpired
        kept = self.current(known, seen)
        if known.holder and not kept.is_held_by(known.holder, self.now):
            raise LeaseExpired
        return kept
