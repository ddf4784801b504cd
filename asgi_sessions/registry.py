"""The sessions of one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import anyio
import msgspec

from ._engine.exchange import save_all
from ._engine.exclusive import exclusive
from ._engine.state import Exchange
from .config import Configuration
from .exceptions import SessionNotConfigured
from .manager import SessionManager
from .session import Session
from .stores.base import Store

__all__ = ["SessionRegistry", "get_session", "get_sessions"]

M = TypeVar("M")


class SessionRegistry(msgspec.Struct, eq=False):
    """The sessions of one connection, by name; ``scope["sessions"]``.

    Iterating yields the sessions that were loaded so far.
    """

    _configuration: Configuration
    _exchange: Exchange
    _opened: dict[str, Session]
    _outer: SessionRegistry | None = None  # of the middleware around this one
    _loading: anyio.Lock | None = None

    async def get(self, name: str | None = None, *, store: Store | None = None) -> Session:
        """The session of that name, loaded; the same object every time.

        Args:
            name: as configured; None for the middleware's own session. A name that this middleware does not know is
                looked up in the middleware around it.
            store: where a session that is not configured lives; its other options are the middleware's, and its
                name is its cookie's.

        Raises:
            SessionNotConfigured: nobody knows that name, and no store was given.
            ValueError: the name is no cookie name, or belongs to another store.
            StoreError: it could not be loaded; the next call tries again.
        """
        session = await self._open(name, store)
        session.mark_accessed()
        return session

    async def model(
        self,
        name: str | None,
        model: type[M],
        *,
        default: Callable[[], M] | None = None,
        store: Store | None = None,
    ) -> M:
        """The session of that name as an object: its fields are the session's top-level keys.

        Changes of the object are committed like any other, per field; keys that are no fields stay. It is the same
        object every time, until ``invalidate()``, ``clear()``, ``reload()`` or an exclusive section reads the session
        anew: an object from before is detached then, and its later changes are not committed.

        Args:
            name: as in ``get()``.
            model: a dataclass, a msgspec Struct or a pydantic model. Where a session is new, it needs a default for
                each field, or ``default``.
            default: makes the object where none of the fields is stored, or where they do not fit. What was stored is
                replaced by it with the first change.
            store: as in ``get()``.

        Raises:
            ModelMismatch: the session's values do not fit the model, and there is no ``default``; the same at the
                commit, if the object was changed into what does not fit it.
            TypeError: the class cannot be a model, or ``default`` makes something else.
            SessionNotConfigured, ValueError, StoreError: as ``get()``.
        """
        return (await self.get(name, store=store)).model(model, default)

    async def save(self) -> None:
        """Commit everything that was changed, now; all sessions are prepared before one is written.

        Raises:
            ExceptionGroup: names each session that failed, with its error; see ``Session.save``.
        """
        failures = await save_all(self._exchange, self._opened.values())
        if failures:
            names = ", ".join(repr(failure.session) for failure in failures)
            raise ExceptionGroup(f"sessions not saved: {names}", [failure.error for failure in failures])

    def exclusive(
        self, name: str | None = None, *, lease: float = 10.0, timeout: float = 5.0
    ) -> AbstractAsyncContextManager[Session]:
        """An exclusive section: nobody else is inside one of the same session, in any process.

        For read-modify-write of counters, balances, one-time tokens: it waits its turn, loads the session fresh,
        commits when the block ends and drops the block's changes when it raises. It does not keep ordinary
        requests from writing: of two that change the same key, the later commit wins.

        Args:
            name: the session's name; None for the middleware's own.
            lease: seconds after which others may enter even if this block has not ended; it then commits nothing.
            timeout: seconds to wait for others to leave.

        Raises:
            NotSupported: the session lives in its cookie; nothing there can be shared between requests.
            LeaseTimeout: others did not leave in time.
            LeaseExpired: this block took longer than its lease.
            SessionSuperseded: the session was ended or regenerated meanwhile.
            StoreError: the store could not do it.
        """
        return self._exclusive(name, lease, timeout)

    def manager(self, name: str | None = None) -> SessionManager:
        """Lists and revokes the sessions of an owner; the session of this request is marked as the current one.

        Args:
            name: the session's name, as configured; None for the middleware's own.

        Raises:
            SessionNotConfigured: nobody knows that name.
            NotSupported: the session lives in its cookie, or its store has no index of owners.
        """
        backend = self._configuration.find(name)
        if backend is None:
            if self._outer is not None:
                return self._outer.manager(name)
            raise self._configuration.unknown(str(name))
        session = self._opened.get(backend.profile.name)
        loaded = None if session is None else session.loaded
        return SessionManager.of(backend, self._exchange.now, b"" if loaded is None else loaded.handle)

    def __iter__(self) -> Iterator[Session]:
        return iter([session for session in self._opened.values() if not session.pending])

    def __repr__(self) -> str:
        return f"<SessionRegistry {', '.join(self._opened)}>"

    async def _open(self, name: str | None, store: Store | None = None) -> Session:
        """The session of that name, loaded."""
        name = self._configuration.default.profile.name if name is None else name
        session = self._opened.get(name)
        if session is None or store is not None:
            backend = self._configuration.find(name) if store is None else self._configuration.adopt(name, store)
            if backend is None:
                if self._outer is not None:
                    return await self._outer._open(name)
                raise self._configuration.unknown(name)
            if session is None:
                session = self._opened[name] = Session(backend, backend.profile, self._exchange)
        if session.pending:
            if self._loading is None:
                self._loading = anyio.Lock(fast_acquire=True)
            async with self._loading:
                if session.pending:
                    await session.backend.load(session)
                    session.failure = None  # of the attempt before, whose traceback refers to the session
        return session

    @asynccontextmanager
    async def _exclusive(self, name: str | None, lease: float, timeout: float) -> AsyncIterator[Session]:
        session = await self.get(name)
        async with exclusive(session, lease=lease, timeout=timeout):
            yield session


def get_sessions(connection: Any) -> SessionRegistry:
    """The registry of a connection.

    Args:
        connection: an ASGI scope, or anything with a ``scope``: Starlette's or FastAPI's Request and WebSocket.

    Raises:
        SessionNotConfigured: there is no ``SessionMiddleware`` around it.
    """
    scope = connection if isinstance(connection, Mapping) else connection.scope
    registry = scope.get("sessions")
    if not isinstance(registry, SessionRegistry):
        raise SessionNotConfigured("no SessionMiddleware of asgi_sessions around this connection; add it to the app")
    return registry


async def get_session(connection: Any, name: str | None = None) -> Session:
    """The session of that name of a connection, loaded: ``get_sessions(connection).get(name)``.

    Raises:
        SessionNotConfigured: there is no ``SessionMiddleware`` around it, or it knows no session of that name.
        StoreError: it could not be loaded.
    """
    return await get_sessions(connection).get(name)
