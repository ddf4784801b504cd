"""Records in a store: load, commit with merge, end. Written once, on the five verbs of ``RecordStore``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from os import urandom
from random import random
from typing import Any, TypeVar

import anyio
import msgspec
from msgspec.structs import replace

from .. import exceptions as errors
from ..crypto.seal import Unsealed
from ..lifetime import Lifetime
from ..stores.base import RecordStore, Store, Stored
from .cache import Cache
from .codec import RecordCodec
from .plan import Commit, Create, Renew
from .queue import KeyedLock, is_locked, waiters
from .record import (
    HANDLE_SIZE,
    NOTHING,
    VERSION_SIZE,
    Lease,
    Loaded,
    Record,
    Token,
    apply,
    check_end,
    check_token,
    has_commit,
    times_of,
    token_of,
)

logger = logging.getLogger("asgi_sessions")

T = TypeVar("T")

Found = tuple[Loaded, dict[Any, Any]]  # a session, and its values

COMMIT_ATTEMPTS = 40  # conflicts with other processes before a commit gives up, about two seconds of waiting
LONGEST_PAUSE = 0.1  # seconds between two of them
MOST_KNOWN = 512  # records that a repository remembers, ...
MAX_KNOWN = 4096  # ... of so many bytes at the most


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """The newer record that a commit conflicted with; or the record as it was loaded, if others wait for their turn."""

    found: Loaded


class Repository:
    """The records of one configured session.

    Args:
        name: of the session, for messages.
    """

    def __init__(self, store: RecordStore, codec: RecordCodec, lifetime: Lifetime, name: str) -> None:
        self._store = store
        self._codec = codec
        self._lifetime = lifetime
        self._name = name
        # By handle: a token that was checked, the record's bytes then, and what they hold.
        self._known: Cache[bytes, tuple[Token, bytes, Loaded]] = Cache(MOST_KNOWN)

    # -- load ---------------------------------------------------------------------------------------------------------

    async def load(self, token: Token, now: float) -> Found:
        """The session that the token leads to, and its values.

        Raises:
            CookieRefused: it leads to none.
            StoreError, NotSupported: the store could not be read.
        """
        stored = await blamed(self._store.read(token.handle), self._store, self._name)
        return self.recall(stored, token, now) or await self.open(stored, token, now)

    def recall(self, stored: Stored | None, token: Token, now: float) -> Found | None:
        """The session that the token led to lately, if its record is still the same: all but its time was checked."""
        known = self._known.get(token.handle)
        if known is None or known[0] is not token or stored is None or known[1] != stored.data:
            return None
        loaded = known[2]
        if loaded.version != stored.version or now >= loaded.ends_at:
            return None
        try:
            values: Any = self._codec.serializer.loads_again(loaded.record.values)  # it was a dict
        except errors.MalformedSession:  # by a registered type's decode function, which could do it then
            return None
        return loaded, values

    async def load_one_of(self, tokens: Sequence[Unsealed], now: float) -> Found:
        """``load`` for several tokens, read at once; two live sessions are none (cookie tossing)."""
        newest = {token.token[:HANDLE_SIZE]: token for token in sorted(tokens, key=lambda token: token.sealed_at)}
        values: dict[bytes, dict[Any, Any]] = {}
        found: list[Loaded | errors.CookieRefused] = []
        failed: list[Exception] = []

        async def look(token: Unsealed) -> None:
            try:
                loaded, values[loaded.handle] = await self.load(token_of(token), now)
                found.append(loaded)
            except errors.CookieRefused as exc:
                found.append(exc)
            except Exception as exc:
                failed.append(exc)

        async with anyio.create_task_group() as group:
            for token in newest.values():
                group.start_soon(look, token)
        for exc in failed:
            raise exc
        loaded = only_one(found)
        return loaded, values[loaded.handle]

    async def open(self, stored: Stored | None, token: Token, now: float) -> Found:
        """Decode and check a record; one that cannot be decoded is put aside."""
        if stored is None:
            raise errors.UnknownSession("the store holds no session for this cookie")
        handle = token.handle
        try:
            record = self._codec.decode(stored.data, handle)
            values = self._codec.values(record)
        except errors.NewerFormat as exc:
            logger.warning("session record %s: %s", handle.hex(), exc)
            raise
        except errors.CookieRefused as exc:
            logger.warning("session record %s cannot be read and is put aside: %s", handle.hex(), exc)
            await blamed(self._store.quarantine(handle, stored.version), self._store, self._name)
            raise errors.MalformedSession("the record cannot be read") from exc
        check_token(record, token, now)
        ends_at, due_at = times_of(record, self._lifetime, token.renewed_at, token.stale)
        check_end(ends_at, now)
        version = stored.version
        loaded = Loaded(record, token.renewed_at, token.stale, handle, token.secret, version, ends_at, due_at)
        self._remember(token, stored.data, loaded)
        return loaded, values

    def _remember(self, token: Token, data: bytes, loaded: Loaded) -> None:
        if len(data) <= MAX_KNOWN:
            self._known.put(token.handle, (token, data, loaded))

    # -- commit -------------------------------------------------------------------------------------------------------

    async def create(self, step: Create) -> Loaded:
        after = step.after
        if not await self._store.create(after.handle, after.version, step.data, step.expires_at):
            raise errors.SessionConflict(f"a record {after.handle.hex()} is there already, against all odds")
        return after

    async def commit(self, step: Commit) -> Loaded | None:
        """Swap the change in; on a newer record of the same epoch, merge it into that.

        Returns:
            The record as it is kept now. None if it is gone or of another epoch: the change is dropped.

        Raises:
            SessionConflict: others were faster every time.
            LeaseExpired: the lease ran out, or belongs to somebody else.
            SerializationError: the merged record is too large.
        """
        kept = await self.try_commit(step)
        return await self.resolve(step, kept) if isinstance(kept, Conflict) else kept

    async def try_commit(self, step: Commit, current: Loaded | None = None) -> Loaded | Conflict | None:
        """One try of ``commit``, which is one verb; usually the only one.

        Args:
            current: the record as it was found last; None: as it was loaded, if nobody queues for it.

        Returns:
            As ``commit``; or the conflict, to be resolved.
        """
        loaded, change, version, codec = step.loaded, step.change, step.version, self._codec
        if current is None:
            if waiters and is_locked(self._store, loaded.handle):
                return Conflict(loaded)
            current = loaded
        if step.holder:
            _check_lease(current.record, step.holder, change.now)
        record = apply(change, current.record, codec.serializer, version)
        if step.release or (record.epoch != current.record.epoch and not step.holder):
            record = replace(record, lease=None)  # of another epoch the holder cannot commit any more
        data = codec.pack(record) if codec.sealer is None else codec.encode(record, loaded.handle)  # one call less
        kept = await self._store.swap(loaded.handle, current.version, version, data, step.expires_at)
        if kept is not None and kept.version == version and kept.data == data:
            committed = replace(loaded, record=record, version=version)
            known = self._known.get(loaded.handle)
            # Secret and times are the same, unless somebody else changed something else.
            if known is not None and known[2] is loaded and change.edits is NOTHING and current is loaded:
                self._remember(known[0], data, committed)
            return committed
        found = self._decode(kept, loaded)
        if found is None or has_commit(found.record, version):
            return found
        return Conflict(found) if found.record.epoch == loaded.record.epoch else None

    async def resolve(self, step: Commit, conflict: Conflict) -> Loaded | None:
        """The further tries of ``commit``: in turn with those of this process that met a conflict, too."""
        handle = step.loaded.handle
        async with KeyedLock(self._store, handle):
            for attempt in range(COMMIT_ATTEMPTS):
                kept = await self.try_commit(step, conflict.found)
                if not isinstance(kept, Conflict):
                    return kept
                conflict = kept
                await _pause(attempt)
        raise errors.SessionConflict(f"session {handle.hex()}: {COMMIT_ATTEMPTS} commits in a row met a newer record")

    async def renew(self, step: Renew) -> Loaded | None:
        """Move the deadline, leaving the data alone. None if the session is gone or of another epoch."""
        loaded = step.loaded
        current: Loaded | None = loaded
        for attempt in range(COMMIT_ATTEMPTS):
            if current is None or current.record.epoch != loaded.record.epoch:
                return None
            if await self._store.touch(current.handle, current.version, step.expires_at):
                return current
            current = self._decode(await self._store.read(loaded.handle), loaded)
            await _pause(attempt)
        raise errors.SessionConflict(f"session {loaded.handle.hex()}: {COMMIT_ATTEMPTS} renewals met a newer record")

    # -- end, and take turns ------------------------------------------------------------------------------------------

    async def remove(self, loaded: Loaded) -> bool:
        """Delete the record, whoever wrote to it meanwhile.

        Returns:
            False if it was gone before, or a newer epoch keeps it alive: somebody else logged out or in, and the
            cookie that the browser has by now is not ours to expire.
        """
        async with KeyedLock(self._store, loaded.handle):
            kept = await self._store.read(loaded.handle)
            for attempt in range(COMMIT_ATTEMPTS):
                if kept is None:
                    return attempt > 0
                found = self._decode(kept, loaded)
                if found is not None and found.record.epoch != loaded.record.epoch:
                    return False
                kept = await self._store.delete(loaded.handle, kept.version)
                if kept is None:
                    return True
                await _pause(attempt)
        raise errors.SessionConflict(f"session {loaded.handle.hex()}: {COMMIT_ATTEMPTS} deletions met a newer record")

    async def acquire(self, loaded: Loaded, lease: Lease, now: float) -> Loaded | None:
        """Try once to take the lease on the record as it was loaded. None if it is taken, or the record newer."""
        taken = loaded.record.lease
        if taken is not None and taken.until > now and taken.holder != lease.holder:
            return None
        version = urandom(VERSION_SIZE)
        record = replace(loaded.record, lease=lease)
        data = self._codec.encode(record, loaded.handle)
        kept = await blamed(self._store.swap(loaded.handle, loaded.version, version, data), self._store, self._name)
        if kept is None or kept.version != version:
            return None
        return replace(loaded, record=record, version=version)

    def _decode(self, stored: Stored | None, loaded: Loaded) -> Loaded | None:
        if stored is None:
            return None
        try:
            record = self._codec.decode(stored.data, loaded.handle)
        except errors.CookieRefused as exc:
            logger.warning("session record %s cannot be read: %s", loaded.handle.hex(), exc)
            return None
        return replace(loaded, record=record, version=stored.version)


async def blamed(work: Awaitable[T], store: Store, name: str) -> T:
    """A store's call: its exceptions are the store's fault, and typed; see ``unavailable``."""
    try:
        return await work
    except (errors.StoreError, errors.NotSupported):
        raise
    except Exception as exc:
        raise unavailable(exc, store, name) from exc


def unavailable(exc: Exception, store: Store, name: str) -> errors.StoreUnavailable:
    """The error to raise ``from exc``: a store may raise StoreErrors and NotSupported, everything else is a fault.

    Args:
        name: of the session, for the message.
    """
    return errors.StoreUnavailable(f"session {name!r}: {type(store).__name__} failed ({type(exc).__name__})")


def only_one(found: Sequence[Loaded | errors.CookieRefused]) -> Loaded:
    """Of several candidates the one that is alive.

    Raises:
        DuplicateCookie: there are several.
        CookieRefused: there is none; the error of the one that got furthest.
    """
    alive = [one for one in found if isinstance(one, Loaded)]
    if len(alive) == 1:
        return alive[0]
    if alive:
        raise errors.DuplicateCookie("the browser sent several cookies that lead to different sessions")
    raise max([one for one in found if isinstance(one, errors.CookieRefused)], key=lambda refused: refused.stage)


def _check_lease(record: Record, holder: bytes, now: float) -> None:
    lease = record.lease
    if lease is None or lease.holder != holder or lease.until <= now:
        raise errors.LeaseExpired("the exclusive section outlived its lease; nothing of it was committed")


async def _pause(attempt: int) -> None:
    """Let the others go first, for a random while (full jitter)."""
    await anyio.sleep(random() * min(LONGEST_PAUSE, 0.001 * 2**attempt))  # noqa: S311 - jitter is no secret
