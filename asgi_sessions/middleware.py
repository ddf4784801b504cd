"""The ASGI middleware: the only module that knows messages."""

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import anyio
import msgspec
from msgspec import UNSET
from starlette.datastructures import Secret
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from ._engine.assignment import assigned_values
from ._engine.backends import fetch_epoch, joins
from ._engine.exchange import commit, commit_all, outcome, save_late, saving
from ._engine.plan import decide_all, is_different
from ._engine.profile import Epochs
from ._engine.record import NOTHING
from ._engine.state import Exchange, Settings
from .config import Configuration, SessionConfig
from .cookies import SameSite, add_headers
from .crypto.keys import Keyring
from .exceptions import NotSupported, SessionError, StoreError
from .importers import CookieReader
from .registry import SessionRegistry
from .serializers import Serializer
from .session import Session
from .stores.base import Store

__all__ = ["SessionMiddleware"]

logger = logging.getLogger("asgi_sessions")

_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start", "websocket.close"})
_MISSING = object()
RETRY_AFTER = 5  # seconds; what a 503 asks the client to wait


class SessionMiddleware:
    """Puts a registry of sessions into the scope and commits them before the response starts.

    ``scope["session"]`` is the middleware's own session (Starlette's ``request.session``), ``scope["sessions"]`` the
    registry. The parameters up to ``partitioned`` are those of Starlette's ``SessionMiddleware``, in its order.

    Args:
        app: the ASGI application.
        secret_key: signs and encrypts; 32 random characters or more (under 32 there is a warning, under 16 a
            ``ValueError``). ``python -m asgi_sessions keygen`` makes one.
        session_cookie: the cookie's name.
        max_age: seconds; None: until the browser closes.
        path, same_site, https_only, domain, http_only, partitioned: see ``CookieOptions``.
        store: where the session lives; None: in its cookie.
        fallback_keys: former keys, accepted for reading. A cookie is sealed anew at the next response that used its
            session, an encrypted record at its next write.
        encrypt: nobody but the server can read the values; by default they are signed only.
        serializer: values <-> bytes; None: MessagePack with Python's types.
        rolling, refresh_interval, absolute_timeout, browser_session_ttl: see ``SessionConfig``; seconds.
        max_sessions_per_owner: a login beyond it ends the owner's oldest session; None: no limit.
        epochs: ends all cookie sessions of an owner; see ``SessionConfig``.
        readers: for cookies of another library, such as ``StarletteCookies``: accepted once, and sealed as ours.
        autoload: whether a server-side session is loaded before the application runs, so that ``request.session``
            works without ``await``; True, False, or a function of the scope.
        sessions: further sessions.
        on_store_error: ``"respond"``: a commit that failed is answered with 503; ``"raise"``: the StoreError is raised
            to whatever is around this middleware.
        commit_timeout: seconds that the commits before a response may take.
        clock: POSIX seconds.

    Raises:
        ValueError, TypeError: an option cannot be right; the message says what to write instead.
    """

    def __init__(
        self,
        app: ASGIApp,
        secret_key: str | bytes | Secret,
        session_cookie: str = "session",
        max_age: float | None = 14 * 24 * 3600,
        path: str = "/",
        same_site: SameSite | None = "lax",
        https_only: bool | None = None,
        domain: str | None = None,
        partitioned: bool = False,
        *,
        store: Store | None = None,
        fallback_keys: Sequence[str | bytes | Secret] = (),
        encrypt: bool = False,
        serializer: Serializer | None = None,
        rolling: bool = True,
        refresh_interval: float | None = None,
        absolute_timeout: float | None = None,
        browser_session_ttl: float = 24 * 3600,
        http_only: bool = True,
        max_sessions_per_owner: int | None = None,
        epochs: Epochs | None = None,
        readers: Sequence[CookieReader] = (),
        autoload: bool | Callable[[Scope], bool] = True,
        sessions: Sequence[SessionConfig] = (),
        on_store_error: Literal["respond", "raise"] = "respond",
        commit_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if on_store_error not in ("respond", "raise"):
            raise ValueError(f"on_store_error={on_store_error!r}: write 'respond' or 'raise'")
        if not callable(autoload) and not isinstance(autoload, bool):
            raise TypeError(f"autoload={autoload!r}: write True, False, or a function of the scope")
        if inspect.iscoroutinefunction(autoload):
            raise TypeError(f"autoload={autoload!r}: must not be async; write a plain function of the scope")
        if not callable(clock) or inspect.iscoroutinefunction(clock):
            raise TypeError(f"clock={clock!r}: write a function that returns POSIX seconds, such as time.time")
        if isinstance(commit_timeout, bool) or not isinstance(commit_timeout, int | float) or not commit_timeout > 0:
            raise ValueError(f"commit_timeout={commit_timeout!r}: must be a number of seconds, more than 0")
        own = SessionConfig(
            "session",
            store=UNSET if store is None else store,
            cookie_name=session_cookie,
            encrypt=encrypt,
            serializer=UNSET if serializer is None else serializer,
            max_age=max_age,
            browser_session_ttl=browser_session_ttl,
            rolling=rolling,
            refresh_interval=refresh_interval,
            absolute_timeout=absolute_timeout,
            path=path,
            domain=domain,
            same_site=same_site,
            https_only=https_only,
            http_only=http_only,
            partitioned=partitioned,
            max_sessions_per_owner=max_sessions_per_owner,
            epochs=epochs,
            readers=readers,
        )
        self.app = app
        self.configuration = Configuration(Keyring(secret_key, fallback_keys), own, sessions)
        self.settings = Settings(clock, commit_timeout, set())
        self._autoload = autoload
        self._own = self.configuration.default
        self._raises = on_store_error == "raise"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            await self._lifespan(scope, receive, send)
            return
        settings, own = self.settings, self._own
        exchange = Exchange(settings, scope["headers"], scope.get("scheme"), settings.clock)
        session = Session(own, own.profile, exchange)
        opened = {"session": session}
        outer = around = None
        if "session" in scope:
            outer = scope["session"], scope.get("sessions")
            around = outer[1] if isinstance(outer[1], SessionRegistry) else None
        scope["session"] = session
        scope["sessions"] = sessions = SessionRegistry(self.configuration, exchange, opened, around)
        responder = Responder(exchange, sessions, opened, session, scope, receive, send)
        try:
            if own.waits and (self._autoload is True or (self._autoload and self._autoload(scope))):
                try:
                    await own.load(session)
                except (StoreError, NotSupported) as exc:
                    session.failure = exc  # raised when the session is used
            await self.app(scope, receive if kind == "http" else responder.receive, responder.send)
            if exchange.touched or scope.get("session") is not session:
                await responder.finish()
        except BaseException as exc:
            if exchange.started and responder.is_disconnect(exc):
                with anyio.CancelScope(shield=True):
                    await responder.finish()
            failure = responder.error if isinstance(responder.error, StoreError) else _store_failure(exc)
            if exchange.started or failure is None or self._raises or not isinstance(exc, Exception):
                raise
            await responder.answer_unavailable(failure)
        finally:
            if outer is not None:
                scope["session"], scope["sessions"] = outer

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the stores early, and close them at the end; each opens on first use without this."""

        async def opening() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._each_store("open")
            return message

        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._each_store("close")
            await send(message)

        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, opening, closing)
        finally:
            await self._each_store("close")

    async def _each_store(self, verb: Literal["open", "close"]) -> None:
        """A store that is down now may be up when it is needed: say so, and let the application start."""
        for store in self.configuration.stores():
            try:
                await getattr(store, verb)()
            except Exception:
                logger.exception("%s could not %s", type(store).__name__, verb)


class Responder(msgspec.Struct, eq=False):
    """Stands between the application and the server, for one connection.

    Attributes:
        error: why the commit before the response failed; from then on nothing but an error may be answered.
    """

    _exchange: Exchange
    _sessions: SessionRegistry
    _opened: dict[str, Session]  # the registry's
    _session: Session  # the middleware's own
    _scope: Scope
    _receive: Receive
    _send: Send
    _disconnected: bool = False
    _broken: bool = False  # the application answers an error of its own: nothing is committed
    error: SessionError | None = None

    def __repr__(self) -> str:
        return f"<Responder of {self._exchange}>"

    def send(self, message: Message) -> Awaitable[None]:
        """Commit before the start of the response, pass everything else through."""
        # Not async: a coroutine that only passes a message on would be a tenth of what an untouched session costs.
        exchange = self._exchange
        if exchange.started:
            return self._send_late(message) if exchange.stored and exchange.accessed else self._send(message)
        if exchange.touched or self._scope.get("session") is not self._session:
            return self._send_early(message)
        if message["type"] in _STARTS:
            if exchange.accessed:
                message = self._with_headers(message)
            exchange.started = True
        return self._send(message)

    async def _send_early(self, message: Message) -> None:
        """Commit all sessions, if the response starts with this message and is no error of the application's."""
        exchange = self._exchange
        starts = message["type"] in _STARTS
        if starts and (message.get("status", 200) >= 500 or message["type"] == "websocket.close"):
            await self._send(self._with_headers(message))
            return
        if self.error is not None:
            raise self.error
        if not starts:
            await self._send(message)
            return
        if exchange.lock is not None or exchange.epochs or self._scope.get("session") is not self._session:
            await self._prepare()
        plans = decide_all(self._opened.values())
        if plans:
            exchange.committing = True
            try:
                failures = await (commit(plans[0]) if len(plans) == 1 else commit_all(plans))
            finally:
                exchange.committing = False
                if exchange.committed is not None:
                    exchange.committed.set()
            self.error = outcome(failures) if failures else None
            if self.error is not None:
                raise self.error
        exchange.touched = False
        for session in self._opened.values():
            if session.written or session.shared or session.edits is not NOTHING:
                exchange.touched = True  # it was changed meanwhile, or may be, unseen
        await self._send(self._with_headers(message))

    async def _send_late(self, message: Message) -> None:
        if self._exchange.ended:
            await self._end_doomed()
        try:
            await self._send(message)
        except OSError:
            self._disconnected = True
            raise

    async def receive(self) -> Message:
        await self._end_doomed()
        return await self._receive()

    async def finish(self) -> None:
        """Commit what was changed since the response started, now that the application returned."""
        if not self._exchange.started:
            if self.error is not None:
                raise self.error
        elif not self._broken:
            if self._scope.get("session") is not self._session:
                try:
                    await self._take_assigned()
                except SessionError as exc:
                    logger.error("session %r: late changes are lost: %s", self._session.name, exc)
            for session in self._opened.values():
                if session.written or session.edits is not NOTHING or (session.shared and is_different(session)):
                    await save_late(self._exchange, self._opened.values())
                    return

    async def answer_unavailable(self, failure: StoreError) -> None:
        """Answer 503; the cookies of sessions that were committed are still delivered."""
        logger.error("answered 503, a session store failed: %s", failure, exc_info=failure)
        scope = self._scope
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": 1013, "reason": "try again later"})
            return
        kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"retry-after", b"%d" % RETRY_AFTER),
            (b"cache-control", b"no-store"),
        ]
        await self._send(self._with_headers({"type": f"{kind}.start", "status": 503, "headers": headers}))
        await self._send({"type": f"{kind}.body", "body": b"Service Unavailable"})

    def is_disconnect(self, exc: BaseException) -> bool:
        """Whether the application was ended by its client rather than by a fault of its own."""
        gone = (ClientDisconnect, WebSocketDisconnect, anyio.get_cancelled_exc_class())
        return self._disconnected or isinstance(exc, gone)

    async def _prepare(self) -> None:
        """Do what has to be waited for before anything can be decided."""
        exchange = self._exchange
        try:
            if self._scope.get("session") is not self._session:
                await self._take_assigned()
            while (joining := [*filter(joins, self._opened.values())]) or _is_saving(exchange):
                for session in joining:
                    await fetch_epoch(session)
                if _is_saving(exchange):  # nothing is awaited between the last look and the decision
                    async with saving(exchange):
                        pass
        except (StoreError, NotSupported) as exc:
            self.error = exc
            raise

    def _with_headers(self, message: Message) -> Message:
        """The start of the response, with the headers that the sessions ask for."""
        exchange = self._exchange
        exchange.started = True
        if message.get("status", 200) >= 500:
            self._broken = True
        if not exchange.accessed or message["type"] == "websocket.close":  # refused before accept: no headers
            return message
        headers = list(message.get("headers", ()))
        add_headers(headers, exchange.set_cookies.values() if exchange.set_cookies else ())
        return {**message, "headers": headers}

    async def _take_assigned(self) -> None:
        """Make what the application put into ``scope["session"]`` the session's values."""
        scope, session = self._scope, self._session
        value = scope.get("session", _MISSING)
        if isinstance(value, Session):  # ours, or that of a middleware inside
            return
        values = assigned_values(value, text=session.profile.serializer.text)
        if values is None:
            _warn_about_scope(self._exchange.settings, value)
            return
        await self._sessions.get()  # loaded, whoever else is about to load it
        scope["session"] = session
        if not values:
            if session or not session.is_new:
                session.invalidate()
            return
        for key in session.keys() - values.keys():
            del session[key]
        session.update(values)

    async def _end_doomed(self) -> None:
        """A late ``invalidate()`` does not wait for the application to return."""
        if self._exchange.started and not self._broken:
            for session in self._opened.values():
                if session.edits.doomed is not None:
                    await save_late(self._exchange, self._opened.values())
                    return


def _is_saving(exchange: Exchange) -> bool:
    return exchange.lock is not None and exchange.lock.locked()


def _warn_about_scope(settings: Settings, value: object) -> None:
    kind = "nothing" if value is _MISSING else f"a {type(value).__module__}.{type(value).__qualname__}"
    if kind not in settings.warned:
        settings.warned.add(kind)
        logger.warning(
            "scope['session'] holds %s instead of this middleware's session, which stays as it is; another session "
            "middleware inside this one is a likely cause; to replace the values assign a dict, to end it None",
            kind,
        )


def _store_failure(exc: BaseException) -> StoreError | None:
    """The StoreError behind what the application raised, if there is nothing else in it."""
    if isinstance(exc, ExceptionGroup) and exc.split(StoreError)[1] is None:
        return _store_failure(exc.exceptions[0])
    return exc if isinstance(exc, StoreError) else None
