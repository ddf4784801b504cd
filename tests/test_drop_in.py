"""What users of Starlette's ``SessionMiddleware`` have, they keep: they change the import line and nothing else."""

import json
from collections.abc import AsyncIterator, Callable
from http.cookies import SimpleCookie
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.datastructures import Secret
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from asgi_sessions import MemoryStore, Session, SessionConfig, SessionMiddleware, get_session

from .browser import KEY, OTHER_KEY, Browser, application


async def view(request: Request) -> JSONResponse:
    return JSONResponse({"session": request.session})


async def update(request: Request) -> JSONResponse:
    request.session.update(await request.json())
    return JSONResponse({"session": request.session})


async def clear(request: Request) -> JSONResponse:
    request.session.clear()
    return JSONResponse({"session": request.session})


async def idle(request: Request) -> Response:
    return Response("nothing to do with sessions")


ROUTES: list[BaseRoute] = [
    Route("/", view),
    Route("/update", update, methods=["POST"]),
    Route("/clear", clear, methods=["POST"]),
    Route("/idle", idle),
]


def starlette_app(*routes: BaseRoute, inside: list[Middleware] | None = None, **options: Any) -> Starlette:
    options.setdefault("secret_key", KEY)
    middleware = [Middleware(SessionMiddleware, **options), *(inside or [])]
    return Starlette(routes=[*routes, *ROUTES], middleware=middleware)


def client(*routes: BaseRoute, base_url: str = "http://testserver", **options: Any) -> TestClient:
    return TestClient(starlette_app(*routes, **options), base_url=base_url)


def attributes(response: Any) -> dict[str, str]:
    """The attributes of the one cookie that was set; flags are the empty string where they are missing."""
    (line,) = response.headers.get_list("set-cookie")
    (morsel,) = SimpleCookie(line.replace("; Partitioned", "")).values()
    return {name: str(value) for name, value in morsel.items() if value} | {"name": morsel.key}


# -- one request after the other ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"store": MemoryStore()}, {"encrypt": True}], ids=["cookie", "memory", "encrypted"]
)
def test_what_is_set_is_there_until_it_is_cleared(options: dict[str, Any]) -> None:
    browser = client(**options)
    assert browser.get("/").json() == {"session": {}}
    assert browser.post("/update", json={"some": "data"}).json() == {"session": {"some": "data"}}
    assert browser.get("/").json() == {"session": {"some": "data"}}
    assert browser.post("/update", json={"more": [1]}).json() == {"session": {"some": "data", "more": [1]}}
    assert browser.post("/clear").json() == {"session": {}}
    assert browser.get("/").json() == {"session": {}}
    assert not browser.cookies


@pytest.mark.parametrize(
    "cookie", ["", "garbage", "e30=.abc.def", "session", '"quoted"', "%00", "." * 10, "null", "x" * 5000]
)
def test_a_cookie_that_is_none_of_ours_is_an_empty_session(cookie: str) -> None:
    browser = client()
    response = browser.get("/", headers={"cookie": f"session={cookie}"})
    assert response.json() == {"session": {}}
    response = browser.post("/update", json={"a": 1}, headers={"cookie": f"session={cookie}"})
    assert response.json() == {"session": {"a": 1}}
    assert browser.get("/").json() == {"session": {"a": 1}}


def test_a_cookie_of_starlettes_own_middleware_is_an_empty_session() -> None:
    from starlette.middleware.sessions import SessionMiddleware as StarlettesOwn

    old = TestClient(Starlette(routes=ROUTES, middleware=[Middleware(StarlettesOwn, secret_key=KEY)]))
    old.post("/update", json={"a": 1})
    browser = client()
    browser.cookies = old.cookies
    assert browser.get("/").json() == {"session": {}}
    browser.post("/update", json={"b": 2})
    assert browser.get("/").json() == {"session": {"b": 2}}


def test_an_expired_session_is_empty() -> None:
    browser = client(max_age=-1)
    assert browser.post("/update", json={"some": "data"}).json() == {"session": {"some": "data"}}
    assert browser.get("/").json() == {"session": {}}


def test_the_flags_of_the_session_are_those_of_starlette() -> None:
    seen: list[tuple[bool, bool]] = []

    async def watch(request: Request) -> Response:
        session: Any = request.scope["session"]
        seen.append((session.accessed, session.modified))
        dict(request.session)
        seen.append((session.accessed, session.modified))
        request.session["a"] = 1
        seen.append((session.accessed, session.modified))
        session.mark_accessed()
        session.mark_modified()
        return Response()

    client(Route("/watch", watch)).get("/watch")
    assert seen == [(False, False), (True, False), (True, True)]


@pytest.mark.parametrize("path", ["/", "/idle"])
def test_a_response_varies_by_cookie_when_the_session_was_used(path: str) -> None:
    response = client().get(path)
    assert response.headers.get("vary") == ("Cookie" if path == "/" else None)


def test_vary_is_joined_to_what_the_application_says() -> None:
    async def varied(request: Request) -> Response:
        return JSONResponse(request.session, headers={"Vary": "Accept-Encoding"})

    assert client(Route("/varied", varied)).get("/varied").headers["vary"] == "Accept-Encoding, Cookie"


def test_the_session_can_be_the_body_of_a_response() -> None:
    async def raw(request: Request) -> Response:
        return Response(json.dumps(request.scope["session"]))

    async def whole(request: Request) -> Response:
        assert isinstance(request.session, dict)
        return JSONResponse(request.session)

    browser = client(Route("/raw", raw), Route("/whole", whole))
    browser.post("/update", json={"a": {"b": [1, None]}})
    assert browser.get("/raw").json() == browser.get("/whole").json() == {"a": {"b": [1, None]}}


def test_a_change_inside_a_value_is_saved_although_nothing_marks_it() -> None:
    async def add(request: Request) -> Response:
        request.session["cart"]["items"].append("apple")
        return Response()

    browser = client(Route("/add", add))
    browser.post("/update", json={"cart": {"items": []}})
    browser.get("/add")
    assert browser.get("/").json() == {"session": {"cart": {"items": ["apple"]}}}


def test_a_websocket_reads_and_sets_the_session() -> None:
    async def socket(websocket: WebSocket) -> None:
        websocket.session["seen"] = websocket.session.get("seen", 0) + 1
        await websocket.accept()
        await websocket.send_json(websocket.session)
        await websocket.close()

    browser = client(WebSocketRoute("/ws", socket))
    browser.post("/update", json={"a": 1})
    with browser.websocket_connect("/ws") as connection:
        assert connection.receive_json() == {"a": 1, "seen": 1}


# -- parameters --------------------------------------------------------------------------------------------------------


def test_by_default_the_cookie_is_what_it_is_in_starlette() -> None:
    response = client().post("/update", json={"a": 1})
    assert attributes(response) == {
        "name": "session", "path": "/", "max-age": "1209600", "samesite": "Lax", "httponly": "True",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"session_cookie": "sid"}, {"name": "sid"}),
        ({"max_age": 60}, {"max-age": "60"}),
        ({"path": "/app"}, {"path": "/app"}),
        ({"same_site": "strict"}, {"samesite": "Strict"}),
        ({"same_site": "none", "https_only": True}, {"samesite": "None", "secure": "True"}),
        ({"https_only": True}, {"secure": "True"}),
        ({"https_only": False}, {}),
        ({"domain": ".example.com"}, {"domain": "example.com"}),
        ({"secret_key": Secret(KEY)}, {}),
    ],
)
def test_each_keyword_keeps_its_meaning(options: dict[str, Any], expected: dict[str, str]) -> None:
    response = client(**options).post("/update", json={"a": 1})
    default = {"name": "session", "path": "/", "max-age": "1209600", "samesite": "Lax", "httponly": "True"}
    assert attributes(response) == {**default, **expected}


def test_positional_arguments_keep_their_places() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        Request(scope).session["a"] = 1
        await Response()(scope, receive, send)

    middleware = SessionMiddleware(app, KEY, "sid", 60, "/app", "strict", True, "example.com", True)
    (line,) = TestClient(middleware).get("/").headers.get_list("set-cookie")
    assert sorted(line.split("; ")[1:]) == sorted(
        ["Path=/app", "Domain=example.com", "Max-Age=60", "HttpOnly", "SameSite=Strict", "Secure", "Partitioned"]
    )


def test_a_partitioned_cookie_says_so() -> None:
    response = client(partitioned=True, https_only=True).post("/update", json={"a": 1})
    assert response.headers["set-cookie"].endswith("; Secure; Partitioned")


def test_a_session_cookie_has_no_lifetime_and_is_kept_for_the_next_request() -> None:
    browser = client(max_age=None)
    response = browser.post("/update", json={"a": 1})
    assert "max-age" not in response.headers["set-cookie"].lower()
    assert "expires" not in response.headers["set-cookie"].lower()
    assert browser.get("/").json() == {"session": {"a": 1}}


def test_a_secure_cookie_travels_by_https_only() -> None:
    safe = client(https_only=True, base_url="https://testserver")
    safe.post("/update", json={"a": 1})
    assert safe.get("/").json() == {"session": {"a": 1}}
    assert safe.get("http://testserver/").json() == {"session": {}}


def test_a_cookie_is_secure_by_itself_on_https() -> None:
    assert "secure" in attributes(client(base_url="https://testserver").post("/update", json={"a": 1}))


def test_a_clearing_response_repeats_path_and_domain() -> None:
    browser = client(domain="example.com", path="/", https_only=True, base_url="https://www.example.com")
    browser.post("/update", json={"a": 1})
    gone = attributes(browser.post("/clear"))
    assert (gone["domain"], gone["path"], gone["max-age"], gone["secure"]) == ("example.com", "/", "0", "True")
    assert not browser.cookies


def test_a_cookie_can_belong_to_a_mounted_application() -> None:
    second = starlette_app(path="/second")
    browser = TestClient(Starlette(routes=[Mount("/second", second), Route("/", idle)]), base_url="http://testserver")
    response = browser.post("/second/update", json={"a": 1})
    assert attributes(response)["path"] == "/second"
    assert "cookie" not in browser.get("/").request.headers
    assert browser.get("/second/").json() == {"session": {"a": 1}}


def test_a_root_path_does_not_change_the_cookie() -> None:
    browser = TestClient(starlette_app(), root_path="/api")
    assert attributes(browser.post("/update", json={"a": 1}))["path"] == "/"
    assert browser.get("/").json() == {"session": {"a": 1}}


# -- other middleware --------------------------------------------------------------------------------------------------


class Counting(BaseHTTPMiddleware):
    """Uses the session before and after the endpoint, as many applications do."""

    async def dispatch(self, request: Request, call_next: Callable[..., Any]) -> Response:
        request.session["before"] = request.session.get("before", 0) + 1
        response: Response = await call_next(request)
        request.session["after"] = request.session.get("after", 0) + 1
        return response


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Callable[..., Any]) -> Response:
        response: Response = await call_next(request)
        response.headers["x-passed"] = "yes"
        return response


@pytest.mark.parametrize("options", [{}, {"store": MemoryStore()}], ids=["cookie", "memory"])
def test_a_base_http_middleware_inside_changes_the_session_before_and_after(options: dict[str, Any]) -> None:
    browser = client(inside=[Middleware(Counting)], **options)
    browser.post("/update", json={"a": 1})
    assert browser.get("/").json() == {"session": {"before": 2, "a": 1, "after": 1}}


@pytest.mark.parametrize("options", [{}, {"store": MemoryStore()}], ids=["cookie", "memory"])
def test_a_base_http_middleware_outside_passes_the_cookie_on(options: dict[str, Any]) -> None:
    app = Starlette(
        routes=ROUTES, middleware=[Middleware(Passing), Middleware(SessionMiddleware, secret_key=KEY, **options)]
    )
    browser = TestClient(app)
    response = browser.post("/update", json={"a": 1})
    assert response.headers["x-passed"] == "yes"
    assert browser.get("/").json() == {"session": {"a": 1}}


# -- two middlewares ---------------------------------------------------------------------------------------------------


def stacked(endpoint: Callable[..., Any], outer: dict[str, Any], inner: dict[str, Any]) -> TestClient:
    """An endpoint inside an application with a middleware of its own, mounted in one with another."""
    mounted = Starlette(
        routes=[Route("/", endpoint)], middleware=[Middleware(SessionMiddleware, **{"secret_key": OTHER_KEY, **inner})]
    )
    return client(Mount("/inner", mounted), Route("/outer", view), **outer)


async def mark_inner(request: Request) -> JSONResponse:
    request.session["inner"] = request.session.get("inner", 0) + 1
    return JSONResponse({"session": request.session})


@pytest.mark.parametrize("server_side", [False, True])
def test_a_mounted_application_with_a_middleware_of_its_own_has_a_session_of_its_own(server_side: bool) -> None:
    outer, inner = (MemoryStore(), MemoryStore()) if server_side else (None, None)
    browser = stacked(mark_inner, {"store": outer}, {"store": inner, "session_cookie": "inner"})
    browser.post("/update", json={"outer": 1})
    assert browser.get("/inner/").json() == {"session": {"inner": 1}}
    assert browser.get("/inner/").json() == {"session": {"inner": 2}}
    assert browser.get("/outer").json() == {"session": {"outer": 1}}
    assert sorted(browser.cookies) == ["inner", "session"]


def test_each_middleware_sends_its_own_cookie_only() -> None:
    browser = stacked(mark_inner, {}, {"session_cookie": "inner"})
    names = [line.partition("=")[0] for line in browser.get("/inner/").headers.get_list("set-cookie")]
    assert names == ["inner"]


def test_a_name_unknown_inside_is_looked_up_outside() -> None:
    async def both(request: Request) -> JSONResponse:
        cart = await get_session(request, "cart")
        cart["apples"] = cart.get("apples", 0) + 1
        request.session["inner"] = True
        return JSONResponse([cart, request.session])

    outer = {"sessions": [SessionConfig("cart", store=MemoryStore())]}
    browser = stacked(both, outer, {"session_cookie": "inner"})
    response = browser.get("/inner/")
    assert sorted(line.partition("=")[0] for line in response.headers.get_list("set-cookie")) == ["cart", "inner"]
    assert browser.get("/inner/").json() == [{"apples": 2}, {"inner": True}]


async def test_between_two_middlewares_the_session_is_the_outer_one_before_and_after() -> None:
    seen: list[Any] = []

    class Between:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            outer = scope["session"], scope["sessions"]
            outer[0]["before"] = 1
            await self.app(scope, receive, send)
            assert (scope["session"], scope["sessions"]) == outer
            outer[0]["after"] = 1

    async def inside(session: Session) -> None:
        session["inside"] = 1

    async def look(session: Session) -> None:
        seen.append(dict(session))

    store = MemoryStore()
    inner = application(inside, session_cookie="inner")
    browser = Browser(SessionMiddleware(Between(inner), OTHER_KEY, store=store))
    await browser.get()
    browser.app = application(look, secret_key=OTHER_KEY, store=store)
    await browser.get()
    browser.app = application(look, session_cookie="inner")
    await browser.get()
    assert seen == [{"before": 1, "after": 1}, {"inside": 1}]


# -- responses ---------------------------------------------------------------------------------------------------------


async def test_the_chunks_of_a_stream_pass_as_they_come() -> None:
    """The application makes the second chunk only after the server got the first."""
    got_first = anyio.Event()

    async def stream(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            await got_first.wait()
            yield b"second"

        request.session["a"] = 1
        return StreamingResponse(chunks())

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("body") == b"first":
            got_first.set()

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    app = starlette_app(Route("/stream", stream))
    with anyio.fail_after(10):
        await app(Browser(app).scope("/stream"), receive, send)
    assert [message.get("body") for message in sent] == [None, b"first", b"second", b""]
    assert any(name == b"set-cookie" for name, _ in sent[0]["headers"])


def test_a_head_request_sets_the_cookie_too() -> None:
    async def count(request: Request) -> JSONResponse:
        request.session["count"] = request.session.get("count", 0) + 1
        return JSONResponse(request.session)

    browser = client(Route("/count", count))
    response = browser.head("/count")
    assert response.content == b""
    assert len(response.headers.get_list("set-cookie")) == 1
    assert browser.get("/count").json() == {"count": 2}


def test_a_not_modified_response_still_carries_a_cookie() -> None:
    async def cached(request: Request) -> Response:
        request.session["seen"] = True
        return Response(status_code=304)

    browser = client(Route("/cached", cached))
    response = browser.get("/cached")
    assert (response.status_code, len(response.headers.get_list("set-cookie"))) == (304, 1)
    assert browser.get("/").json() == {"session": {"seen": True}}


def test_a_file_is_served_without_a_word_about_sessions(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("text")
    browser = client(Mount("/static", StaticFiles(directory=tmp_path)))
    browser.post("/update", json={"a": 1})
    first = browser.get("/static/a.txt")
    again = browser.get("/static/a.txt", headers={"if-none-match": first.headers["etag"]})
    assert (first.text, again.status_code) == ("text", 304)
    for response in (first, again):
        assert {"set-cookie", "vary", "cache-control"}.isdisjoint(response.headers)


def test_a_redirect_and_a_client_error_keep_what_was_set() -> None:
    async def fail(request: Request) -> Response:
        request.session["failed"] = True
        return Response(status_code=404)

    browser = client(Route("/fail", fail))
    browser.get("/fail")
    assert browser.get("/").json() == {"session": {"failed": True}}


def test_an_application_that_raises_saves_nothing() -> None:
    async def fail(request: Request) -> Response:
        request.session["failed"] = True
        raise RuntimeError("no")

    browser = TestClient(starlette_app(Route("/fail", fail)), raise_server_exceptions=False)
    response = browser.get("/fail")
    assert (response.status_code, response.headers.get_list("set-cookie")) == (500, [])
    assert browser.get("/").json() == {"session": {}}
