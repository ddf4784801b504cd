"""What a store is: the contract for everybody who writes one, and the commits that build on it."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from os import urandom
from random import random
from typing import Any, TypeVar

import anyio
import msgspec
from msgspec.structs import replace

from .._engine.queue import KeyedLock, is_locked
from .._engine.record import (
    HANDLE_SIZE,
    Change,
    Lease,
    Loaded,
    Record,
    RecordCodec,
    Token,
    apply,
    check_end,
    check_token,
    has_commit,
    times_of,
    token_of,
)
from ..crypto.seal import Unsealed
from ..exceptions import (
    CookieRefused,
    DuplicateCookie,
    LeaseExpired,
    MalformedSession,
    SessionConflict,
    SessionError,
    StoreUnavailable,
    UnknownSession,
)
from ..lifetime import Lifetime

__all__ = ["Commit", "RecordStore", "Rival", "Store", "Stored"]

logger = logging.getLogger("asgi_sessions")

T = TypeVar("T")

_WRITING_VERBS = "create", "swap", "touch", "delete"
COMMIT_ATTEMPTS = 40  # conflicts with other processes before a commit gives up, about two seconds of waiting
LONGEST_PAUSE = 0.1  # seconds between two of them


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record as a store keeps it: ``Stored(version, data)``.

    Attributes:
        version: 8 bytes, chosen by the caller of ``create`` and ``swap``.
        data: the record; opaque to the store, any bytes, also none at all, a few hundred bytes as a rule.
    """

    version: bytes
    data: bytes


class Commit(msgspec.Struct, frozen=True, gc=False):
    """A change on its way into a record.

    Attributes:
        loaded: the record as the change was made to it.
        version: the commit's own, made once, so that a commit that is repeated is recognised.
        expires_at: the new deadline, in POSIX seconds; None keeps it.
        holder: commit only while the kept record carries this holder's lease.
        release: give the lease back with the commit.
    """

    loaded: Loaded
    change: Change
    version: bytes
    expires_at: float | None = None
    holder: bytes = b""
    release: bool = False


class Rival(msgspec.Struct, frozen=True, gc=False):
    """Somebody else's record, which a commit met, or may meet."""

    commit: Commit
    found: Loaded


class Store:
    """Where sessions live between requests: a ``CookieStore`` or a ``RecordStore``."""

    async def open(self) -> None:
        """Get ready; called when the application starts up. A store that was not opened opens on first use."""

    async def close(self) -> None:
        """Let go of connections, threads and files. Closing twice, or unopened, is no error; it may be reopened."""


class RecordStore(Store, ABC):
    """Versioned records: five verbs are the whole contract for a custom store.

    A store keeps opaque bytes under a handle, with a version and a deadline. It knows nothing of cookies, keys or
    merging: this class does all that, once, for every store. Subclass it and implement ``read``, ``create``,
    ``swap``, ``touch`` and ``delete``; override ``open`` and ``close`` if there is something to open.

    Rules that hold for all five:

    * ``handle`` is 16 bytes, any bytes. Two handles that differ in any bit are two records.
    * ``version`` is 8 bytes, made by the caller, a new one for every commit. Compare it, never interpret it.
    * ``expires_at`` is a deadline in POSIX seconds (``time.time()``). A record past its deadline does not exist, for
      none of the five verbs; when it is erased is the store's own affair.
    * Each verb is atomic: of two that run at once, in any thread or process, one happens first as a whole.
    * **Every write is safe to repeat.** A caller who lost a reply calls again with the same arguments, and gets
      the answer that it would have got.
    * A write that returned has taken place, as durably as the store promises. One that raised or was cancelled has
      taken place as a whole or not at all.
    * What the system does wrong is raised as ``StoreUnavailable``, ``StoreTimeout`` or ``StoreFull``, ``from``
      its cause. "Not there" and "somebody was faster" are answers, not errors.
    * No verb waits without a bound.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        said = next(base for base in cls.__mro__ if "write_timeout" in vars(base))
        later = cls.__mro__[: cls.__mro__.index(said)]
        if any(verb in vars(base) for base in later for verb in _WRITING_VERBS):
            cls.write_timeout = RecordStore.write_timeout  # type: ignore[method-assign]  # not of this verb

    @property
    def write_timeout(self) -> float:
        """Seconds after which each writing verb has returned or raised by itself, whatever happens; optional.

        Most commits need no timer then. Whoever overrides a verb says it anew.
        """
        return math.inf

    @abstractmethod
    async def read(self, handle: bytes) -> Stored | None:
        """The record under ``handle``, or None if there is none or it is past its deadline. Never writes."""

    @abstractmethod
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        """Store a record where there is none.

        Returns:
            True if the record is there under version ``new``: stored now, or by an earlier call whose reply got
            lost. False if there is a record of another version, which stays as it is: ``create`` never overwrites.
        """

    @abstractmethod
    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        """Replace the record of version ``old`` by ``data`` under version ``new``.

        Args:
            expires_at: the new deadline; None keeps the one that the record has.

        Returns:
            What is kept when it is done. Its version is ``new`` if the swap took place, now or in an earlier call
            whose reply got lost. Any other version is somebody else's record, which stays as it is. None if
            there is no record: ``swap`` never creates, so that an update can not bring a deleted session back.
        """

    @abstractmethod
    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        """Move the deadline, earlier or later, while the record still has ``version``; data and version stay.

        Returns:
            True if the deadline is ``expires_at`` now. False if there is no record or one of another version.
        """

    @abstractmethod
    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        """Delete the record under ``handle``; with ``version``, only if it has that version.

        Returns:
            None if there is no record now, whether this call deleted it or it was gone before. Otherwise the
            record of another version that stood in the way, and still does.
        """

    async def quarantine(self, handle: bytes, version: bytes) -> None:
        """Put a record aside that can not be decoded; optional. Its visitor gets a new session either way."""

    async def deadline(self, handle: bytes) -> float | None:
        """When the record under ``handle`` ends, in POSIX seconds; optional, for lists of sessions. None: not known."""
        return None

    # -- what the registry uses: written once, on the five verbs -------------------------------------------------------

    async def load(
        self, token: Token, codec: RecordCodec, lifetime: Lifetime, now: float
    ) -> tuple[Loaded, dict[Any, Any]]:
        """The session that the token leads to, and its values.

        Raises:
            CookieRefused: it leads to none.
            StoreError: the store could not be read.
        """
        return await self.opened(await self.read(token.handle), token, codec, lifetime, now)

    async def opened(
        self, stored: Stored | None, token: Token, codec: RecordCodec, lifetime: Lifetime, now: float
    ) -> tuple[Loaded, dict[Any, Any]]:
        """``load`` once it was read; what can not be decoded is put aside."""
        handle = token.handle
        if stored is None:
            raise UnknownSession("the store holds no session for this cookie")
        try:
            record = codec.decode(stored.data, handle)
            values = codec.values(record)
        except CookieRefused as exc:
            logger.warning("session record %s can not be read and is put aside: %s", handle.hex(), exc)
            await self.quarantine(handle, stored.version)
            raise MalformedSession("the record can not be read") from exc
        check_token(record, token, now)
        ends_at, due_at = times_of(record, lifetime, token.renewed_at, token.stale)
        check_end(ends_at, now)
        version = stored.version
        loaded = Loaded(record, token.renewed_at, token.stale, handle, token.secret, version, ends_at, due_at)
        codec.remember(token, stored.data, loaded)
        return loaded, values

    async def load_one_of(
        self, tokens: Sequence[Unsealed], codec: RecordCodec, lifetime: Lifetime, now: float
    ) -> tuple[Loaded, dict[Any, Any]]:
        """``load`` for several tokens, read at once; two live sessions are none (cookie tossing)."""
        newest = {token.token[:HANDLE_SIZE]: token for token in sorted(tokens, key=lambda token: token.sealed_at)}
        values: dict[bytes, dict[Any, Any]] = {}
        found: list[Loaded | CookieRefused] = []
        failed: list[Exception] = []

        async def find(token: Unsealed) -> None:
            try:
                loaded, values[loaded.handle] = await self.load(token_of(token), codec, lifetime, now)
                found.append(loaded)
            except CookieRefused as exc:
                found.append(exc)
            except Exception as exc:
                failed.append(exc)

        async with anyio.create_task_group() as group:
            for token in newest.values():
                group.start_soon(find, token)
        for exc in failed:
            raise exc
        loaded = only_one(found)
        return loaded, values[loaded.handle]

    async def commit(self, commit: Commit, codec: RecordCodec) -> Loaded | None:
        """Swap the change in; on somebody else's record of the same epoch, merge it into theirs.

        Returns:
            What is kept now. None if the record is gone or of another epoch: the change is dropped.

        Raises:
            SessionConflict: others were faster every time.
            LeaseExpired: the lease ran out, or belongs to somebody else.
            StoreError: the store could not do it, or whether it did is unknown.
        """
        kept = await self.race(commit, codec)
        return await self.line_up(kept, codec) if isinstance(kept, Rival) else kept

    async def race(self, commit: Commit, codec: RecordCodec, current: Loaded | None = None) -> Loaded | Rival | None:
        """The first try of ``commit``, which is the only one as a rule: one verb, if nobody lines up.

        Args:
            current: what was found last, for whoever has the turn; None: as it was loaded.

        Returns:
            As ``commit``, or the rival who was faster: then ``line_up``.
        """
        loaded, change, version = commit.loaded, commit.change, commit.version
        if current is None:
            if is_locked(self, loaded.handle):
                return Rival(commit, loaded)
            current = loaded
        if commit.holder:
            check_lease(current.record, commit.holder, change.now)
        record = apply(change, current.record, codec.serializer, version)
        if commit.release or (record.epoch != current.record.epoch and not commit.holder):
            record = replace(record, lease=None)  # of another epoch the holder can not commit any more
        data = codec.encode(record, loaded.handle)
        kept = await self.swap(loaded.handle, current.version, version, data, commit.expires_at)
        if kept is not None and kept.version == version and kept.data == data:
            committed = replace(loaded, record=record, version=version)
            if change.only_values and current is loaded:  # nobody else changed anything else
                codec.remember_commit(loaded, data, committed)
            return committed
        found = self._decode(kept, codec, loaded)
        if found is None or has_commit(found.record, version):
            return found
        return Rival(commit, found) if found.record.epoch == loaded.record.epoch else None

    async def line_up(self, rival: Rival, codec: RecordCodec) -> Loaded | None:
        """The further tries of ``commit``: one after the other with those of this process who met a rival, too."""
        commit = rival.commit
        async with self.queue(commit.loaded.handle):
            for attempt in range(COMMIT_ATTEMPTS):
                kept = await self.race(commit, codec, rival.found)
                if not isinstance(kept, Rival):
                    return kept
                rival = kept
                await _pause(attempt)
        raise SessionConflict(
            f"session {commit.loaded.handle.hex()}: {COMMIT_ATTEMPTS} commits in a row met a newer record"
        )

    async def renew(self, loaded: Loaded, codec: RecordCodec, expires_at: float) -> Loaded | None:
        """Move the deadline, leaving the data alone. None if the session is gone or of another epoch."""
        current: Loaded | None = loaded
        for attempt in range(COMMIT_ATTEMPTS):
            if current is None or current.record.epoch != loaded.record.epoch:
                return None
            if await self.touch(current.handle, current.version, expires_at):
                return current
            current = self._decode(await self.read(loaded.handle), codec, loaded)
            await _pause(attempt)
        raise SessionConflict(f"session {loaded.handle.hex()}: {COMMIT_ATTEMPTS} renewals met a newer record")

    async def remove(self, loaded: Loaded, codec: RecordCodec) -> bool:
        """Delete the record, whoever wrote to it meanwhile.

        Returns:
            False if it was gone before, or a newer epoch keeps it alive: somebody else logged out or in, and the
            cookie that the browser has by now is not ours to expire.
        """
        async with self.queue(loaded.handle):
            rival = await self.read(loaded.handle)
            for attempt in range(COMMIT_ATTEMPTS):
                if rival is None:
                    return attempt > 0
                decoded = self._decode(rival, codec, loaded)
                if decoded is not None and decoded.record.epoch != loaded.record.epoch:
                    return False
                rival = await self.delete(loaded.handle, rival.version)
                if rival is None:
                    return True
                await _pause(attempt)
        raise SessionConflict(f"session {loaded.handle.hex()}: {COMMIT_ATTEMPTS} deletions met a newer record")

    async def acquire(self, loaded: Loaded, codec: RecordCodec, lease: Lease, now: float) -> Loaded | None:
        """Try once to take the lease on the record as it was loaded. None if it is taken, or the record newer."""
        taken = loaded.record.lease
        if taken is not None and taken.until > now and taken.holder != lease.holder:
            return None
        version = urandom(8)
        record = replace(loaded.record, lease=lease)
        data = codec.encode(record, loaded.handle)
        kept = await self.swap(loaded.handle, loaded.version, version, data)
        if kept is None or kept.version != version:
            return None
        return replace(loaded, record=record, version=version)

    def _decode(self, stored: Stored | None, codec: RecordCodec, loaded: Loaded) -> Loaded | None:
        if stored is None:
            return None
        try:
            record = codec.decode(stored.data, loaded.handle)
        except CookieRefused as exc:
            logger.warning("session record %s can not be read: %s", loaded.handle.hex(), exc)
            return None
        return replace(loaded, record=record, version=stored.version)

    def queue(self, key: bytes) -> KeyedLock:
        """``async with store.queue(key):`` one after the other inside an event loop, by key: a handle, as a rule."""
        return KeyedLock(self, key)


async def blamed(work: Awaitable[T], store: Store, name: str) -> T:
    """Whatever a store raises is the store's fault, and typed.

    Args:
        name: of the session, for the message.
    """
    try:
        return await work
    except SessionError:
        raise
    except Exception as exc:
        raise unavailable(exc, store, name) from exc


def unavailable(exc: Exception, store: Store, name: str) -> StoreUnavailable:
    """The error to raise ``from exc``, which a store raised for the session of that name."""
    return StoreUnavailable(f"session {name!r}: {type(store).__name__} failed ({type(exc).__name__})")


def only_one(found: Sequence[Loaded | CookieRefused]) -> Loaded:
    """Of several candidates the one that is alive.

    Raises:
        DuplicateCookie: there are several.
        CookieRefused: there is none; the error of the one that got furthest.
    """
    alive = [one for one in found if isinstance(one, Loaded)]
    if len(alive) == 1:
        return alive[0]
    if alive:
        raise DuplicateCookie("the browser sent several cookies that lead to different sessions")
    raise max([one for one in found if isinstance(one, CookieRefused)], key=lambda refused: refused.stage)


def check_lease(record: Record, holder: bytes, now: float) -> None:
    """Raise LeaseExpired if ``holder`` has no lease on the record any more."""
    lease = record.lease
    if lease is None or lease.holder != holder or lease.until <= now:
        raise LeaseExpired("the exclusive section outlived its lease; nothing of it was committed")


async def _pause(attempt: int) -> None:
    """Let the others go first, for a random while (full jitter)."""
    await anyio.sleep(random() * min(LONGEST_PAUSE, 0.001 * 2**attempt))  # noqa: S311 - jitter is no secret
