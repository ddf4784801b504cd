"""``scope["session"] = ...``: how Litestar's applications write a session, and how logout handlers end one."""

import dataclasses
import enum
import logging
from collections.abc import Callable
from typing import Any

import anyio
import attrs
import msgspec
import pydantic
import pytest
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware as StarlettesOwn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from asgi_sessions import (
    CookieStore,
    JSONSerializer,
    MemoryStore,
    MessagePackSerializer,
    SerializationError,
    Serializer,
    Session,
    SessionMiddleware,
    Store,
    Stored,
    StoreUnavailable,
    get_sessions,
)
from tests.browser import KEY, OTHER_KEY, Browser, application, read, respond
from tests.consistency.test_late import BODY, START, Socket


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


async def fill(session: Session) -> None:
    session["user"] = "alice"
    session["cart"] = ["apple"]


def assigning(value: object) -> Any:
    async def assign(scope: Any) -> None:
        scope["session"] = value

    return assign


async def delete_the_key(scope: Any) -> None:
    del scope["session"]


def visitor(store: Store, value: object, **options: Any) -> Browser:
    """A browser to whose session ``/assign`` assigns the value."""
    return Browser(application({"/fill": fill, "/assign": assigning(value), "/": read}, store=store, **options))


# -- a dict: the session's values -----------------------------------------------------------------------------------


async def test_an_assigned_dict_becomes_the_values(store: Store) -> None:
    browser = visitor(store, {"user": "bob", "n": 1})
    await browser.get("/fill")
    await browser.get("/assign")
    assert (await browser.get()).json() == {"user": "bob", "n": 1}


async def test_an_assigned_dict_begins_a_session(store: Store) -> None:
    browser = visitor(store, {"user": "bob"})
    await browser.get("/assign")
    assert (await browser.get()).json() == {"user": "bob"}


async def test_an_assigned_dict_is_an_ordinary_change_that_keeps_the_session(server_store: Store) -> None:
    async def handle(session: Session) -> str | None:
        return session.handle

    routes = {"/fill": fill, "/assign": assigning({"user": "bob"}), "/handle": handle, "/": read}
    browser = Browser(application(routes, store=server_store))
    await browser.get("/fill")
    before = (await browser.get("/handle")).json()
    other_device = Browser(browser.app, jar=dict(browser.jar))
    assert (await browser.get("/assign")).set_cookies == []
    assert (await browser.get("/handle")).json() == before
    assert (await other_device.get()).json() == {"user": "bob"}


async def test_an_assigned_dict_keeps_what_a_parallel_request_wrote(server_store: Store) -> None:
    async def assign(scope: Any) -> None:
        scope["session"] = {"user": "bob", "cart": ["apple"]}
        await Browser(browser.app, jar=dict(browser.jar)).get("/parallel")

    async def parallel(session: Session) -> None:
        session["parallel"] = 1

    routes = {"/fill": fill, "/assign": assign, "/parallel": parallel, "/": read}
    browser = Browser(application(routes, store=server_store))
    await browser.get("/fill")
    await browser.get("/assign")
    assert (await browser.get()).json() == {"user": "bob", "cart": ["apple"], "parallel": 1}


async def test_assigning_what_is_there_already_is_no_change(store: Store) -> None:
    browser = visitor(store, {"user": "alice", "cart": ["apple"]})
    await browser.get("/fill")
    assert (await browser.get("/assign")).set_cookies == []


async def test_what_is_changed_in_the_dict_after_its_assignment_is_seen(store: Store) -> None:
    async def assign(scope: Any) -> None:
        values: dict[str, Any] = {"user": "bob", "cart": []}
        scope["session"] = values
        values["cart"].append("pear")
        scope["session"]["late"] = False

    browser = Browser(application({"/assign": assign, "/": read}, store=store))
    await browser.get("/assign")
    assert (await browser.get()).json() == {"user": "bob", "cart": ["pear"], "late": False}


async def test_after_the_response_the_scope_holds_the_session_again(store: Store) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        scope["session"] = {"user": "bob"}
        await respond(send)
        assert scope["session"] is session
        assert dict(session) == {"user": "bob"}

    assert (await Browser(SessionMiddleware(app, KEY, store=store)).get()).status == 200


async def test_a_session_that_was_not_loaded_is_loaded_for_the_assignment(server_store: Store) -> None:
    async def look(scope: Any) -> Any:
        return dict(await scope["sessions"].get())

    routes = {"/fill": assigning({"user": "alice"}), "/assign": assigning({"user": "bob"}), "/": look}
    browser = Browser(application(routes, store=server_store, autoload=False))
    await browser.get("/fill")
    other_device = Browser(browser.app, jar=dict(browser.jar))
    assert (await browser.get("/assign")).set_cookies == []
    assert (await other_device.get()).json() == {"user": "bob"}


async def test_an_error_response_commits_nothing_that_was_assigned(store: Store) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/assign":
            scope["session"] = {"user": "bob"}
            await respond(send, status=500)
        else:
            await routes.app(scope, receive, send)

    routes = application({"/fill": fill, "/": read})
    browser = Browser(SessionMiddleware(app, KEY, store=store))
    await browser.get("/fill")
    assert (await browser.get("/assign")).set_cookies == []
    assert (await browser.get()).json() == {"user": "alice", "cart": ["apple"]}


# -- nothing: the end of the session --------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [{}, None], ids=["dict", "None"])
async def test_assigning_nothing_expires_the_cookie(store: Store, nothing: object) -> None:
    browser = visitor(store, nothing)
    await browser.get("/fill")
    (cookie,) = (await browser.get("/assign")).set_cookies
    assert cookie.startswith("session=")
    assert "Max-Age=0" in cookie
    assert (await browser.get()).json() == {}


@pytest.mark.parametrize("nothing", [{}, None], ids=["dict", "None"])
async def test_assigning_nothing_deletes_the_record(server_store: Store, nothing: object) -> None:
    browser = visitor(server_store, nothing)
    await browser.get("/fill")
    other_device = Browser(browser.app, jar=dict(browser.jar))
    await browser.get("/assign")
    assert (await other_device.get()).json() == {}


@pytest.mark.parametrize("nothing", [{}, None], ids=["dict", "None"])
async def test_assigning_nothing_ends_a_session_that_was_not_loaded(server_store: Store, nothing: object) -> None:
    browser = visitor(server_store, nothing, autoload=lambda scope: scope["path"] != "/assign")
    await browser.get("/fill")
    other_device = Browser(browser.app, jar=dict(browser.jar))
    assert len((await browser.get("/assign")).set_cookies) == 1
    assert (await other_device.get()).json() == {}


async def test_assigning_nothing_to_a_session_without_values_ends_it_too(server_store: Store) -> None:
    """An empty session may have an owner, or flashes."""

    async def empty(session: Session) -> None:
        session.flash("waits")

    async def flashes(session: Session) -> int:
        return len(session.peek_flashes())

    routes = {"/empty": empty, "/assign": assigning(None), "/": flashes}
    browser = Browser(application(routes, store=server_store))
    await browser.get("/empty")
    assert (await browser.get()).json() == 1
    await browser.get("/assign")
    assert (await browser.get()).json() == 0


async def test_assigning_nothing_to_a_new_visitor_sends_no_cookie(store: Store) -> None:
    assert (await visitor(store, None).get("/assign")).set_cookies == []


# -- after the response started -------------------------------------------------------------------------------------


def late(value: object, store: Store) -> Browser:
    """A browser to whose session ``/late`` assigns the value after the response started."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/late":
            await routes.app(scope, receive, send)
            return
        await send(START)
        scope["session"] = value
        await send(BODY)

    routes = application({"/fill": fill, "/": read})
    return Browser(SessionMiddleware(app, KEY, store=store))


@pytest.mark.parametrize(("value", "kept"), [({"user": "bob"}, {"user": "bob"}), ({}, {}), (None, {})])
async def test_a_late_assignment_takes_effect_on_the_server(server_store: Store, value: object, kept: object) -> None:
    browser = late(value, server_store)
    await browser.get("/fill")
    await browser.get("/late")
    assert (await browser.get()).json() == kept


@pytest.mark.parametrize("value", [{"user": "bob"}, {}, None], ids=["dict", "empty", "None"])
async def test_a_late_assignment_to_a_cookie_session_is_logged_as_lost(
    value: object, caplog: pytest.LogCaptureFixture
) -> None:
    browser = late(value, CookieStore())
    await browser.get("/fill")
    await browser.get("/late")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("session 'session': late changes are lost: session 'session': ")
    assert (await browser.get()).json() == {"user": "alice", "cart": ["apple"]}


# -- websockets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False], ids=["before accept", "after accept"])
@pytest.mark.parametrize(("value", "kept"), [({"user": "bob"}, {"user": "bob"}), ({}, {}), (None, {})])
async def test_an_assignment_in_a_websocket_takes_effect(
    server_store: Store, before: bool, value: object, kept: object
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await routes.app(scope, receive, send)
            return
        if before:
            scope["session"] = value
        await send({"type": "websocket.accept"})
        if not before:
            scope["session"] = value

    routes = application({"/fill": fill, "/": read})
    browser = Browser(SessionMiddleware(app, KEY, store=server_store))
    await browser.get("/fill")
    await Socket(browser.app, browser.jar).run()
    assert (await browser.get()).json() == kept


# -- what cannot be done --------------------------------------------------------------------------------------------


async def test_an_assigned_value_that_cannot_be_stored_is_the_applications_error(store: Store) -> None:
    browser = visitor(store, {"user": object()})
    await browser.get("/fill")
    with pytest.raises(SerializationError, match=r"^session 'session'\['user'\]: object objects cannot be stored"):
        await browser.get("/assign")
    assert (await browser.get()).json() == {"user": "alice", "cart": ["apple"]}


class Unreadable(MemoryStore):
    """A store that can be told to be down for reading."""

    down = False

    async def read(self, handle: bytes) -> Stored | None:
        if self.down:
            raise StoreUnavailable("down")
        return await super().read(handle)


@pytest.mark.parametrize("autoload", [True, False])
@pytest.mark.parametrize("value", [{"user": "bob"}, {}, None], ids=["dict", "empty", "None"])
async def test_an_assignment_while_the_store_is_down_is_answered_503(value: object, autoload: bool) -> None:
    async def look(scope: Any) -> Any:
        return dict(await scope["sessions"].get())

    store = Unreadable()
    routes = {"/fill": assigning({"user": "alice"}), "/assign": assigning(value), "/": look}
    browser = Browser(application(routes, store=store, autoload=autoload))
    await browser.get("/fill")
    store.down = True
    assert (await browser.get("/assign")).status == 503
    store.down = False
    assert (await browser.get()).json() == {"user": "alice"}


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("value", [{"user": "bob"}, {}, None], ids=["dict", "empty", "None"])
async def test_who_swallows_that_the_store_is_down_cannot_answer_with_a_success(value: object, again: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fill":
            scope["session"] = {"user": "alice"}
        else:
            scope["session"] = value
            with pytest.raises(StoreUnavailable, match="down"):
                await send(START)
            if not again:
                return
        await respond(send)

    store = Unreadable()
    browser = Browser(SessionMiddleware(app, KEY, store=store, autoload=False))
    await browser.get("/fill")
    store.down = True
    assert (await browser.get("/assign")).status == 503


class Foreign(dict[Any, Any]):
    """A session of somebody else's, as Starlette's own is."""


FOREIGN = {
    "list": ["a"],
    "str": "text",
    "int": 1,
    "dict subclass": Foreign(user="bob"),
    "class": Foreign,
    "object": object(),
}


@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN)
async def test_anything_else_in_the_scope_changes_nothing_and_is_told_once(
    store: Store, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    browser = visitor(store, value)
    await browser.get("/fill")
    for _ in range(3):
        assert (await browser.get("/assign")).set_cookies == []
    assert (await browser.get()).json() == {"user": "alice", "cart": ["apple"]}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"scope['session'] holds a {type(value).__module__}.{type(value).__qualname__} instead" in caplog.text


async def test_a_deleted_key_changes_nothing_and_is_told_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser(application({"/fill": fill, "/delete": delete_the_key, "/": read}, store=store))
    await browser.get("/fill")
    for _ in range(3):
        assert (await browser.get("/delete")).set_cookies == []
    assert (await browser.get()).json() == {"user": "alice", "cart": ["apple"]}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "scope['session'] holds nothing instead" in caplog.text


# -- other middlewares inside ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cookie", ["session", "other"])
async def test_starlettes_own_middleware_inside_ours_does_not_log_out(
    store: Store, cookie: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await JSONResponse(Request(scope).session)(scope, receive, send)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (foreign if scope["path"] == "/inside" else routes.app)(scope, receive, send)

    foreign = StarlettesOwn(inside, KEY, session_cookie=cookie)
    routes = application({"/fill": fill, "/": read})
    browser = Browser(SessionMiddleware(app, KEY, store=store))
    await browser.get("/fill")
    for _ in range(3):
        assert (await browser.get("/inside")).json() == {}
    assert (await browser.get()).json() == {"user": "alice", "cart": ["apple"]}
    assert ["another session middleware inside this one" in record.getMessage() for record in caplog.records] == [True]


async def test_starlettes_own_middleware_inside_ours_keeps_its_session_beside_ours() -> None:
    async def home(request: Request) -> Response:
        request.session["n"] = request.session.get("n", 0) + 1
        return JSONResponse(request.session)

    mounted = StarlettesOwn(Starlette(routes=[Route("/", home)]), KEY, session_cookie="other")
    app = Starlette(routes=[Mount("/inside", mounted), Route("/", home)])
    browser = TestClient(SessionMiddleware(app, KEY, store=MemoryStore()))
    for n in (1, 2):
        assert browser.get("/").json() == browser.get("/inside/").json() == {"n": n}


async def test_our_middleware_inside_ours_is_nothing_to_warn_about(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def write(session: Session) -> int:
        session["n"] = session.get("n", 0) + 1
        return int(session["n"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (inner if scope["path"] == "/inside" else outer.app)(scope, receive, send)

    inner = application({"/inside": write}, secret_key=OTHER_KEY, session_cookie="inner", store=MemoryStore())
    outer = application({"/": write})
    browser = Browser(SessionMiddleware(app, KEY, store=store))
    for n in (1, 2):
        assert (await browser.get("/")).json() == (await browser.get("/inside")).json() == n
    assert not caplog.records


# -- Starlette ------------------------------------------------------------------------------------------------------


def starlette(store: Store) -> TestClient:
    async def login(request: Request) -> Response:
        request.scope["session"] = {"user": "alice"}
        return JSONResponse(request.session)

    async def logout(request: Request) -> Response:
        request.scope["session"] = {}
        return Response()

    async def home(request: Request) -> Response:
        return JSONResponse(request.session)

    async def socket(websocket: WebSocket) -> None:
        websocket.scope["session"] = {"user": "socket"}
        await websocket.accept()
        await websocket.close()

    routes = [Route("/login", login), Route("/logout", logout), Route("/", home), WebSocketRoute("/socket", socket)]
    return TestClient(SessionMiddleware(Starlette(routes=routes), KEY, store=store))


@pytest.mark.parametrize("store", [CookieStore, MemoryStore])
def test_a_handler_of_starlette_sees_what_it_assigned(store: Callable[[], Store]) -> None:
    browser = starlette(store())
    assert browser.get("/login").json() == {"user": "alice"}
    assert browser.get("/").json() == {"user": "alice"}


@pytest.mark.parametrize("store", [CookieStore, MemoryStore])
def test_a_handler_of_starlette_logs_out_by_assigning_nothing(store: Callable[[], Store]) -> None:
    browser = starlette(store())
    browser.get("/login")
    browser.get("/logout")
    assert not browser.cookies
    assert browser.get("/").json() == {}


def test_a_websocket_of_starlette_assigns_before_it_accepts(memory: MemoryStore) -> None:
    browser = starlette(memory)
    browser.get("/login")
    with browser.websocket_connect("/socket"):
        pass
    assert browser.get("/").json() == {"user": "socket"}


# -- Litestar -------------------------------------------------------------------------------------------------------


class Plan(enum.Enum):
    FREE = "free"


@dataclasses.dataclass
class Address:
    city: str


@dataclasses.dataclass
class DataclassUser:
    name: str
    plan: Plan
    address: Address


class StructUser(msgspec.Struct):
    name: str
    plan: Plan
    address: Address


class PydanticUser(pydantic.BaseModel):
    name: str
    plan: Plan
    address: Address


@attrs.define
class AttrsUser:
    name: str
    plan: Plan
    address: Address


MODELS = [DataclassUser, StructUser, PydanticUser, AttrsUser]


def litestar_of(package: Any, handlers: list[Any], **options: Any) -> Any:
    """A Litestar application that leaves the process's logging alone."""
    return package.Litestar(handlers, openapi_config=None, logging_config=None, **options)


def litestar(write: Callable[[Any], object], store: Store, **options: Any) -> TestClient:
    """A browser of an application of Litestar inside our middleware; ``/write`` does something to the request."""
    package = pytest.importorskip("litestar", reason="Litestar is not installed")

    async def handle(request: package.Request) -> None:
        write(request)

    async def end(request: package.Request) -> None:
        request.clear_session()

    async def look(request: package.Request) -> dict[str, Any]:
        return dict(request.session)

    handlers = [package.get(path)(handler) for path, handler in {"/write": handle, "/end": end, "/": look}.items()]
    return TestClient(SessionMiddleware(litestar_of(package, handlers), KEY, store=store, **options))


async def test_litestars_set_session_takes_a_dict(store: Store) -> None:
    browser = litestar(lambda request: request.set_session({"user": "alice"}), store)
    browser.get("/write")
    assert browser.get("/").json() == {"user": "alice"}


async def test_litestars_set_session_keeps_the_session(memory: MemoryStore) -> None:
    browser = litestar(lambda request: request.set_session({"n": request.session.get("n", 0) + 1}), memory)
    browser.get("/write")
    cookie = browser.cookies["session"]
    browser.get("/write")
    assert (browser.get("/").json(), browser.cookies["session"], len(memory)) == ({"n": 2}, cookie, 1)


@pytest.mark.parametrize("serializer", [MessagePackSerializer, JSONSerializer])
@pytest.mark.parametrize("model", MODELS)
async def test_litestars_set_session_takes_a_model(
    model: Callable[..., object], serializer: Callable[[], Serializer], memory: MemoryStore
) -> None:
    user = model(name="alice", plan=Plan.FREE, address=Address("Oslo"))
    browser = litestar(lambda request: request.set_session(user), memory, serializer=serializer())
    browser.get("/write")
    assert browser.get("/").json() == {"name": "alice", "plan": "free", "address": {"city": "Oslo"}}


async def test_litestars_clear_session_logs_out(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    browser = litestar(lambda request: request.set_session({"user": "alice"}), store)
    browser.get("/write")
    browser.get("/end")
    assert not browser.cookies
    assert browser.get("/").json() == {}
    assert not caplog.records


async def test_litestars_clear_session_deletes_the_record(memory: MemoryStore) -> None:
    browser = litestar(lambda request: request.set_session({"user": "alice"}), memory)
    browser.get("/write")
    browser.get("/end")
    assert len(memory) == 0


async def test_litestars_empty_ends_a_session_after_the_response_started(memory: MemoryStore) -> None:
    empty = pytest.importorskip("litestar.types", reason="Litestar is not installed").Empty
    browser = late(empty, memory)
    await browser.get("/fill")
    await browser.get("/late")
    assert len(memory) == 0


class Empty:
    """What stood for nothing in older releases of Litestar."""


async def test_the_empty_of_older_releases_ends_a_session_too(memory: MemoryStore) -> None:
    Empty.__module__ = "litestar.types.empty"
    browser = visitor(memory, Empty)
    await browser.get("/fill")
    await browser.get("/assign")
    assert len(memory) == 0


async def test_a_model_that_cannot_be_stored_is_no_success(memory: MemoryStore) -> None:
    user = DataclassUser("alice", Plan.FREE, object())  # type: ignore[arg-type]  # on purpose
    browser = litestar(lambda request: request.set_session(user), memory)
    with pytest.raises(Exception, match="Exception caught after response started") as caught:  # Litestar's own
        browser.get("/write")
    assert isinstance(caught.value.__cause__, SerializationError)
    assert str(caught.value.__cause__).startswith("session 'session'['address']: ")
    assert len(memory) == 0


async def test_litestar_answers_503_when_the_store_is_down() -> None:
    store = Unreadable()
    browser = litestar(lambda request: request.set_session({"user": "bob"}), store)
    browser.get("/write")
    store.down = True
    assert browser.get("/write").status_code == 503


async def test_litestars_sockets_write_the_session_before_they_accept(memory: MemoryStore) -> None:
    package = pytest.importorskip("litestar", reason="Litestar is not installed")

    async def handle(socket: package.WebSocket) -> None:
        socket.set_session({"user": "socket"})
        await socket.accept()
        await socket.close()

    async def look(request: package.Request) -> dict[str, Any]:
        return dict(request.session)

    async def write(request: package.Request) -> None:
        request.set_session({"user": "alice"})

    handlers = [package.websocket("/socket")(handle), package.get("/write")(write), package.get("/")(look)]
    browser = TestClient(SessionMiddleware(litestar_of(package, handlers), KEY, store=memory))
    browser.get("/write")
    with browser.websocket_connect("/socket"):
        pass
    assert browser.get("/").json() == {"user": "socket"}


async def test_litestar_takes_our_middleware_as_one_of_its_own(memory: MemoryStore) -> None:
    package = pytest.importorskip("litestar", reason="Litestar is not installed")
    middleware = pytest.importorskip("litestar.middleware").DefineMiddleware

    async def write(request: package.Request) -> None:
        request.set_session({"user": "alice"})

    async def look(request: package.Request) -> dict[str, Any]:
        return dict(request.session)

    handlers = [package.get("/write")(write), package.get("/")(look)]
    sessions = middleware(SessionMiddleware, secret_key=KEY, store=memory)
    browser = TestClient(litestar_of(package, handlers, middleware=[sessions]))
    browser.get("/write")
    assert browser.get("/").json() == {"user": "alice"}


async def test_an_assignment_waits_for_who_is_loading_the_session() -> None:
    class Slow(MemoryStore):
        async def read(self, handle: bytes) -> Stored | None:
            reading.set()
            await assigned.wait()
            return await super().read(handle)

    reading, assigned = anyio.Event(), anyio.Event()
    store = Slow()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fill":
            (await get_sessions(scope).get())["a"] = 1
            await respond(send)
            return
        if scope["path"] == "/":
            session = await get_sessions(scope).get()
            await respond(send, [dict(session), session.owner, len(session.peek_flashes())])
            return

        async def log_in() -> None:
            session = await get_sessions(scope).get()
            session.flash("Welcome!")
            session.owner = "ann"

        async with anyio.create_task_group() as group:
            group.start_soon(log_in)
            await reading.wait()
            scope["session"] = {"z": 1}
            group.start_soon(respond, send)
            await anyio.wait_all_tasks_blocked()
            assigned.set()

    browser = Browser(SessionMiddleware(app, KEY, store=store, autoload=False))
    await browser.get("/fill")
    assert (await browser.get("/assign")).status == 200
    assert (await browser.get("/")).json() == [{"z": 1}, "ann", 1]
