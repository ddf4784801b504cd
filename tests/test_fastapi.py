"""Sessions as FastAPI dependencies."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.websockets import WebSocketDisconnect

from asgi_sessions import (
    MemoryStore,
    Session,
    SessionConfig,
    SessionMiddleware,
    SessionNotConfigured,
    SessionRegistry,
    Stored,
    StoreUnavailable,
    get_session,
)
from asgi_sessions.fastapi import RegistryDep, SessionDep, use_session

from .browser import KEY

Cart = Annotated[Session, use_session("cart")]


def new_app(**options: Any) -> FastAPI:
    app = FastAPI()
    options.setdefault("sessions", [SessionConfig("cart", store=MemoryStore())])
    app.add_middleware(SessionMiddleware, **{"secret_key": KEY, **options})

    @app.get("/session")
    async def show(session: SessionDep) -> dict[str, Any]:
        return session

    @app.get("/cart")
    async def show_cart(cart: Cart) -> dict[str, Any]:
        return cart

    return app


# -- HTTP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [None, MemoryStore()], ids=["cookie", "memory"])
def test_the_default_session_is_a_dependency(store: Any) -> None:
    app = new_app(store=store)

    @app.post("/visits")
    async def visit(session: SessionDep) -> int:
        session["visits"] = session.get("visits", 0) + 1
        return int(session["visits"])

    browser = TestClient(app)
    assert [browser.post("/visits").json() for _ in range(3)] == [1, 2, 3]
    assert browser.get("/session").json() == {"visits": 3}


def test_a_dependency_loads_a_session_that_was_not_loaded_early() -> None:
    app = new_app(store=MemoryStore(), autoload=False)

    @app.post("/")
    async def fill(session: SessionDep) -> None:
        session["a"] = 1

    browser = TestClient(app)
    browser.post("/")
    assert browser.get("/session").json() == {"a": 1}


def test_a_function_in_a_thread_can_use_a_session() -> None:
    app = new_app()

    @app.post("/")
    def fill(cart: Cart, session: SessionDep) -> None:
        cart["a"] = session["b"] = 1

    browser = TestClient(app)
    browser.post("/")
    assert (browser.get("/cart").json(), browser.get("/session").json()) == ({"a": 1}, {"b": 1})


def test_a_session_that_is_not_configured_lives_in_the_store_that_is_named() -> None:
    app = new_app()
    wishes = use_session("wishes", store=MemoryStore())

    @app.post("/wish")
    async def wish(wishes: Annotated[Session, wishes]) -> int:
        wishes["n"] = wishes.get("n", 0) + 1
        return int(wishes["n"])

    browser = TestClient(app)
    assert [browser.post("/wish").json() for _ in range(2)] == [1, 2]


def test_everybody_gets_the_same_object() -> None:
    app = new_app()

    async def sub(session: SessionDep, cart: Cart) -> list[Session]:
        return [session, cart]

    @app.get("/")
    async def same(
        request: Request,
        session: SessionDep,
        cart: Annotated[Session, use_session("cart")],
        sub: Annotated[list[Session], Depends(sub)],
        sessions: RegistryDep,
    ) -> bool:
        default = [session, sub[0], request.session, await sessions.get(), await get_session(request)]
        carts = [cart, sub[1], await sessions.get("cart"), await get_session(request, "cart")]
        return len({id(one) for one in default}) == len({id(one) for one in carts}) == 1

    assert TestClient(app).get("/").json() is True


def test_the_registry_is_a_dependency() -> None:
    app = new_app()

    @app.post("/spend")
    async def spend(sessions: RegistryDep) -> int:
        assert isinstance(sessions, SessionRegistry)
        async with sessions.exclusive("cart") as cart:
            cart["balance"] = cart.get("balance", 100) - 1
        return int(cart["balance"])

    browser = TestClient(app)
    assert [browser.post("/spend").json() for _ in range(2)] == [99, 98]


def test_a_router_can_ask_for_a_session_on_behalf_of_its_routes() -> None:
    async def logged_in(session: SessionDep) -> None:
        if "user" not in session:
            raise HTTPException(401)

    app = new_app()
    router = APIRouter(prefix="/private", dependencies=[Depends(logged_in), use_session("cart")])

    @router.get("/")
    async def private(request: Request) -> list[str]:
        return [session.name for session in request.scope["sessions"]]

    @app.post("/login")
    async def login(session: SessionDep) -> None:
        session["user"] = "alice"

    app.include_router(router)
    browser = TestClient(app)
    assert browser.get("/private/").status_code == 401
    browser.post("/login")
    assert browser.get("/private/").json() == ["session", "cart"]


def test_a_session_can_be_the_response_of_a_route_with_a_model() -> None:
    class Profile(BaseModel):
        name: str
        tags: list[str] = []

    app = new_app()

    @app.post("/profile")
    async def fill(profile: Profile, session: SessionDep) -> None:
        session.update(profile.model_dump(), private=True)

    @app.get("/profile", response_model=Profile)
    async def show(session: SessionDep) -> Any:
        return session

    browser = TestClient(app)
    browser.post("/profile", json={"name": "alice", "tags": ["a"]})
    assert browser.get("/profile").json() == {"name": "alice", "tags": ["a"]}


def test_a_mounted_application_uses_the_sessions_around_it() -> None:
    app, mounted = new_app(), FastAPI()

    @mounted.post("/")
    async def fill(cart: Cart) -> None:
        cart["a"] = 1

    app.mount("/mounted", mounted)
    browser = TestClient(app)
    browser.post("/mounted/")
    assert browser.get("/cart").json() == {"a": 1}


# -- what fails, and what comes late -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "saved"), [(400, {"a": 1}), (404, {"a": 1}), (500, {}), (503, {})])
def test_an_http_error_of_the_server_saves_nothing_one_of_the_client_does(status: int, saved: Any) -> None:
    app = new_app()

    @app.post("/")
    async def fail(session: SessionDep, cart: Cart) -> None:
        session["a"] = cart["a"] = 1
        raise HTTPException(status)

    browser = TestClient(app)
    assert browser.post("/").status_code == status
    assert (browser.get("/session").json(), browser.get("/cart").json()) == (saved, saved)


def test_a_route_that_raises_saves_nothing() -> None:
    app = new_app()

    @app.post("/")
    async def fail(session: SessionDep, cart: Cart) -> None:
        session["a"] = cart["a"] = 1
        raise RuntimeError("no")

    browser = TestClient(app, raise_server_exceptions=False)
    response = browser.post("/")
    assert (response.status_code, response.headers.get_list("set-cookie")) == (500, [])
    assert (browser.get("/session").json(), browser.get("/cart").json()) == ({}, {})


def test_an_exception_handler_of_the_application_answers_and_what_was_set_is_saved() -> None:
    app = new_app()

    @app.exception_handler(LookupError)
    async def handle(request: Request, exc: LookupError) -> StreamingResponse:
        return StreamingResponse(iter(["handled"]), status_code=404)

    @app.post("/")
    async def fail(session: SessionDep) -> None:
        session["a"] = 1
        raise LookupError

    browser = TestClient(app)
    assert browser.post("/").text == "handled"
    assert browser.get("/session").json() == {"a": 1}


class Unreadable(MemoryStore):
    async def read(self, handle: bytes) -> Stored | None:
        raise StoreUnavailable("down")


def test_a_store_that_is_down_is_answered_503() -> None:
    up, down = MemoryStore(), Unreadable()
    fill = new_app(sessions=[SessionConfig("cart", store=up)])

    @fill.post("/")
    async def add(cart: Cart) -> None:
        cart["a"] = 1

    browser = TestClient(fill)
    browser.post("/")
    broken = TestClient(new_app(sessions=[SessionConfig("cart", store=down)]), cookies=dict(browser.cookies))
    response = broken.get("/cart")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert broken.get("/session").status_code == 200


def test_an_unknown_session_is_an_error_of_the_application() -> None:
    app = new_app()

    @app.get("/")
    async def use(basket: Annotated[Session, use_session("basket")]) -> None: ...

    with pytest.raises(SessionNotConfigured, match="no session 'basket'"):
        TestClient(app).get("/")


def test_without_the_middleware_the_error_names_it() -> None:
    app = FastAPI()

    @app.get("/")
    async def use(session: SessionDep) -> None: ...

    with pytest.raises(SessionNotConfigured, match="no SessionMiddleware of asgi_sessions"):
        TestClient(app).get("/")


def test_a_background_task_changes_a_session_on_the_server() -> None:
    app = new_app()

    async def later(cart: Session) -> None:
        cart["later"] = True

    @app.post("/")
    async def begin(cart: Cart, tasks: BackgroundTasks) -> None:
        cart["now"] = True
        tasks.add_task(later, cart)

    browser = TestClient(app)
    browser.post("/")
    assert browser.get("/cart").json() == {"now": True, "later": True}


def test_a_background_task_that_changes_a_cookie_session_leaves_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = new_app()

    async def later(session: Session) -> None:
        session["later"] = True

    @app.post("/")
    async def begin(session: SessionDep, tasks: BackgroundTasks) -> None:
        session["now"] = True
        tasks.add_task(later, session)

    browser = TestClient(app)
    browser.post("/")
    assert browser.get("/session").json() == {"now": True}
    assert "changes of 'later' after the response started are lost" in caplog.text


def test_a_dependency_with_yield_changes_a_session_before_and_after_the_route() -> None:
    app = new_app()

    async def trace(cart: Cart) -> AsyncIterator[None]:
        cart["before"] = True
        yield
        cart["after"] = cart["inside"]

    @app.post("/", dependencies=[Depends(trace)])
    async def inside(cart: Cart) -> None:
        cart["inside"] = cart["before"]

    browser = TestClient(app)
    browser.post("/")
    assert browser.get("/cart").json() == {"before": True, "inside": True, "after": True}


def test_a_stream_changes_a_session_on_the_server_while_it_runs() -> None:
    app = new_app()

    @app.post("/")
    async def stream(cart: Cart) -> StreamingResponse:
        cart["sent"] = sent = []

        async def chunks() -> AsyncIterator[str]:
            for number in range(3):
                sent.append(number)
                yield str(number)

        return StreamingResponse(chunks())

    browser = TestClient(app)
    assert browser.post("/").text == "012"
    assert browser.get("/cart").json() == {"sent": [0, 1, 2]}


# -- websockets --------------------------------------------------------------------------------------------------------


def test_websocket_routes_take_the_same_dependencies() -> None:
    app = new_app()

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, session: SessionDep, cart: Cart, sessions: RegistryDep) -> None:
        session["connected"] = True
        cart["seen"] = []
        await websocket.accept()
        async for text in websocket.iter_text():
            cart["seen"].append(text)
            await cart.save()
            await websocket.send_json([session, cart, [one.name for one in sessions]])

    browser = TestClient(app)
    with browser.websocket_connect("/ws") as connection:
        names = [value.partition(b"=")[0] for name, value in connection.extra_headers or [] if name == b"set-cookie"]
        assert sorted(names) == [b"cart", b"session"]
        for text in "ab":
            connection.send_text(text)
            received = connection.receive_json()
        assert received == [{"connected": True}, {"seen": ["a", "b"]}, ["session", "cart"]]
        cookies = [value for name, value in connection.extra_headers or [] if name == b"set-cookie"]
    jar = dict(re.match(r"([a-z]+)=([^;]+)", cookie.decode()).groups() for cookie in cookies)  # type: ignore[union-attr]
    again = TestClient(app, cookies=jar)
    assert (again.get("/cart").json(), again.get("/session").json()) == ({"seen": ["a", "b"]}, {"connected": True})


def test_a_dependency_can_refuse_a_websocket_by_its_session() -> None:
    app = new_app()

    async def logged_in(websocket: WebSocket, session: SessionDep) -> None:
        if "user" not in session:
            raise HTTPException(403)

    @app.websocket("/ws", dependencies=[Depends(logged_in)])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    browser = TestClient(app)
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/ws"):
        pass


# -- the OpenAPI document ----------------------------------------------------------------------------------------------

Basket = Annotated[Session, use_session("basket of fruit", cookie_name="__Host-basket")]


def test_the_document_shows_each_session_as_a_cookie() -> None:
    app = FastAPI()

    @app.get("/")
    async def use(session: SessionDep, cart: Cart, basket: Basket) -> None: ...

    @app.get("/open")
    async def open_to_all() -> None: ...

    document = app.openapi()
    schemes = document["components"]["securitySchemes"]
    shown = {name: (scheme["type"], scheme["in"], scheme["name"]) for name, scheme in schemes.items()}
    assert shown == {
        "session": ("apiKey", "cookie", "session"),
        "cart-session": ("apiKey", "cookie", "cart"),
        "basket_of_fruit-session": ("apiKey", "cookie", "__Host-basket"),
    }
    used = {name for requirement in document["paths"]["/"]["get"]["security"] for name in requirement}
    assert used == set(shown)
    assert "security" not in document["paths"]["/open"]["get"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in schemes), "as OpenAPI wants it"


def test_a_cookie_name_that_the_document_has_wrong_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    app = new_app(session_cookie="sid", sessions=[SessionConfig("cart", cookie_name="basket")])
    renamed = Annotated[Session, use_session()]

    @app.get("/")
    async def use(session: renamed, cart: Annotated[Session, use_session("cart")]) -> None: ...

    browser = TestClient(app)
    for _ in range(2):
        browser.get("/")
    first, second = [record.getMessage() for record in caplog.records]
    assert "its cookie is 'sid', but 'session' in the OpenAPI document" in first
    assert first.endswith("write use_session(cookie_name='sid')")
    assert second.endswith("write use_session('cart', cookie_name='basket')")


def test_a_cookie_name_that_the_document_has_right_is_no_reason_to_log(caplog: pytest.LogCaptureFixture) -> None:
    app = new_app(session_cookie="sid", sessions=[SessionConfig("cart", cookie_name="basket")])

    @app.get("/")
    async def use(
        session: Annotated[Session, use_session(cookie_name="sid")],
        cart: Annotated[Session, use_session("cart", cookie_name="basket")],
    ) -> None: ...

    assert TestClient(app).get("/").status_code == 200
    assert caplog.records == []
