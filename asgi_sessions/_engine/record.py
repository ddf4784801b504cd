"""What is stored for one session, what one request did to it, and how the two come together."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ..crypto.seal import RecordSealer, Unsealed
from ..exceptions import ExpiredSession, MalformedSession, RegeneratedSession, UnknownSession
from ..lifetime import Lifetime
from ..serializers import Serializer

__all__ = [
    "Change",
    "Flash",
    "Lease",
    "Loaded",
    "Record",
    "RecordCodec",
    "Token",
    "apply",
    "check_end",
    "check_token",
    "digest",
    "merge",
    "times_of",
    "token_of",
]

HANDLE_SIZE = 16  # bytes; OWASP asks for 64 bits of entropy in a session id, this half alone is not the credential
SECRET_SIZE = 32  # bytes
VERSION_SIZE = 8  # bytes
COMMITS_KEPT = 4  # how many commit versions a record remembers
COMMITS_SIZE = COMMITS_KEPT * VERSION_SIZE  # bytes
SUPERSEDED_FOR = 60  # seconds for which the previous secret is told from an unknown one
MOST_KNOWN = 512  # records that a codec remembers, ...
MAX_KNOWN = 4096  # ... of so many bytes at the most

Owner = str | int
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**40)]  # what lies beyond it was not written by us


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
        label: what the application noted for the owner's list of sessions, such as device and address.
        commits: the last versions committed, one after the other, newest last; see ``has_commit``.
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
    """A record as it was found, with what is needed to commit to it."""

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


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one request did to a session.

    Attributes:
        base, values: the encoded dict before and after.
        cleared: whether ``clear()`` was called: everything that was there goes, whoever wrote it.
        added, consumed: flashes added, and the ids of those consumed.
        secret_hash: of the new secret, after ``regenerate()``; empty without.
        owner, remember, cookie, label: the new one, or UNSET.
        now: POSIX seconds.
        only_values: nothing but the dict was changed, as with most changes.
    """

    base: bytes
    values: bytes
    now: float
    cleared: bool = False
    added: tuple[Flash, ...] = ()
    consumed: frozenset[bytes] = frozenset()
    secret_hash: bytes = b""
    owner: Owner | UnsetType | None = UNSET
    remember: int | UnsetType | None = UNSET
    cookie: Mapping[str, str | bool | None] | UnsetType = UNSET
    label: Mapping[str, str] | UnsetType = UNSET
    only_values: bool = False


def apply(change: Change, record: Record, serializer: Serializer, version: bytes = b"") -> Record:
    """The record after the change; the record may be a newer one than the change was made against.

    The caller has checked that both are of one epoch. The lease is carried through.
    """
    values = change.values if record.values == change.base else _merge_values(change, record, serializer)
    commits = (record.commits + version)[-COMMITS_SIZE:]
    if change.only_values:
        return replace(record, values=values, commits=commits)
    fields: dict[str, Any] = {"values": values, "commits": commits}
    if change.cleared or change.added or change.consumed:
        fields["flashes"] = _merge_flashes(change, record)
    if change.cleared or change.secret_hash:
        fields["epoch"] = record.epoch + 1
    if change.secret_hash:
        fields["started_at"] = int(change.now)
        fields["previous_hash"] = record.secret_hash
        fields["previous_until"] = int(change.now) + SUPERSEDED_FOR
        fields["secret_hash"] = change.secret_hash
    if change.owner is not UNSET:
        fields["owner"] = change.owner
    if change.remember is not UNSET:
        fields["remember"] = change.remember
    if change.cookie is not UNSET:
        fields["cookie"] = change.cookie
    if change.label is not UNSET:
        fields["label"] = change.label
    return replace(record, **fields)


def has_commit(record: Record, version: bytes) -> bool:
    """Whether a commit is among the record's last ones: then it is done already."""
    return version in [record.commits[at : at + VERSION_SIZE] for at in range(0, len(record.commits), VERSION_SIZE)]


def _merge_values(change: Change, record: Record, serializer: Serializer) -> bytes:
    if change.cleared:
        return change.values
    if change.values == change.base:
        return record.values
    split = serializer.split
    return serializer.join(merge(split(change.base), split(change.values), split(record.values)))


def _merge_flashes(change: Change, record: Record) -> tuple[Flash, ...]:
    if change.cleared:
        return change.added
    there = {flash.id for flash in record.flashes}
    kept = [flash for flash in record.flashes if flash.id not in change.consumed]
    return (*kept, *(flash for flash in change.added if flash.id not in there))


def merge(base: Mapping[Any, bytes], mine: Mapping[Any, bytes], theirs: Mapping[Any, bytes]) -> dict[Any, bytes]:
    """Three-way merge by top-level key: ``theirs``, with what changed from ``base`` to ``mine`` done to it.

    Keys that only one side changed are that side's; a key that both changed is mine, the later commit's.
    """
    merged = {key: value for key, value in theirs.items() if key in mine or key not in base}
    merged.update((key, value) for key, value in mine.items() if base.get(key) != value)
    return merged


def digest(secret: bytes) -> bytes:
    """What the store keeps of a secret: 32 random bytes need no salt and no slow hash."""
    return sha256(secret).digest()


def token_of(unsealed: Unsealed) -> Token:
    """
    Raises:
        MalformedSession: it has not the size of a handle and a secret.
    """
    handle, secret = unsealed.token[:HANDLE_SIZE], unsealed.token[HANDLE_SIZE:]
    if len(secret) != SECRET_SIZE:
        raise MalformedSession("the token has not the size of handle and secret")
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
        MalformedSession: the lifetime that the record chooses can not be right.
    """
    if record.remember is not None:
        try:
            lifetime = lifetime.chosen(record.remember)
        except ValueError as exc:
            raise MalformedSession("the record's lifetime can not be right") from exc
    due_at = 0.0 if stale else lifetime.due_at(renewed_at)
    return lifetime.expires_at(renewed_at, record.started_at), due_at


def check_end(ends_at: float, now: float) -> None:
    """Raise ExpiredSession if the session's time is over."""
    if now >= ends_at:
        raise ExpiredSession(f"the session ended {now - ends_at:.0f} s ago")


class RecordCodec:
    """Records <-> the bytes that a store keeps, for one session configuration.

    MessagePack; a JSON object where the serializer writes text, for those who read the store with other tools;
    encrypted where the configuration says so, bound to the record's handle.

    Attributes:
        pack: Record -> bytes, not encrypted: what the cookie of a session without a server holds.
    """

    __slots__ = ("_known", "pack", "readable", "sealer", "serializer")

    def __init__(self, serializer: Serializer, sealer: RecordSealer | None = None, *, readable: bool = True) -> None:
        self.serializer = serializer
        self.sealer = sealer
        self.readable = readable and serializer.text
        self.pack: Callable[[Record], bytes] = _encode_json if self.readable else _encoder.encode
        self._known: dict[bytes, tuple[Token, bytes, Loaded]] = {}  # by handle

    def encode(self, record: Record, handle: bytes = b"") -> bytes:
        data = self.pack(record)
        return data if self.sealer is None else self.sealer.seal(data, handle)

    def decode(self, data: bytes, handle: bytes = b"") -> Record:
        """
        Raises:
            CookieRefused: the bytes are not a record of this configuration.
        """
        if self.sealer is not None:
            data = self.sealer.unseal(data, handle)
        try:
            return _decode_json(data) if self.readable else _decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            raise MalformedSession(f"not a session record ({type(exc).__name__})") from exc

    def known(self, token: Token, version: bytes, data: bytes, now: float) -> tuple[Loaded, dict[Any, Any]] | None:
        """What the token led to lately, with its values, if the record is still the same; all but its time was checked.

        None: it has to be looked at.
        """
        known = self._known.get(token.handle)
        if known is None or known[0] is not token or known[1] != data:
            return None
        loaded = known[2]
        if loaded.version != version or now >= loaded.ends_at:
            return None
        try:
            return loaded, self.serializer.loads_again(loaded.record.values)  # type: ignore[return-value]  # a dict
        except MalformedSession:  # by a registered type's decode function, which could do it then
            return None

    def remember(self, token: Token, data: bytes, loaded: Loaded) -> None:
        """For ``known``: the token leads to it, and all checks have found nothing wrong."""
        if len(data) <= MAX_KNOWN:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()  # one atomic step: threads may share a codec
            self._known[token.handle] = token, data, loaded

    def remember_commit(self, before: Loaded, data: bytes, after: Loaded) -> None:
        """The token that led to ``before`` leads to ``after`` now; secret and times are the same."""
        known = self._known.get(before.handle)
        if known is not None and known[2] is before and len(data) <= MAX_KNOWN:
            self._known[before.handle] = known[0], data, after

    def values(self, record: Record) -> dict[Any, Any]:
        """
        Raises:
            MalformedSession: the record's values can not be decoded, or are no dict; or a flash can not be decoded.
        """
        values = self.serializer.loads(record.values)
        if not isinstance(values, dict):
            raise MalformedSession("the record's values are no dict")
        for flash in record.flashes:
            self.serializer.loads(flash.message)  # now, while a refusal is still possible
        return values


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class _JSONFlash(msgspec.Struct, frozen=True):
    id: bytes
    category: str
    message: msgspec.Raw


class _JSONRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record for human eyes: long names, values and flashes as they are, bytes as base64."""

    values: msgspec.Raw
    created_at: Natural
    started_at: Natural
    id: bytes = b""
    secret_hash: bytes = b""
    previous_hash: bytes = b""
    previous_until: Natural = 0
    epoch: Natural = 0
    flashes: tuple[_JSONFlash, ...] = ()
    owner: str | int | None = None
    remember: Natural | None = None
    cookie: dict[str, str | bool | None] = {}
    owner_epoch: Natural = 0
    label: dict[str, str] = {}
    lease: Lease | None = None
    commits: bytes = b""


def _encode_json(record: Record) -> bytes:
    fields = msgspec.structs.asdict(record)
    fields["values"] = msgspec.Raw(record.values)
    fields["flashes"] = tuple(_JSONFlash(f.id, f.category, msgspec.Raw(f.message)) for f in record.flashes)
    return msgspec.json.encode(_JSONRecord(**fields))


def _decode_json(data: bytes) -> Record:
    fields = msgspec.structs.asdict(msgspec.json.decode(data, type=_JSONRecord))
    fields["values"] = bytes(fields["values"])
    fields["flashes"] = tuple(Flash(f.id, f.category, bytes(f.message)) for f in fields["flashes"])
    return Record(**fields)
