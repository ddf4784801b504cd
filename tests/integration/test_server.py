"""End to end: uvicorn on a socket, a client with a cookie jar, a websocket client; three stores at once."""

import asyncio
from http.cookies import SimpleCookie
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from .conftest import Uvicorn

WRITE = "/write?session=a&cart=b&recent=c"
EMPTY: dict[str, Any] = {"session": {}, "cart": {}, "recent": {}}
COOKIES = ["session", "cart", "__Secure-recent"]


class Visitor:
    """A browser that trusts the loopback interface: Secure cookies are sent there as well."""

    def __init__(self, site: Uvicorn) -> None:
        self.site = site
        self.jar: dict[str, str] = {}
        self.client = httpx2.Client(base_url=site.url, timeout=20, event_hooks={"response": [self._keep]})

    def get(self, path: str = "/") -> dict[str, Any]:
        response = self.client.get(path, headers=self.headers())
        response.raise_for_status()
        return dict(response.json())

    def post(self, path: str) -> httpx2.Response:
        response = self.client.post(path, headers=self.headers())
        response.raise_for_status()
        return response

    def values(self) -> dict[str, Any]:
        return {name: value for name, value in self.get().items() if name != "port"}

    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.jar.items())} if self.jar else {}

    def connect(self, path: str) -> ClientConnection:
        return connect(f"ws://{self.site.address}{path}", additional_headers=self.headers())

    def keep(self, lines: list[str]) -> None:
        for line in lines:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.jar.pop(name, None)
                else:
                    self.jar[name] = morsel.value

    def _keep(self, response: httpx2.Response) -> None:
        self.client.cookies.clear()
        self.keep(response.headers.get_list("set-cookie"))


@pytest.fixture
def visitor(site: Uvicorn) -> Any:
    visitor = Visitor(site)
    with visitor.client:
        yield visitor


def attributes(response: httpx2.Response) -> dict[str, list[str]]:
    lines = response.headers.get_list("set-cookie")
    return {line.partition("=")[0]: line.split("; ")[1:] for line in lines}


def test_values_in_three_stores_survive_over_one_kept_connection(visitor: Visitor) -> None:
    first = visitor.get()
    assert {**first, **EMPTY} == first
    for _ in range(3):
        visitor.post(WRITE)
    last = visitor.get()
    assert last == {"session": {"a": 3}, "cart": {"b": 3}, "recent": {"c": 3}, "port": first["port"]}


def test_a_client_with_a_standard_cookie_jar_keeps_its_sessions(site: Uvicorn) -> None:
    with httpx2.Client(base_url=site.url, timeout=20) as client:
        for _ in range(2):
            client.post("/write?session=a&cart=b")
        shown = client.get("/").json()
        assert (shown["session"], shown["cart"]) == ({"a": 2}, {"b": 2})
        assert sorted(client.cookies) == ["cart", "session"]


def test_each_cookie_has_the_attributes_of_its_session(visitor: Visitor) -> None:
    response = visitor.post(WRITE)
    assert attributes(response) == {
        "session": ["Path=/", "Max-Age=1209600", "HttpOnly", "SameSite=Lax"],
        "cart": ["Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax"],
        "__Secure-recent": ["Path=/", "HttpOnly", "SameSite=Lax", "Secure"],
    }
    assert response.headers["vary"] == "Cookie"
    assert response.headers["cache-control"] == 'no-cache="Set-Cookie"'


def test_a_server_side_session_sends_its_cookie_once(visitor: Visitor) -> None:
    visitor.post(WRITE)
    assert list(attributes(visitor.post(WRITE))) == ["session"], "the cookie session is its cookie"


def test_login_flashes_and_remember_me_survive_a_restart_of_the_server(visitor: Visitor) -> None:
    visitor.post(WRITE)
    before = dict(visitor.jar)
    response = visitor.post("/login")
    assert all("Max-Age=2592000" in parts for parts in attributes(response).values())
    assert sorted(visitor.jar) == sorted(COOKIES)
    assert all(visitor.jar[name] != before[name] for name in COOKIES)
    visitor.site.restart()
    assert visitor.values() == {"session": {"a": 1}, "cart": {"b": 1}, "recent": {"c": 1}}
    welcome = [["message", "Welcome!"]]
    assert visitor.post("/flashes").json() == {"session": welcome, "cart": welcome, "recent": welcome}
    assert visitor.post("/flashes").json() == {"session": [], "cart": [], "recent": []}


def test_logout_ends_the_sessions_everywhere(visitor: Visitor) -> None:
    visitor.post(WRITE)
    stolen = dict(visitor.jar)
    assert all("Max-Age=0" in parts for parts in attributes(visitor.post("/logout")).values())
    assert visitor.jar == {}
    assert visitor.values() == EMPTY
    visitor.jar = stolen
    assert visitor.values() == {"session": {"a": 1}, "cart": {}, "recent": {}}, "a cookie session can be replayed"


async def test_parallel_requests_of_one_visitor_lose_no_write(visitor: Visitor) -> None:
    visitor.post("/write?cart=first&recent=first")
    async with httpx2.AsyncClient(base_url=visitor.site.url, headers=visitor.headers(), timeout=20) as client:
        keys = [f"key{number}" for number in range(20)]
        responses = await asyncio.gather(*(client.post(f"/write?cart={key}&recent={key}") for key in keys))
    assert [response.status_code for response in responses] == [200] * 20, visitor.site.log()
    shown = visitor.values()
    assert shown["cart"] == shown["recent"] == dict.fromkeys(["first", *keys], 1)


def test_a_stream_comes_as_it_is_made_and_its_changes_are_kept(visitor: Visitor) -> None:
    visitor.post("/write?cart=first")
    with visitor.client.stream("GET", "/stream", headers=visitor.headers()) as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"first"
        assert visitor.values()["cart"] == {"first": 1, "streamed": 1}
        visitor.post("/go")
        assert b"".join(chunks) == b"second"
    assert visitor.values()["cart"] == {"first": 1, "streamed": 2}


def test_accepting_a_websocket_sets_cookies_and_what_comes_later_is_saved(visitor: Visitor) -> None:
    with visitor.connect("/socket") as connection:
        assert connection.response is not None
        lines = connection.response.headers.get_all("Set-Cookie")
        assert sorted(line.partition("=")[0] for line in lines) == ["cart", "session"]
        visitor.keep(lines)
        connection.send("hello")
        assert connection.recv() == '["hello"]'
        connection.send("goodbye")
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=20)
    assert visitor.values() == {**EMPTY, "session": {"connected": True}, "cart": {"words": ["hello", "goodbye"]}}


def test_a_refused_websocket_can_set_a_cookie(visitor: Visitor) -> None:
    with pytest.raises(InvalidStatus) as caught, visitor.connect("/refused"):
        pass
    assert caught.value.response.status_code == 403
    visitor.keep(caught.value.response.headers.get_all("Set-Cookie"))
    assert visitor.values() == {**EMPTY, "session": {"refused": True}}


def test_a_forged_cookie_is_answered_calmly(visitor: Visitor) -> None:
    for value in ("", "x", "\\" * 16_000, "a.b.c", '"' * 100):
        visitor.jar = dict.fromkeys(COOKIES, value)
        assert visitor.values() == EMPTY


def test_a_plain_application_without_lifespan_keeps_sessions_over_a_restart(plain: Uvicorn) -> None:
    with httpx2.Client(base_url=plain.url, timeout=20) as client:
        assert [client.get("/").text for _ in range(2)] == ["1", "2"]
        plain.restart()
        assert client.get("/").text == "3"
    assert "Traceback" not in plain.log()
