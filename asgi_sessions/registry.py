"""The sessions of one connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import anyio
import msgspec

from ._engine.edits import NOTHING
from ._engine.exchange import Exchange
from ._engine.exclusive import exclusive
from ._engine.plan import Plan, prepare
from .config import Binding, Configuration
from .exceptions import SessionError, SessionNotConfigured, SessionSuperseded, StoreError
from .manager import SessionManager
from .session import Session
from .stores.base import Store

logger = logging.getLogger("asgi_sessions")

__all__ = ["SessionRegistry", "get_session", "get_sessions"]

M = TypeVar("M")


class SessionRegistry(msgspec.Struct, eq=False):
    """The sessions of one connection, by name; ``scope["sessions"]``.

    Iterating yields the sessions that were loaded so far.
    """

    _configuration: Configuration
    _exchange: Exchange
    _sessions: dict[str, Session]
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
        name = self._configuration.default.name if name is None else name
        session = self._sessions.get(name)
        if session is None or store is not None:
            binding = self._configuration.find(name) if store is None else self._configuration.adopt(name, store)
            if binding is None:
                if self._outer is not None:
                    return await self._outer.get(name)
                raise self._configuration.unknown(name)
            session = self._sessions.get(name) or self._open(binding)
        if session._pending:
            await self._load(session)
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
            TypeError: the class can not be a model, or ``default`` makes something else.
            SessionNotConfigured, ValueError, StoreError: as ``get()``.
        """
        session = await self.get(name, store=store)
        return session._model(model, default)

    async def save(self) -> None:
        """Commit everything that was changed, now; all sessions are prepared before one is written.

        Raises:
            ExceptionGroup: names each session that failed, with its error; see ``Session.save``.
        """
        async with self._exchange.saving():
            await self.fetch_epochs()
            plans, failed = self._prepared()
            if not failed:
                failed = {plan.binding.name: error for plan, error in await self._exchange.commit(plans)}
        if failed:
            names = ", ".join(map(repr, failed))
            raise ExceptionGroup(f"sessions not saved: {names}", list(failed.values()))

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
        return exclusive(self._exchange, self.get(name), lease=lease, timeout=timeout)

    def manager(self, name: str | None = None) -> SessionManager:
        """Lists and revokes the sessions of an owner; the session of this request is marked as the current one.

        Args:
            name: the session's name, as configured; None for the middleware's own.

        Raises:
            SessionNotConfigured: nobody knows that name.
            NotSupported: the session lives in its cookie, or its store has no index of owners.
        """
        name = self._configuration.default.name if name is None else name
        binding = self._configuration.find(name)
        if binding is None:
            if self._outer is not None:
                return self._outer.manager(name)
            raise self._configuration.unknown(name)
        session = self._sessions.get(name)
        current = session._loaded.handle if session is not None and session._loaded is not None else b""
        return SessionManager.of(binding, self._exchange.now, current)

    def __iter__(self) -> Iterator[Session]:
        return iter([session for session in self._sessions.values() if not session._pending])

    # -- for the middleware -----------------------------------------------------------------------------------------

    @property
    def doomed(self) -> bool:
        """Whether a record waits to be deleted."""
        for session in self._sessions.values():  # noqa: SIM110 - a generator costs more than the answer
            if session._edits.doomed is not None:
                return True
        return False

    def joins(self) -> bool:
        """Whether a cookie session got an owner whose epoch has to be fetched."""
        for session in self._sessions.values():  # noqa: SIM110 - a generator costs more than the answer
            if _joins(session):
                return True
        return False

    async def fetch_epochs(self) -> None:
        """
        Raises:
            StoreError: an owner's epoch could not be fetched.
        """
        for session in [*self._sessions.values()]:  # another task may open a further one meanwhile
            if _joins(session):
                await self._exchange.fetch_epoch(session)

    def prepare(self) -> list[Plan]:
        """What is to be committed before the response starts.

        Raises:
            SerializationError, CookieTooLarge: the first session that can not be stored; none will be.
        """
        exchange = self._exchange
        now = exchange.now()
        plans: list[Plan] = []
        for session in self._sessions.values():
            if not session.accessed:
                continue
            if session._superseded:
                _give_up(session, exchange)
                continue
            plan = prepare(session, now, exchange.secure)
            if plan is None and exchange.set_cookies:
                plan = exchange.renew_waiting(session)
            if plan is not None:
                plans.append(plan)
        return plans

    def is_different(self) -> bool:
        """Whether a session was changed since it was committed."""
        for session in self._sessions.values():
            if session._written or session._edits is not NOTHING or (session._shared and session._is_different()):
                return True
        return False

    async def finish(self) -> None:
        """Commit what was changed after the response started; log what can not be."""
        async with self._exchange.saving():
            plans, failed = self._prepared()
            failed |= {plan.binding.name: error for plan, error in await self._exchange.commit(plans)}
        for name, error in failed.items():
            cause = error if isinstance(error, StoreError) else None  # the application's errors say it all
            logger.error("session %r: late changes are lost: %s", name, error, exc_info=cause)

    def _prepared(self) -> tuple[list[Plan], dict[str, SessionError]]:
        """What is to be done, and by name why some sessions can not be committed."""
        plans: list[Plan] = []
        failed: dict[str, SessionError] = {}
        for session in self:
            if not session.accessed:
                continue
            try:
                plan = self._exchange.prepare(session)
            except SessionError as exc:
                failed[session.name] = exc
                continue
            plans += [plan] if plan is not None else []
        return plans, failed

    def __repr__(self) -> str:
        return f"<SessionRegistry {', '.join(self._sessions)}>"

    def _open(self, binding: Binding) -> Session:
        session = self._sessions[binding.name] = Session(binding, self._exchange)
        return session

    async def _load(self, session: Session) -> None:
        if not session._policy.waits:
            session.mark_accessed()
            return
        if self._loading is None:
            self._loading = anyio.Lock()
        async with self._loading:
            if session._pending:
                await self._exchange.load_record(session)
                session._failure = None  # of the attempt before, whose traceback refers to the session


def _give_up(session: Session, exchange: Exchange) -> None:
    try:
        exchange.give_up(session)
    except SessionSuperseded as exc:
        logger.warning("%s", exc)


def _joins(session: Session) -> bool:
    binding: Binding = session._policy  # type: ignore[assignment]  # what the registry gave it
    if binding.epochs is None or session._owner_epoch is not None:
        return False
    return isinstance(session._edits.owner, str | int)


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
