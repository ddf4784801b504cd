"""Stores open and close with the application, and do without."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asgi_sessions import MemoryStore, Session, SessionConfig, SessionMiddleware
from tests.browser import KEY, Browser, application


async def count(request: Request) -> JSONResponse:
    request.session["n"] = request.session.get("n", 0) + 1
    return JSONResponse(request.session)


async def idle(request: Request) -> JSONResponse:
    return JSONResponse({})


ROUTES = [Route("/", count), Route("/idle", idle)]


class Opening(MemoryStore):
    """Notes when it is opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    async def open(self) -> None:
        self.log.append("open")
        await super().open()

    async def close(self) -> None:
        self.log.append("close")
        await super().close()


class Unopenable(MemoryStore):
    async def open(self) -> None:
        raise OSError("not up yet")

    async def close(self) -> None:
        raise OSError("gone already")


def test_the_lifespan_opens_every_store_once_before_and_closes_it_after_the_application() -> None:
    default, cart = Opening(), Opening()
    log = default.log

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        log.append("startup")
        yield
        log.append("shutdown")

    sessions = [SessionConfig("cart", store=cart), SessionConfig("wishes", store=cart)]
    middleware = Middleware(SessionMiddleware, secret_key=KEY, store=default, sessions=sessions)
    app = Starlette(routes=ROUTES, middleware=[middleware], lifespan=lifespan)
    with TestClient(app) as browser:
        browser.get("/")
        assert log == ["open", "startup"]
        assert browser.get("/").json() == {"n": 2}
    assert log[:4] == ["open", "startup", "shutdown", "close"]
    assert (cart.log[0], cart.log.count("open"), cart.log[-1]) == ("open", 1, "close")


def test_without_a_lifespan_a_store_works_unopened() -> None:
    store = Opening()
    app = Starlette(routes=ROUTES, middleware=[Middleware(SessionMiddleware, secret_key=KEY, store=store)])
    browser = TestClient(Starlette(routes=[Mount("/mounted", app)]))
    with browser:
        browser.get("/mounted/")
        assert browser.get("/mounted/").json() == {"n": 2}
    assert store.log == []


def test_a_store_that_does_not_open_keeps_no_application_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    middleware = Middleware(SessionMiddleware, secret_key=KEY, store=Unopenable())
    with TestClient(Starlette(routes=ROUTES, middleware=[middleware])) as browser:
        assert browser.get("/idle").status_code == 200
    assert "Unopenable could not open" in caplog.text
    assert "Unopenable could not close" in caplog.text


async def lifespan_of(app: ASGIApp) -> list[str]:
    incoming = ["lifespan.startup", "lifespan.shutdown"]
    sent: list[str] = []

    async def receive() -> Message:
        return {"type": incoming.pop(0)}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return sent


async def test_an_application_that_knows_no_lifespan_says_so_to_the_server_as_before() -> None:
    """A server takes the exception as "no lifespan here" and goes on."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "only http"
        scope["session"]["n"] = scope["session"].get("n", 0) + 1
        await JSONResponse(scope["session"])(scope, receive, send)

    store = Opening()
    wrapped = SessionMiddleware(app, KEY, store=store)
    with pytest.raises(AssertionError, match="only http"):
        await lifespan_of(wrapped)
    browser = Browser(wrapped)
    await browser.get()
    assert (await browser.get()).json() == {"n": 2}


async def test_a_startup_that_failed_is_reported_and_the_store_closed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    store = Opening()
    assert await lifespan_of(SessionMiddleware(app, KEY, store=store)) == ["lifespan.startup.failed"]
    assert (store.log[0], store.log[-1]) == ("open", "close")


async def test_scopes_that_are_neither_http_nor_websocket_pass() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    await SessionMiddleware(app, KEY)({"type": "custom"}, receive, send)
    assert seen == [{"type": "custom"}]


async def test_plain_asgi_needs_no_framework() -> None:
    async def count(session: Session) -> int:
        session["n"] = session.get("n", 0) + 1
        return int(session["n"])

    browser = Browser(application(count))
    assert [(await browser.get()).json() for _ in range(3)] == [1, 2, 3]
