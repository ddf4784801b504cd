"""Whose sessions are these: list them, revoke them, log out everywhere (OWASP ASVS 5.0, V7.4 and V7.5)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from os import urandom
from typing import TypeVar, cast

import anyio

from ._engine.record import HANDLE_SIZE, Owner, Record
from .config import Binding, Configuration, defaults
from .crypto.keys import Keyring
from .exceptions import CookieRefused, NotSupported, SessionConflict, StoreFull
from .lifetime import DAY
from .serializers import Serializer
from .stores.base import RecordStore, blamed
from .stores.owners import GENERATION_SIZE, OwnerIndex

__all__ = ["SessionInfo", "SessionManager"]

T = TypeVar("T")

AT_ONCE = 64  # records that are read together
ROUNDS = 20  # of revoking what is listed, while new logins keep coming
ATTEMPTS = 40  # to delete one record that others keep changing
LOGIN_TAKES = 600.0  # seconds that a login may last at most, from enlisting its session to its last look at the index


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """One of an owner's sessions.

    Attributes:
        handle: its public name, 32 hexadecimal digits; what ``revoke`` takes.
        created_at: POSIX seconds.
        renewed_at: when activity last extended it, POSIX seconds; None: not known.
        expires_at: when it ends if nothing renews it, POSIX seconds; None: the store does not tell.
        current: whether it is the session of this request.
        label: what the application noted with ``session.label``.
    """

    handle: str
    created_at: float
    renewed_at: float | None
    expires_at: float | None
    current: bool
    label: dict[str, str]


class SessionManager:
    """The sessions of one name, by owner; inside a request ``sessions.manager()`` makes one.

    Outside of requests give it the options that the application's ``SessionMiddleware`` has for this session.

    Args:
        store: a record store with an owner index: memory, files, Redis.
        secret_key: as in ``SessionMiddleware``, and so are all further options.

    Raises:
        NotSupported: the store has no owner index.
        ValueError, TypeError: an option can not be right.
    """

    def __init__(
        self,
        store: RecordStore,
        secret_key: object,
        session_cookie: str = "session",
        *,
        fallback_keys: Sequence[object] = (),
        encrypt: bool = False,
        serializer: Serializer | None = None,
        max_age: float | None = 14 * DAY,
        rolling: bool = True,
        absolute_timeout: float | None = None,
        browser_session_ttl: float = DAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        own = defaults(
            name=session_cookie,
            store=store,
            cookie_name=session_cookie,
            encrypt=encrypt,
            serializer=serializer,
            max_age=max_age,
            rolling=rolling,
            absolute_timeout=absolute_timeout,
            browser_session_ttl=browser_session_ttl,
            refresh_interval=None,
            path="/",
            domain=None,
            same_site="lax",
            https_only=None,
            http_only=True,
            partitioned=False,
            max_sessions_per_owner=None,
        )
        self._set_up(Configuration(Keyring(secret_key, fallback_keys), own, ()).default, clock, b"")

    @classmethod
    def of(cls, binding: Binding, clock: Callable[[], float], current: bytes) -> SessionManager:
        """For a session as it is configured; ``current`` is the handle of this request's, or empty."""
        manager = cls.__new__(cls)
        manager._set_up(binding, clock, current)
        return manager

    def _set_up(self, binding: Binding, clock: Callable[[], float], current: bytes) -> None:
        if not isinstance(binding.store, OwnerIndex):
            kind = type(binding.store).__name__
            why = f"a {kind} keeps no index of owners"
            if not binding.server_side:
                why = "no server can list or end a cookie (the option epochs ends all of an owner)"
            raise NotSupported(
                f"session {binding.name!r}: {why}; use a MemoryStore, FilesystemStore or RedisStore, or give your own "
                "store the four methods of OwnerIndex"
            )
        self._binding = binding
        self._store = cast(RecordStore, binding.store)
        self._index: OwnerIndex = binding.store
        self._clock = clock
        self._current = current

    async def list(self, owner: Owner) -> AsyncIterator[SessionInfo]:
        """The owner's sessions that are alive, in no particular order; entries without a session are removed.

        Raises:
            StoreError: the store could not be read.
        """
        for name in self._binding.owner_names.every(owner):
            marks = await self._ask(self._index.listed(name))
            handles = [*marks]
            for start in range(0, len(handles), AT_ONCE):
                part = handles[start : start + AT_ONCE]
                found = await self._infos(part, owner)
                for info in found.values():
                    yield info
                gone = {handle: marks[handle] for handle in part if handle not in found}
                if gone:
                    await self._ask(self._index.delist(name, gone))

    async def count(self, owner: Owner) -> int:
        """How many sessions of the owner are alive; StoreError as for ``list``."""
        return len([info async for info in self.list(owner)])

    async def revoke(self, handle: str) -> bool:
        """End one session; a slower request of it can not bring it back.

        Returns:
            Whether there was one.

        Raises:
            ValueError: this is no handle.
            StoreError: the store could not do it.
        """
        raw = _handle(handle)
        stored = await self._ask(self._store.read(raw))
        await self._ask(self._store.delete(raw))
        if stored is None:
            return False
        try:
            owner = self._binding.codec.decode(stored.data, raw).owner
        except CookieRefused:
            return True
        for name in self._binding.owner_names.every(owner) if owner is not None else ():
            await self._ask(self._index.delist(name, [raw]))
        return True

    async def revoke_all(self, owner: Owner, except_handle: str | None = None) -> int:
        """End all sessions of the owner, those too whose login is under way.

        Args:
            except_handle: of a session that stays, the current one as a rule.

        Returns:
            How many were ended.

        Raises:
            ValueError: ``except_handle`` is no handle.
            StoreError: the store could not do it; call it again.
        """
        kept = None if except_handle is None else _handle(except_handle)
        ended = 0
        full: StoreFull | None = None
        names = self._binding.owner_names.every(owner)
        for _ in range(ROUNDS):
            found = False
            for name in names:
                try:
                    # A login that enlisted its session before this either shows below, or finds another generation.
                    until = self._clock() + LOGIN_TAKES
                    await self._ask(self._index.bar(name, urandom(GENERATION_SIZE), until))
                except StoreFull as exc:  # what is there can be ended all the same
                    full = exc
                marks = await self._ask(self._index.listed(name))
                marks.pop(kept or b"", None)
                found = found or bool(marks)
                ended += await self._end(name, marks, owner)
            if not found and full is not None:
                raise full
            if not found:
                return ended
        raise SessionConflict(f"new logins of one owner kept coming; {ended} of its sessions were ended")

    async def end_oldest(self, owner: Owner, keep: int, current: bytes) -> None:
        """Of more than ``keep`` sessions end the oldest; not the current one."""
        found = sorted([info async for info in self.list(owner)], key=lambda info: info.created_at)
        others = [info for info in found if info.handle != current.hex()]
        for info in others[: max(0, len(found) - keep)]:
            await self.revoke(info.handle)

    async def _end(self, name: bytes, marks: dict[bytes, int], owner: Owner) -> int:
        handles, ended = [*marks], 0
        for start in range(0, len(handles), AT_ONCE):
            part = handles[start : start + AT_ONCE]
            results: dict[bytes, bool] = {}

            async def end(handle: bytes, results: dict[bytes, bool] = results) -> None:
                results[handle] = await self._delete(handle, owner)

            await _together([(end, handle) for handle in part])
            ended += sum(results.values())
            await self._ask(self._index.delist(name, {handle: marks[handle] for handle in part}))
        return ended

    async def _delete(self, handle: bytes, owner: Owner) -> bool:
        stored = await self._ask(self._store.read(handle))
        for _ in range(ATTEMPTS):
            if stored is None:
                return False
            record = self._decode(handle, stored.data)
            if record is None or not _same(record.owner, owner):
                return False
            stored = await self._ask(self._store.delete(handle, stored.version))
            if stored is None:
                return True
        raise SessionConflict(f"session {handle.hex()}: {ATTEMPTS} deletions met a newer record")

    async def _infos(self, handles: Sequence[bytes], owner: Owner) -> dict[bytes, SessionInfo]:
        found: dict[bytes, SessionInfo] = {}

        async def look(handle: bytes) -> None:
            stored = await self._ask(self._store.read(handle))
            record = None if stored is None else self._decode(handle, stored.data)
            if record is not None and _same(record.owner, owner):
                expires_at = await self._ask(self._store.deadline(handle))
                found[handle] = self._info(handle, record, expires_at)

        await _together([(look, handle) for handle in handles])
        return found

    def _info(self, handle: bytes, record: Record, expires_at: float | None) -> SessionInfo:
        lifetime = self._binding.lifetime.chosen(record.remember)
        bound = lifetime.absolute_timeout and record.started_at + lifetime.absolute_timeout
        renewed_at = None
        if lifetime.rolling and expires_at is not None and expires_at != bound:
            renewed_at = expires_at - lifetime.duration
        return SessionInfo(
            handle=handle.hex(),
            created_at=float(record.created_at),
            renewed_at=renewed_at,
            expires_at=expires_at,
            current=handle == self._current,
            label=record.label,
        )

    async def _ask(self, work: Awaitable[T]) -> T:
        return await blamed(work, self._store, self._binding.name)

    def _decode(self, handle: bytes, data: bytes) -> Record | None:
        try:
            return self._binding.codec.decode(data, handle)
        except CookieRefused:
            return None


def _same(one: Owner | None, other: Owner) -> bool:
    return type(one) is type(other) and one == other


def _handle(text: str) -> bytes:
    try:
        handle = bytes.fromhex(text)
    except (ValueError, TypeError):
        handle = b""
    if len(handle) != HANDLE_SIZE:
        raise ValueError(f"{text!r:.80} is no handle; write the 32 hexadecimal digits of session.handle")
    return handle


async def _together(work: Sequence[tuple[Callable[[bytes], object], bytes]]) -> None:
    """Run all at once, and raise the first error as it is."""
    failed: list[Exception] = []

    async def run(do: Callable[[bytes], object], handle: bytes) -> None:
        try:
            await do(handle)  # type: ignore[misc]  # each is a coroutine function
        except Exception as exc:
            failed.append(exc)

    async with anyio.create_task_group() as group:
        for do, handle in work:
            group.start_soon(run, do, handle)
    for exc in failed:
        raise exc
