"""What a test client has in its sessions, seen and changed from a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.applications import Starlette

from .._engine.state import Exchange
from ..config import Backend
from ..exceptions import SessionNotConfigured
from ..middleware import SessionMiddleware
from ..registry import SessionRegistry
from ..session import Session
from .client import Client, ClientCookies, Response, cookies_after

__all__ = ["AsyncTestSessions", "TestSessions"]

T = TypeVar("T")


class AsyncTestSessions:
    """``TestSessions`` for asynchronous tests: the same methods, to be awaited.

    ::

        sessions = AsyncTestSessions(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
            await sessions.log_in(client, 7)
            assert (await client.get("/account")).status_code == 200
            assert (await sessions.read(client))["visits"] == 1
    """

    __test__ = False  # not for pytest to collect

    def __init__(self, app: Any) -> None:
        self._app = app

    @asynccontextmanager
    async def open(self, client: Client, name: str | None = None) -> AsyncIterator[Session]:
        """See ``TestSessions.open``."""
        middleware, backend = self._find(name)
        cookies = ClientCookies(client, backend.profile.options.path)
        exchange = _exchange(middleware, cookies.header(), cookies.scheme)
        session = await _load(middleware, exchange, backend)
        yield session
        await session.save()
        cookies.keep(_set_cookies(exchange))

    async def update(self, client: Client, values: Mapping[Any, Any], name: str | None = None) -> None:
        """See ``TestSessions.update``."""
        async with self.open(client, name) as session:
            session.update(values)

    async def log_in(
        self, client: Client, owner: str | int, values: Mapping[Any, Any] | None = None, name: str | None = None
    ) -> None:
        """See ``TestSessions.log_in``."""
        async with self.open(client, name) as session:
            session.owner = owner
            session.update(values or {})

    async def read(self, source: Client | Response, name: str | None = None) -> Session:
        """See ``TestSessions.read``."""
        middleware, backend = self._find(name)
        return await _load(middleware, _exchange(middleware, _cookie_header(source, backend)), backend)

    async def cookies(
        self, values: Mapping[Any, Any] | None = None, *, owner: str | int | None = None, name: str | None = None
    ) -> dict[str, str]:
        """See ``TestSessions.cookies``."""
        middleware, backend = self._find(name)
        exchange = _exchange(middleware)
        session = await _load(middleware, exchange, backend)
        session.owner = owner
        session.update(values or {})
        await session.save()
        pairs = [line.decode("ascii").partition(";")[0].partition("=") for line in _set_cookies(exchange)]
        return {cookie_name: value for cookie_name, _, value in pairs}

    def _find(self, name: str | None) -> tuple[SessionMiddleware, Backend]:
        """As a handler would: of several middlewares around it, the innermost that knows the name."""
        middlewares = find_middlewares(self._app)
        for middleware in reversed(middlewares):
            backend = middleware.configuration.find(name)
            if backend is not None:
                return middleware, backend
        if not middlewares or name is None:
            raise SessionNotConfigured(
                f"no SessionMiddleware of asgi_sessions around this {type(self._app).__name__}: the search goes "
                "through Starlette's middleware and attributes named 'app'; if it is elsewhere, in a mounted "
                "application for example, give that application, or the middleware itself"
            )
        raise middlewares[-1].configuration.unknown(name)


class TestSessions:
    """The sessions of a test client, for synchronous tests; ``AsyncTestSessions`` is its twin for asynchronous ones.

    It uses the application's own ``SessionMiddleware``: its keys, its stores, its clock. A session is changed by the
    code that changes it in a request, and kept where the application looks for it: in the client's cookie jar, and for
    a server-side store also there.

    The application's stores are used in the event loop of a ``TestClient`` that is entered (``with TestClient(app)``),
    otherwise in a loop of its own: the stores of this package do not mind. In an asynchronous test take the twin,
    which uses the test's own event loop.

    Args:
        app: the application: Starlette's or FastAPI's, or any ASGI application that has a ``SessionMiddleware`` around
            it or at its ``app``. It is looked at when a session is asked for, and built then, as by its first
            request. Of stacked middlewares the innermost counts that knows the session, as in a handler.

    Raises (each method):
        SessionNotConfigured: there is no ``SessionMiddleware``, or it knows no session of that name.
        ValueError: the client would not send the session's cookie: its base_url does not fit.
        StoreError: the store could not do it.
    """

    __test__ = False  # not for pytest to collect

    def __init__(self, app: Any) -> None:
        self._sessions = AsyncTestSessions(app)

    @contextmanager
    def open(self, client: Client, name: str | None = None) -> Iterator[Session]:
        """The client's session, as a handler would have it; committed when the block ends, dropped if it raises.

        ::

            with sessions.open(client) as session:
                session["cart"] = ["apple"]
                session.flash("Welcome!")

        Args:
            client: anything with a cookie jar and a base URL: Starlette's and FastAPI's ``TestClient``, httpx clients.
            name: as configured; None for the middleware's own session.

        Raises:
            SerializationError, CookieTooLarge: what was put in cannot be stored.
        """
        with _portal(client) as portal, portal.wrap_async_context_manager(self._sessions.open(client, name)) as session:
            yield session

    def update(self, client: Client, values: Mapping[Any, Any], name: str | None = None) -> None:
        """Put values into the client's session; it gets one, with its cookie, if it has none."""
        self._run(client, lambda: self._sessions.update(client, values, name))

    def log_in(
        self, client: Client, owner: str | int, values: Mapping[Any, Any] | None = None, name: str | None = None
    ) -> None:
        """Make the client's session that of ``owner``: ``session.owner = owner``, and ``values`` put in.

        An application that keeps the user in the values needs no more than ``update(client, {"user_id": 7})``.
        """
        self._run(client, lambda: self._sessions.log_in(client, owner, values, name))

    def read(self, source: Client | Response, name: str | None = None) -> Session:
        """What is stored now: a session with values, ``owner``, ``flashes()``, ``expires_at``, ``is_new``, ``error``...

        It is a copy: nothing done to it is stored, and taking its flashes leaves them where they are.

        Args:
            source: a client; or a response, for the session that its cookies lead to: those of its request, and
                those that it set. A session on the server is read as it is now.
        """
        return self._run(source, lambda: self._sessions.read(source, name))

    def cookies(
        self, values: Mapping[Any, Any] | None = None, *, owner: str | int | None = None, name: str | None = None
    ) -> dict[str, str]:
        """A new session as a cookie, sealed as the application does it: name and value.

        For whatever has no cookie jar: a Cookie header, a real browser, ``TestClient(app, cookies=...)`` for one
        request. A client with a jar is better served by ``update`` and ``log_in``: a cookie that was put into the jar
        by hand belongs to no host, so it is sent along with the one that the application sets later.
        """
        return self._run(None, lambda: self._sessions.cookies(values, owner=owner, name=name))

    def _run(self, client: object, work: Callable[[], Awaitable[T]]) -> T:
        with _portal(client) as portal:
            return portal.call(work)


def find_middlewares(app: Any) -> list[SessionMiddleware]:
    """Those around an application, the outermost first."""
    found: list[SessionMiddleware] = []
    seen: list[Any] = []
    while app is not None and not any(app is known for known in seen):
        seen.append(app)
        if isinstance(app, SessionMiddleware):
            found.append(app)
        app = _built(app) if isinstance(app, Starlette) else getattr(app, "app", None)
    return found


def _built(app: Starlette) -> Any:
    """What Starlette does at the first request: from then on there is the one middleware that the requests meet."""
    if app.middleware_stack is None:
        app.middleware_stack = app.build_middleware_stack()
    return app.middleware_stack


def _exchange(middleware: SessionMiddleware, cookie: bytes = b"", scheme: str = "http") -> Exchange:
    settings = middleware.settings
    return Exchange(settings, [(b"cookie", cookie)] if cookie else [], scheme, settings.clock)


async def _load(middleware: SessionMiddleware, exchange: Exchange, backend: Backend) -> Session:
    return await SessionRegistry(middleware.configuration, exchange, {}).get(backend.profile.name)


def _cookie_header(source: Client | Response, backend: Backend) -> bytes:
    if hasattr(source, "status_code"):
        return cookies_after(cast(Response, source), backend.profile.writer.name)
    return ClientCookies(source, backend.profile.options.path).header()


def _set_cookies(exchange: Exchange) -> list[bytes]:
    return [*(exchange.set_cookies or {}).values()]


@contextmanager
def _portal(client: object) -> Iterator[BlockingPortal]:
    """The event loop of an entered TestClient, where the application's stores are at home; else one for the moment."""
    running = getattr(client, "portal", None)
    if isinstance(running, BlockingPortal):
        yield running
        return
    with start_blocking_portal(**getattr(client, "async_backend", {})) as portal:
        yield portal
