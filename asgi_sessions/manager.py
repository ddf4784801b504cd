"""Whose sessions are these: list them, revoke them, log out everywhere (OWASP ASVS 5.0, V7.4 and V7.5)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from ._engine.backends import RecordBackend
from ._engine.owners import Listed
from ._engine.record import HANDLE_SIZE, Owner
from .config import Backend, Configuration, SessionConfig
from .crypto.keys import Keyring
from .exceptions import NotSupported
from .lifetime import DAY
from .serializers import Serializer
from .stores.base import RecordStore

__all__ = ["SessionInfo", "SessionManager"]


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
        ValueError, TypeError: an option cannot be right.
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
        config = SessionConfig(
            session_cookie,
            store=store,
            encrypt=encrypt,
            serializer=UNSET if serializer is None else serializer,
            max_age=max_age,
            rolling=rolling,
            absolute_timeout=absolute_timeout,
            browser_session_ttl=browser_session_ttl,
        )
        self._set_up(Configuration(Keyring(secret_key, fallback_keys), config).default, clock, b"")

    @classmethod
    def of(cls, backend: Backend, clock: Callable[[], float], current: bytes) -> SessionManager:
        """For a session as it is configured; ``current`` is the handle of this request's, or empty."""
        manager = cls.__new__(cls)
        manager._set_up(backend, clock, current)
        return manager

    def _set_up(self, backend: Backend, clock: Callable[[], float], current: bytes) -> None:
        owners = backend.owners if isinstance(backend, RecordBackend) else None
        if owners is None:
            why = f"a {type(backend.store).__name__} keeps no index of owners"
            if not isinstance(backend, RecordBackend):
                why = "no server can list or end a cookie (the option epochs ends all of an owner)"
            raise NotSupported(
                f"session {backend.profile.name!r}: {why}; use a MemoryStore, FilesystemStore or RedisStore, or give "
                "your own store the four methods of OwnerIndex"
            )
        self._owners = owners
        self._lifetime = backend.profile.lifetime
        self._clock = clock
        self._current = current

    async def list(self, owner: Owner) -> AsyncIterator[SessionInfo]:
        """The owner's sessions that are alive, in no particular order; entries without a session are removed.

        Raises:
            StoreError: the store could not be read.
        """
        async for listed in self._owners.list(owner):
            yield self._info(listed)

    async def count(self, owner: Owner) -> int:
        """How many sessions of the owner are alive; StoreError as for ``list``."""
        return len([info async for info in self.list(owner)])

    async def revoke(self, handle: str) -> bool:
        """End one session; a slower request of it cannot bring it back.

        Returns:
            Whether there was one.

        Raises:
            ValueError: this is no handle.
            StoreError: the store could not do it.
        """
        return await self._owners.end(_handle(handle))

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
        return await self._owners.end_all(owner, kept, self._clock())

    def _info(self, listed: Listed) -> SessionInfo:
        handle, record, expires_at = listed
        lifetime = self._lifetime.chosen(record.remember)
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


def _handle(text: str) -> bytes:
    try:
        handle = bytes.fromhex(text)
    except (ValueError, TypeError):
        handle = b""
    if len(handle) != HANDLE_SIZE:
        raise ValueError(f"{text!r:.80} is no handle; write the 32 hexadecimal digits of session.handle")
    return handle
