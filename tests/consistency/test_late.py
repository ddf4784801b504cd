"""What is changed after the response has started."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from asgi_sessions import (
    CookieStore,
    MemoryStore,
    RecordStore,
    ResponseStarted,
    Session,
    SessionMiddleware,
    get_session,
)
from tests.browser import KEY, Browser, application, read

START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}


async def fill(session: Session) -> None:
    session["x"] = 0


def late(handler: Any, store: Any, *, ending: BaseException | None = None, status: int = 200) -> Browser:
    """A browser whose ``/late`` runs the handler after the response has started."""
    prepared = application({"/fill": fill, "/": read})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/late":
            await prepared.app(scope, receive, send)
            return
        await scope["sessions"].get()
        await send(START | {"status": status})
        await handler(scope["session"], send)
        await send(BODY)
        if ending is not None:
            raise ending

    return Browser(SessionMiddleware(app, KEY, store=store))


async def change(session: Session, send: Any) -> None:
    session["late"] = True
    session.flash("late")


async def nested(session: Session, send: Any) -> None:
    session["late"] = True


async def test_late_changes_are_committed_when_the_application_returns(server_store: RecordStore) -> None:
    browser = late(change, server_store)
    await browser.get("/fill")
    assert (await browser.get("/late")).set_cookies == []
    assert (await browser.get("/")).json() == {"x": 0, "late": True}


async def test_a_late_nested_change_is_found(server_store: RecordStore) -> None:
    async def before_and_after(session: Session, send: Any) -> None:
        session.setdefault("list", [])
        await session.save()
        session["list"].append("late")

    browser = late(before_and_after, server_store)
    await browser.get("/fill")
    await browser.get("/late")
    assert (await browser.get("/")).json() == {"x": 0, "list": ["late"]}


@pytest.mark.parametrize(
    "ending",
    [ClientDisconnect(), WebSocketDisconnect(), ValueError("a fault of its own")],
    ids=lambda e: type(e).__name__,
)
async def test_an_end_by_disconnect_counts_as_return_and_a_fault_does_not(
    server_store: RecordStore, ending: Exception
) -> None:
    browser = late(change, server_store, ending=ending)
    await browser.get("/fill")
    with pytest.raises(type(ending)):
        await browser.get("/late")
    kept = {"x": 0} if isinstance(ending, ValueError) else {"x": 0, "late": True}
    assert (await browser.get("/")).json() == kept


async def test_a_server_that_can_not_send_any_more_counts_as_return(server_store: RecordStore) -> None:
    browser = late(change, server_store)
    await browser.get("/fill")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("broken pipe")

    with pytest.raises(OSError, match="broken pipe"):
        await browser.app(browser.scope("/late"), None, send)
    assert (await browser.get("/")).json() == {"x": 0, "late": True}


async def test_an_oserror_of_the_application_is_a_fault(server_store: RecordStore) -> None:
    browser = late(change, server_store, ending=FileNotFoundError("a file of its own"))
    await browser.get("/fill")
    with pytest.raises(FileNotFoundError):
        await browser.get("/late")
    assert (await browser.get("/")).json() == {"x": 0}


async def test_a_cancelled_stream_counts_as_return(server_store: RecordStore) -> None:
    async def change_and_wait(session: Session, send: Any) -> None:
        session["late"] = True
        changed.set()
        await anyio.sleep_forever()

    changed = anyio.Event()
    browser = late(change_and_wait, server_store)
    await browser.get("/fill")
    async with anyio.create_task_group() as group:
        group.start_soon(browser.get, "/late")
        await changed.wait()
        group.cancel_scope.cancel()
    assert (await browser.get("/")).json() == {"x": 0, "late": True}


async def test_an_error_response_commits_nothing_later_either(server_store: RecordStore) -> None:
    browser = late(change, server_store, status=500)
    await browser.get("/fill")
    await browser.get("/late")
    assert (await browser.get("/")).json() == {"x": 0}


async def test_an_explicit_save_stands_even_in_an_error_response(server_store: RecordStore) -> None:
    async def save(session: Session, send: Any) -> None:
        session["saved"] = True
        await session.save()
        session["late"] = True

    browser = late(save, server_store, status=500)
    await browser.get("/fill")
    await browser.get("/late")
    assert (await browser.get("/")).json() == {"x": 0, "saved": True}


@pytest.mark.parametrize("path", ["/raises", "/error"])
async def test_a_handler_that_fails_before_the_response_commits_nothing(server_store: RecordStore, path: str) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fill":
            scope["session"]["x"] = 0
        elif scope["path"] != "/":
            scope["session"]["y"] = 1
            scope["session"].regenerate()
        if scope["path"] == "/raises":
            raise ValueError("its fault")
        status = 500 if scope["path"] == "/error" else 200
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": str(dict(scope["session"])).encode()})

    browser = Browser(SessionMiddleware(fail, KEY, store=server_store))
    await browser.get("/fill")
    jar = dict(browser.jar)
    if path == "/raises":
        with pytest.raises(ValueError, match="its fault"):
            await browser.get(path)
    else:
        assert (await browser.get(path)).set_cookies == []
    assert browser.jar == jar
    assert (await browser.get("/")).body == b"{'x': 0}"


async def test_a_handler_that_is_cancelled_before_the_response_commits_nothing(server_store: RecordStore) -> None:
    async def wait(session: Session) -> None:
        session["y"] = 1
        changed.set()
        await anyio.sleep_forever()

    changed = anyio.Event()
    browser = Browser(application({"/fill": fill, "/wait": wait, "/": read}, store=server_store))
    await browser.get("/fill")
    async with anyio.create_task_group() as group:
        group.start_soon(browser.get, "/wait")
        await changed.wait()
        group.cancel_scope.cancel()
    assert (await browser.get("/")).json() == {"x": 0}


# -- what cannot be done any more -----------------------------------------------------------------------------------


async def test_a_late_login_is_an_error(server_store: RecordStore) -> None:
    async def login(session: Session, send: Any) -> None:
        with pytest.raises(ResponseStarted, match=r"'session': regenerate\(\) after the response started"):
            session.regenerate()
        with pytest.raises(ResponseStarted):
            session.owner = "alice"
        await session.save()

    browser = late(login, server_store)
    await browser.get("/fill")
    await browser.get("/late")
    assert (await browser.get("/")).json() == {"x": 0}


async def test_a_late_logout_deletes_the_record_at_the_next_message(server_store: RecordStore) -> None:
    async def logout(session: Session, send: Any) -> None:
        session.invalidate()
        await send(BODY | {"more_body": True})
        seen.append((await Browser(browser.app, jar=dict(browser.jar)).get("/")).json())

    seen: list[Any] = []
    browser = late(logout, server_store)
    await browser.get("/fill")
    await browser.get("/late")
    assert seen == [{}]


async def test_a_late_logout_deletes_the_record_though_what_came_after_it_is_lost(
    server_store: RecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def logout(session: Session, send: Any) -> None:
        session.invalidate()
        session["after"] = 1
        with pytest.raises(ResponseStarted, match="'after'"):
            await session.save()

    browser = late(logout, server_store)
    await browser.get("/fill")
    await browser.get("/late")
    assert (await browser.get("/")).json() == {}


async def test_a_session_without_a_cookie_leaves_no_orphan_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def write(session: Session, send: Any) -> None:
        session["late"] = 1
        with pytest.raises(ResponseStarted, match="'session': changes of 'late' after the response started are lost"):
            await session.save()

    store = MemoryStore()
    await late(write, store).get("/late")
    assert len(store) == 0
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "'session'" in caplog.text
    assert "'late'" in caplog.text


async def test_a_cookie_session_says_which_late_changes_are_lost(caplog: pytest.LogCaptureFixture) -> None:
    async def write(session: Session, send: Any) -> None:
        session["late"] = 1
        del session["x"]
        with pytest.raises(ResponseStarted):
            session.invalidate()
        with pytest.raises(ResponseStarted, match=r"changes of 'x', 'late'"):
            await session.save()

    browser = late(write, CookieStore())
    await browser.get("/fill")
    await browser.get("/late")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "session 'session': changes of 'x', 'late' after the response started are lost" in caplog.text
    assert (await browser.get("/")).json() == {"x": 0}


async def test_a_value_that_can_not_be_stored_late_is_logged(
    server_store: RecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def write(session: Session, send: Any) -> None:
        session["late"] = object()

    browser = late(write, server_store)
    await browser.get("/fill")
    await browser.get("/late")
    assert "session 'session'['late']: object" in caplog.text.replace("objects", "object")
    assert (await browser.get("/")).json() == {"x": 0}


# -- with Starlette -------------------------------------------------------------------------------------------------


async def test_streams_and_background_tasks_of_starlette_are_committed(server_store: RecordStore) -> None:
    async def stream(request: Request) -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "one"
            (await get_session(request))["streamed"] = True
            yield "two"

        request.session["x"] = 0
        return StreamingResponse(chunks())

    async def background(request: Request) -> PlainTextResponse:
        def task() -> None:
            request.session["in the background"] = True

        return PlainTextResponse("", background=BackgroundTask(task))

    async def show(request: Request) -> PlainTextResponse:
        return PlainTextResponse(repr(sorted(request.session)))

    app = Starlette(routes=[Route("/stream", stream), Route("/background", background), Route("/", show)])
    browser = Browser(SessionMiddleware(app, KEY, store=server_store))
    # The stream writes before it has a cookie, too: that one comes with the response.
    assert (await browser.get("/stream")).body == b"onetwo"
    await browser.get("/background")
    assert (await browser.get("/")).body == b"['in the background', 'streamed', 'x']"


# -- websockets -----------------------------------------------------------------------------------------------------


class Socket:
    """A websocket client, driven by hand."""

    def __init__(self, app: Any, jar: dict[str, str], extensions: Any = None) -> None:
        self.sent: list[Any] = []
        cookie = "; ".join(f"{name}={value}" for name, value in jar.items()).encode()
        self.scope = {"type": "websocket", "scheme": "ws", "path": "/ws", "headers": [(b"cookie", cookie)] * bool(jar)}
        self.scope["extensions"] = extensions or {}
        self.app = app
        self.incoming: list[Any] = [{"type": "websocket.connect"}]

    async def receive(self) -> Any:
        return self.incoming.pop(0) if self.incoming else {"type": "websocket.disconnect", "code": 1001}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self) -> None:
        await self.app(self.scope, self.receive, self.send)


def sockets(handler: Any, store: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await handler(scope["session"], receive, send)
        else:
            await routes.app(scope, receive, send)

    routes = application({"/fill": fill, "/": read})
    return SessionMiddleware(app, KEY, store=store)


async def test_a_websocket_gets_its_cookie_when_it_is_accepted(server_store: RecordStore) -> None:
    async def handler(session: Session, receive: Any, send: Any) -> None:
        session["early"] = True
        await send({"type": "websocket.accept"})
        session["late"] = True
        await session.save()
        session["last"] = True

    socket = Socket(app := sockets(handler, server_store), {})
    await socket.run()
    (name, value) = next(header for header in socket.sent[0]["headers"] if header[0] == b"set-cookie")
    assert name == b"set-cookie"
    jar = dict([value.decode().split(";")[0].split("=", 1)])
    assert (await Browser(app, jar=jar).get("/")).json() == {"early": True, "late": True, "last": True}


async def test_a_websocket_that_logs_out_deletes_the_record_before_it_waits_again(server_store: RecordStore) -> None:
    async def handler(session: Session, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        session.invalidate()
        await receive()
        seen.append((await Browser(app, jar=dict(browser.jar)).get("/")).json())

    seen: list[Any] = []
    browser = Browser(app := sockets(handler, server_store))
    await browser.get("/fill")
    await Socket(app, browser.jar).run()
    assert seen == [{}]


async def test_a_socket_that_was_refused_still_saves_what_it_changed(server_store: RecordStore) -> None:
    async def handler(session: Session, receive: Any, send: Any) -> None:
        session["attempts"] = 1
        await send({"type": "websocket.close", "code": 1008})

    browser = Browser(app := sockets(handler, server_store))
    await browser.get("/fill")
    socket = Socket(app, browser.jar)
    await socket.run()
    assert socket.sent == [{"type": "websocket.close", "code": 1008}]
    assert (await browser.get("/")).json() == {"x": 0, "attempts": 1}
