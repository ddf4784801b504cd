"""What is stored for one session, what one request changed in it, and how the two come together."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from ..crypto.seal import Unsealed
from ..exceptions import ExpiredSession, MalformedSession, RegeneratedSession, UnknownSession
from ..lifetime import Lifetime
from ..serializers import Serializer

HANDLE_SIZE = 16  # bytes; OWASP asks for 64 bits of entropy in a session id, this half alone is not the credential
SECRET_SIZE = 32  # bytes
VERSION_SIZE = 8  # bytes
COMMITS_KEPT = 4  # how many commit versions a record remembers
COMMITS_SIZE = COMMITS_KEPT * VERSION_SIZE  # bytes
SUPERSEDED_FOR = 60  # seconds for which the previous secret is told from an unknown one

Owner = str | int
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**40)]  # no larger number was written by us


class Flash(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One flash message; the id lets parallel requests add and consume without loss."""

    id: bytes
    category: str
    message: bytes  # encoded by the session's serializer


class Lease(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who is in the exclusive section, and until when (POSIX seconds)."""

    holder: bytes
    until: float


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is stored for one session. The short names are the wire format: a cookie has 4096 bytes.

    Attributes:
        values: the session's dict, encoded by its serializer.
        created_at, started_at: POSIX seconds; the second one is moved by ``regenerate()``.
        id: 8 random bytes that tell a cookie session from another one; empty for server-side sessions.
        secret_hash: SHA-256 of the token's secret; empty for cookie sessions.
        previous_hash, previous_until: the same of the secret before, and until when it is told from an unknown one.
        epoch: raised by ``clear()`` and ``regenerate()``; a change made against an older one is dropped.
        owner: the principal, or None.
        remember: the lifetime chosen at run time: seconds, 0 for a browser session, None for the configuration's.
        cookie: the cookie attributes that this session overrides.
        owner_epoch: the owner's epoch when a cookie session was sealed for it; see the option ``epochs``.
        label: the application's note for the owner's list of sessions, such as device and address.
        commits: the last versions committed, one after the other, newest last; see ``has_commit``.
        format: the number of the record's format, in a store; 0 in a cookie, whose token carries one.
    """

    values: bytes = msgspec.field(name="v")
    created_at: Natural = msgspec.field(name="t")
    started_at: Natural = msgspec.field(name="s")
    id: bytes = msgspec.field(name="i", default=b"")
    secret_hash: bytes = msgspec.field(name="h", default=b"")
    previous_hash: bytes = msgspec.field(name="p", default=b"")
    previous_until: Natural = msgspec.field(name="u", default=0)
    epoch: Natural = msgspec.field(name="e", default=0)
    flashes: tuple[Flash, ...] = msgspec.field(name="f", default=())
    owner: str | int | None = msgspec.field(name="o", default=None)
    remember: Natural | None = msgspec.field(name="r", default=None)
    cookie: dict[str, str | bool | None] = msgspec.field(name="c", default_factory=dict)
    owner_epoch: Natural = msgspec.field(name="g", default=0)
    label: dict[str, str] = msgspec.field(name="n", default_factory=dict)
    lease: Lease | None = msgspec.field(name="l", default=None)
    commits: bytes = msgspec.field(name="m", default=b"")
    format: Natural = msgspec.field(name="z", default=0)


class Token(msgspec.Struct, frozen=True, gc=False):
    """What the cookie of a session on the server holds.

    Attributes:
        handle, secret: which record, and the right to it.
        digest: the secret's SHA-256.
        renewed_at: when it was sealed, in POSIX seconds.
        stale: it was sealed under a fallback key.
    """

    handle: bytes
    secret: bytes
    digest: bytes
    renewed_at: float
    stale: bool = False

    def __repr__(self) -> str:
        return f"<Token of session {self.handle.hex()}>"


class Loaded(msgspec.Struct, frozen=True, gc=False):
    """A record as it was found, with what a commit to it needs."""

    record: Record
    renewed_at: float  # POSIX seconds; when its token was sealed
    stale: bool = False  # sealed under a fallback key
    handle: bytes = b""
    secret: bytes = b""
    version: bytes = b""
    ends_at: float = 0.0  # POSIX seconds; if it is not renewed
    due_at: float = 0.0  # POSIX seconds; when it is due for renewal, or for sealing under the present key

    def __repr__(self) -> str:
        # Whoever prints it, in a debugger or a crash report, must not print the secret.
        return f"<Loaded: record {self.handle.hex() or 'in a cookie'}, renewed_at={self.renewed_at}>"


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of a request to a session beside its values, since the last commit.

    Attributes:
        doomed: the record that ``invalidate()`` leaves behind, to be deleted.
        ended: ``invalidate()`` was called.
        cleared, regenerated: ``clear()`` or ``regenerate()`` was called.
        added, consumed: flashes added, and the ids of those consumed.
        attributes: new values of the record's fields of these names: ``owner``, ``remember``, ``cookie``, ``label``.
    """

    doomed: Loaded | None = None
    ended: bool = False
    cleared: bool = False
    regenerated: bool = False
    added: tuple[Flash, ...] = ()
    consumed: frozenset[bytes] = frozenset()
    attributes: dict[str, Any] = {}

    def since(self, earlier: Edits) -> Edits:
        """The later edits; ``NOTHING`` if there are none."""
        later = {name: value for name in _PLAIN_EDITS if (value := getattr(self, name)) is not getattr(earlier, name)}
        taken_back = {flash.id for flash in earlier.added if flash not in self.added}
        edits = Edits(
            **later,
            added=tuple(flash for flash in self.added if flash not in earlier.added),
            consumed=self.consumed - earlier.consumed | taken_back,
            attributes={
                name: value
                for name, value in self.attributes.items()
                if name not in earlier.attributes or earlier.attributes[name] is not value
            },
        )
        return NOTHING if edits == NOTHING else edits


NOTHING = Edits()
_PLAIN_EDITS = ("doomed", "ended", "cleared", "regenerated")


class Change(msgspec.Struct, frozen=True, gc=False):
    """What a commit applies to a record.

    Attributes:
        base, values: the encoded dict before and after.
        now: POSIX seconds.
        edits: everything else.
        secret_hash: of the new secret, after ``regenerate()``; empty without.
    """

    base: bytes
    values: bytes
    now: float
    edits: Edits = NOTHING
    secret_hash: bytes = b""


def apply(change: Change, record: Record, serializer: Serializer, version: bytes = b"") -> Record:
    """The record after the change; the record may be a newer one than the change was made against.

    The caller has checked that both are of one epoch. The lease is carried through.
    """
    edits = change.edits
    values = change.values if record.values == change.base else _merge_values(change, record, serializer)
    commits = (record.commits + version)[-COMMITS_SIZE:]
    if edits is NOTHING:
        return replace(record, values=values, commits=commits)
    fields: dict[str, Any] = {"values": values, "commits": commits, **edits.attributes}
    if edits.cleared or edits.added or edits.consumed:
        fields["flashes"] = _merge_flashes(edits, record)
    if edits.cleared or change.secret_hash:
        fields["epoch"] = record.epoch + 1
    if change.secret_hash:
        fields["started_at"] = int(change.now)
        fields["previous_hash"] = record.secret_hash
        fields["previous_until"] = int(change.now) + SUPERSEDED_FOR
        fields["secret_hash"] = change.secret_hash
    return replace(record, **fields)


def has_commit(record: Record, version: bytes) -> bool:
    """Whether a commit is among the record's last ones: then it is done already."""
    return version in [record.commits[at : at + VERSION_SIZE] for at in range(0, len(record.commits), VERSION_SIZE)]


def _merge_values(change: Change, record: Record, serializer: Serializer) -> bytes:
    if change.edits.cleared:
        return change.values
    if change.values == change.base:
        return record.values
    split = serializer.split
    return serializer.join(merge(split(change.base), split(change.values), split(record.values)))


def _merge_flashes(edits: Edits, record: Record) -> tuple[Flash, ...]:
    if edits.cleared:
        return edits.added
    there = {flash.id for flash in record.flashes}
    kept = [flash for flash in record.flashes if flash.id not in edits.consumed]
    return (*kept, *(flash for flash in edits.added if flash.id not in there))


def merge(base: Mapping[Any, bytes], mine: Mapping[Any, bytes], theirs: Mapping[Any, bytes]) -> dict[Any, bytes]:
    """Three-way merge by top-level key: ``theirs``, with what changed from ``base`` to ``mine`` done to it.

    Keys that only one side changed are that side's; a key that both changed is mine, the later commit's.
    """
    merged = {key: value for key, value in theirs.items() if key in mine or key not in base}
    merged.update((key, value) for key, value in mine.items() if base.get(key) != value)
    return merged


def digest(secret: bytes) -> bytes:
    """The store's copy of a secret: 32 random bytes need no salt and no slow hash."""
    return sha256(secret).digest()


def token_of(unsealed: Unsealed) -> Token:
    """
    Raises:
        MalformedSession: it does not have the size of a handle and a secret.
    """
    handle, secret = unsealed.token[:HANDLE_SIZE], unsealed.token[HANDLE_SIZE:]
    if len(secret) != SECRET_SIZE:
        raise MalformedSession("the token does not have the size of handle and secret")
    return Token(handle, secret, digest(secret), unsealed.sealed_at, unsealed.stale)


def check_token(record: Record, token: Token, now: float) -> None:
    """Raise why this token does not open this record, compared in constant time; return None if it does."""
    presented = token.digest
    if not compare_digest(presented, record.secret_hash):
        if record.previous_hash and now < record.previous_until and compare_digest(presented, record.previous_hash):
            raise RegeneratedSession("the session was regenerated a moment ago, by a login as a rule")
        raise UnknownSession("the store holds no session for this cookie")


def times_of(record: Record, lifetime: Lifetime, renewed_at: float, stale: bool) -> tuple[float, float]:
    """When the session ends, whatever the store or the browser keep, and when it is due for renewal (POSIX seconds).

    Raises:
        MalformedSession: the lifetime that the record chooses cannot be right.
    """
    if record.remember is not None:
        try:
            lifetime = lifetime.chosen(record.remember)
        except ValueError as exc:
            raise MalformedSession("the record's lifetime cannot be right") from exc
    due_at = 0.0 if stale else lifetime.due_at(renewed_at)
    return lifetime.expires_at(renewed_at, record.started_at), due_at


def check_end(ends_at: float, now: float) -> None:
    """Raise ExpiredSession if the session's time is over."""
    if now >= ends_at:
        raise ExpiredSession(f"the session ended {now - ends_at:.0f} s ago")
