"""``asgi_sessions.testing``: sessions of test clients, and the contract of stores."""

import doctest
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import asgi_sessions.testing
from asgi_sessions import (
    CookieTooLarge,
    MemoryStore,
    RecordStore,
    SessionConfig,
    SessionMiddleware,
    SessionNotConfigured,
    Store,
    Stored,
    StoreUnavailable,
    UnknownSession,
    get_session,
)
from asgi_sessions.fastapi import SessionDep
from asgi_sessions.testing import AsyncTestSessions, StoreContract, TestSessions

from .browser import KEY, OTHER_KEY, Clock

pytestmark = pytest.mark.usefixtures("anyio_backend")  # the fixtures are asynchronous, most of the tests are not
HTTPS = "https://testserver"


async def show(request: Request) -> Response:
    """What a handler finds, the session first and then the cart."""
    session = request.session
    found = {"owner": session.owner, "values": dict(session), "flashes": session.flashes()}  # type: ignore[attr-defined]
    if request.query_params.get("cart"):
        found["cart"] = dict(await get_session(request, "cart"))
    return JSONResponse(found)


async def count(request: Request) -> Response:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse(request.session)


async def log_in(request: Request) -> Response:
    request.session.owner = "eve"  # type: ignore[attr-defined]
    return JSONResponse(None)


async def log_out(request: Request) -> Response:
    request.session.clear()
    return JSONResponse(None)


ROUTES = [Route("/", show), Route("/count", count), Route("/in", log_in), Route("/out", log_out)]


def application(**options: Any) -> Starlette:
    options = {"secret_key": KEY, "sessions": [SessionConfig("cart")], **options}
    return Starlette(routes=ROUTES, middleware=[Middleware(SessionMiddleware, **options)])


# -- in synchronous tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"encrypt": True}, {"session_cookie": "sid", "fallback_keys": [OTHER_KEY]}])
def test_a_client_is_logged_in(options: dict[str, Any], store: Store) -> None:
    app = application(store=store, **options)
    client, sessions = TestClient(app), TestSessions(app)
    sessions.log_in(client, 7, {"cart": ["apple"]})
    assert client.get("/").json() == {"owner": 7, "values": {"cart": ["apple"]}, "flashes": []}


def test_what_the_application_stores_is_read(store: Store) -> None:
    app = application(store=store)
    client, sessions = TestClient(app), TestSessions(app)
    assert sessions.read(client).is_new
    client.get("/count")
    client.get("/in")
    session = sessions.read(client)
    assert (session, session.owner, session.is_new, session.error) == ({"visits": 1}, "eve", False, None)
    assert 14 * 86400 - 60 < session.expires_at - time.time() <= 14 * 86400
    assert (session.handle is None) is (not isinstance(store, RecordStore))


def test_the_application_goes_on_with_the_session_of_the_test(store: Store) -> None:
    app = application(store=store)
    client, sessions = TestClient(app), TestSessions(app)
    sessions.update(client, {"visits": 41})
    assert client.get("/count").json() == {"visits": 42}
    sessions.update(client, {"theme": "dark"})
    assert sessions.read(client) == {"visits": 42, "theme": "dark"}
    client.get("/in")  # it replaces the cookie of the test, rather than being sent beside it
    assert sessions.read(client).owner == "eve"
    assert len(list(client.cookies.jar)) == 1
    client.get("/out")
    assert not client.cookies


def test_a_session_is_changed_as_in_a_handler(store: Store) -> None:
    app = application(store=store)
    client, sessions = TestClient(app), TestSessions(app)
    with sessions.open(client) as session:
        session["nested"] = {"list": [1]}
        session.flash("Hello", "success")
        session.remember(3600)
    with sessions.open(client) as session:
        session["nested"]["list"].append(2)
    read = sessions.read(client)
    assert (read["nested"], read.max_age) == ({"list": [1, 2]}, 3600)
    assert read.flashes() == sessions.read(client).flashes() == [("success", "Hello")]  # reading takes nothing
    assert client.get("/").json()["flashes"] == [["success", "Hello"]]
    assert sessions.read(client).flashes() == []


def test_a_session_is_ended_by_the_test(store: Store) -> None:
    app = application(store=store)
    client, other, sessions = TestClient(app), TestClient(app), TestSessions(app)
    sessions.log_in(client, 7)
    other.cookies.update(client.cookies)
    with sessions.open(client) as session:
        session.invalidate()
    assert not client.cookies
    if isinstance(store, RecordStore):
        assert isinstance(sessions.read(other).error, UnknownSession)


def test_a_block_that_raises_changes_nothing(store: Store) -> None:
    app = application(store=store)
    client, sessions = TestClient(app), TestSessions(app)
    sessions.update(client, {"a": 1})
    with pytest.raises(ZeroDivisionError), sessions.open(client) as session:
        session["b"] = 1 // 0
    with pytest.raises(ZeroDivisionError), sessions.open(client) as session:
        session["a"] = 2
        _ = 1 // 0
    assert sessions.read(client) == {"a": 1}


def test_further_sessions_are_known_by_name(server_store: Store) -> None:
    app = application(sessions=[SessionConfig("cart", store=server_store, encrypt=True, path="/")])
    client, sessions = TestClient(app), TestSessions(app)
    sessions.update(client, {"apples": 3}, "cart")
    sessions.log_in(client, 7)
    assert set(client.cookies) == {"session", "cart"}
    assert client.get("/?cart=1").json()["cart"] == {"apples": 3}
    assert sessions.read(client, "cart") == {"apples": 3}
    assert sessions.read(client, "session").owner == 7
    with pytest.raises(SessionNotConfigured, match=r"no session 'basket'; configured: 'session', 'cart'"):
        sessions.read(client, "basket")


def test_what_a_response_stored_is_read_from_it(store: Store) -> None:
    app = application(store=store)
    client, sessions = TestClient(app), TestSessions(app)
    assert sessions.read(client.get("/")).is_new
    first = client.get("/count")
    assert sessions.read(first) == {"visits": 1}
    assert sessions.read(client.get("/")) == {"visits": 1}  # it set no cookie, and the request's holds
    ended = sessions.read(client.get("/out"))
    assert (ended.is_new, ended.error) == (True, None)


def test_a_cookie_is_made_for_what_has_no_jar(store: Store) -> None:
    app = application(store=store)
    sessions = TestSessions(app)
    [(name, value)] = sessions.cookies({"a": (1, 2)}, owner="eve").items()
    assert name == "session"
    found = TestClient(app).get("/", headers={"Cookie": f"{name}={value}"}).json()
    assert (found["owner"], found["values"]) == ("eve", {"a": [1, 2]})
    assert sessions.cookies() == {}
    assert [*sessions.cookies({"a": 1}, name="cart")] == ["cart"]
    assert value not in sessions.cookies({"a": (1, 2)}, owner="eve").values()


def test_a_cookie_put_into_the_jar_by_hand_is_replaced() -> None:
    app = application()
    client, sessions = TestClient(app), TestSessions(app)
    client.cookies.update(sessions.cookies({"a": 1}))
    sessions.update(client, {"b": 2})
    assert sessions.read(client) == {"a": 1, "b": 2}
    assert len(list(client.cookies.jar)) == 1


def test_a_refused_cookie_is_explained_and_replaced() -> None:
    client, sessions = TestClient(application()), TestSessions(application())
    TestSessions(application(secret_key=OTHER_KEY)).update(client, {"a": 1})
    assert type(sessions.read(client).error).__name__ == "BadCookieSignature"
    sessions.update(client, {"b": 2})
    assert sessions.read(client) == {"b": 2}


def test_a_value_that_can_not_be_stored_is_the_error_of_a_request() -> None:
    app = application()
    client, sessions = TestClient(app), TestSessions(app)
    with pytest.raises(CookieTooLarge, match="largest keys: 'text'"):
        sessions.update(client, {"text": "x" * 5000})
    assert not client.cookies


def test_a_store_that_fails_is_the_error_of_the_test() -> None:
    class Down(MemoryStore):
        async def create(self, *args: Any) -> bool:
            raise ConnectionError("no route")

    app = application(store=Down())
    with pytest.raises(StoreUnavailable, match=r"Down failed \(ConnectionError\)"):
        TestSessions(app).update(TestClient(app), {"a": 1})


def test_the_clock_is_the_middlewares(clock: Clock) -> None:
    app = application(store=MemoryStore(clock=clock), clock=clock, max_age=3600)
    client, sessions = TestClient(app), TestSessions(app)
    sessions.update(client, {"a": 1})
    assert sessions.read(client).expires_at == clock.now + 3600
    clock.now += 3601
    assert type(sessions.read(client).error).__name__ in ("UnknownSession", "ExpiredSession")


@pytest.mark.parametrize("entered", [False, True], ids=["", "with TestClient"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_event_loop_of_an_entered_client_is_used(entered: bool, backend: Any) -> None:
    loops: list[object] = []

    class Watched(MemoryStore):
        async def read(self, handle: bytes) -> Stored | None:
            loops.append(anyio.lowlevel.current_token())
            return await super().read(handle)

    app = application(store=Watched())
    client, sessions = TestClient(app, backend=backend), TestSessions(app)
    if entered:
        with client:
            sessions.update(client, {"a": 1})
            client.get("/")
            sessions.read(client)
        assert len(set(loops)) == 1
    else:
        sessions.update(client, {"a": 1})
        assert client.get("/").json()["values"] == sessions.read(client) == {"a": 1}


# -- cookies that would not come back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"https_only": True}, {"session_cookie": "__Host-s"}, {"domain": "example.com"}])
def test_a_client_that_would_not_send_the_cookie_is_an_error(options: dict[str, Any]) -> None:
    app = application(**options, sessions=[])
    client, sessions = TestClient(app), TestSessions(app)
    with pytest.raises(ValueError, match=r"would not send the cookie '.+' \(Path=/; .+\) to http://testserver/; make"):
        sessions.log_in(client, 7)


def test_a_client_whose_base_url_fits_sends_it() -> None:
    options: dict[str, Any]
    for options, base_url in (
        ({}, HTTPS),
        ({"session_cookie": "__Host-s"}, HTTPS),
        ({"domain": "example.com"}, "http://www.example.com:8000"),
        ({"path": "/in"}, "http://localhost"),
    ):
        app = application(**options, sessions=[])
        client, sessions = TestClient(app, base_url=base_url), TestSessions(app)
        sessions.log_in(client, 7)
        assert sessions.read(client).owner == 7
        assert [cookie.secure for cookie in client.cookies.jar] == [base_url == HTTPS]
    assert client.get("/").json()["owner"] is None  # the path is /in


def test_a_client_without_a_base_url_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Client has no base_url.*write e\.g\. base_url='http://testserver'"):
        TestSessions(application()).read(httpx.Client())


# -- which middleware --------------------------------------------------------------------------------------------------


class OwnSessions(SessionMiddleware):
    """Configured and equipped by itself."""

    def __init__(self, app: Any) -> None:
        super().__init__(app, KEY, "own", store=MemoryStore())


class Around:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def bare() -> Starlette:
    return Starlette(routes=ROUTES)


def with_subclass() -> Any:
    app = FastAPI(routes=ROUTES)
    app.add_middleware(OwnSessions)
    app.add_middleware(Around)
    return app


APPLICATIONS: dict[str, Callable[[], Any]] = {
    "starlette": application,
    "subclass": with_subclass,
    "wrapped": lambda: Around(SessionMiddleware(Around(bare()), KEY)),
    "wrapped starlette": lambda: Around(Around(application())),
    "middleware": lambda: OwnSessions(bare()),
    "client": lambda: TestClient(application()).app,
}


@pytest.mark.parametrize("make", APPLICATIONS.values(), ids=APPLICATIONS)
@pytest.mark.parametrize("built", [False, True], ids=["", "built"])
def test_the_applications_own_middleware_is_found(make: Callable[[], Any], built: bool) -> None:
    app = make()
    client, sessions = TestClient(app), TestSessions(app)
    if built:
        client.get("/")
    sessions.update(client, {"visits": 1})
    assert client.get("/count").json() == sessions.read(client) == {"visits": 2}


def test_it_may_be_made_before_the_application_has_its_middleware() -> None:
    app = FastAPI()
    sessions = TestSessions(app)
    app.add_middleware(SessionMiddleware, secret_key=KEY)

    @app.get("/")
    async def home(session: SessionDep) -> Any:
        return session

    client = TestClient(app)
    sessions.update(client, {"a": 1})
    assert client.get("/").json() == {"a": 1}


def test_of_stacked_middlewares_the_innermost_that_knows_the_session_counts() -> None:
    inner = SessionMiddleware(bare(), OTHER_KEY, "inner")
    app = SessionMiddleware(inner, KEY, "outer", sessions=[SessionConfig("cart")])
    client, sessions = TestClient(app), TestSessions(app)
    sessions.update(client, {"a": 1})
    sessions.update(client, {"b": 2}, "cart")
    assert set(client.cookies) == {"inner", "cart"}
    assert client.get("/?cart=1").json() == {"owner": None, "values": {"a": 1}, "flashes": [], "cart": {"b": 2}}


def test_no_middleware_is_a_clear_error() -> None:
    mounted = Starlette(routes=[Mount("/sub", application())])
    ring = Around(None)
    ring.app = Around(ring)
    for app in (bare(), mounted, ring, object(), None):
        with pytest.raises(SessionNotConfigured, match=f"no SessionMiddleware .* this {type(app).__name__}: .*mounted"):
            TestSessions(app).cookies({"a": 1})


# -- in asynchronous tests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_an_asynchronous_client_is_served_alike(library: Any, store: Store) -> None:
    app = application(store=store)
    sessions = AsyncTestSessions(app)
    async with library.AsyncClient(transport=library.ASGITransport(app), base_url="http://localhost:8000") as client:
        await sessions.log_in(client, 7, {"visits": 41})
        response = await client.get("/count")
        assert response.json() == {"visits": 42}
        assert (await sessions.read(client)).owner == (await sessions.read(response)).owner == 7
        async with sessions.open(client) as session:
            session.flash("Hello")
        await sessions.update(client, {"a": 1}, "cart")
        found = (await client.get("/?cart=1")).json()
        assert (found["flashes"], found["cart"]) == ([["message", "Hello"]], {"a": 1})
        [(name, value)] = (await sessions.cookies({"b": 2})).items()
        headers = {"Cookie": f"{name}={value}"}
    async with library.AsyncClient(transport=library.ASGITransport(app), base_url=HTTPS) as other:
        assert (await other.get("/", headers=headers)).json()["values"] == {"b": 2}


async def test_the_synchronous_one_also_works_while_an_event_loop_runs(store: Store) -> None:
    app = application(store=store)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HTTPS) as client:
        TestSessions(app).log_in(client, 7)
        assert (await client.get("/")).json()["owner"] == 7


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_tests_are_served_alike(anyio_backend: str) -> None:
    app = application(store=MemoryStore())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HTTPS) as client:
        await AsyncTestSessions(app).log_in(client, 7)
        assert (await client.get("/")).json()["owner"] == 7


# -- how it is documented ----------------------------------------------------------------------------------------------


def test_the_example_is_true() -> None:
    assert doctest.testmod(asgi_sessions.testing) == (0, 17)


def test_it_exports_what_it_says_and_needs_pytest_for_the_contract_only() -> None:
    assert asgi_sessions.testing.__all__ == ["AsyncTestSessions", "StoreContract", "TestSessions"]
    with pytest.raises(AttributeError, match="has no attribute 'Sessions'"):
        _ = asgi_sessions.testing.Sessions
    code = "import sys; sys.modules['pytest'] = None; from asgi_sessions.testing import TestSessions"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# -- the contract: each test of it fails for a store that breaks its promise -------------------------------------------


class Overwrites(MemoryStore):
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        await self.delete(handle)
        return await super().create(handle, new, data, expires_at)


class CreatesOnce(MemoryStore):
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return await self.read(handle) is None and await super().create(handle, new, data, expires_at)


class Upserts(MemoryStore):
    async def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None) -> Any:
        await self.create(handle, new, data, expires_at or time.time() + 60)
        return await super().swap(handle, old, new, data, expires_at)


class SwapsAnything(MemoryStore):
    async def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None) -> Any:
        kept = await self.read(handle)
        return await super().swap(handle, kept.version if kept else old, new, data, expires_at)


class HidesTheWinner(MemoryStore):
    async def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None) -> Any:
        kept = await self.read(handle)
        return await super().swap(handle, old, new, data, expires_at) if kept and kept.version == old else None


class ProlongsAlways(MemoryStore):
    async def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None) -> Any:
        return await super().swap(handle, old, new, data, expires_at or time.time() + 1e6)

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        return None  # "it will expire"


class LosesTheDeadline(MemoryStore):
    async def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None) -> Any:
        return await super().swap(handle, old, new, data, time.time() - 1 if expires_at is None else None)


class TouchesNothing(MemoryStore):
    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        return await self.read(handle) is not None


class TouchesOnce(MemoryStore):
    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        """As a command does that answers how many rows it changed."""
        changed = not hasattr(self, "touched")
        self.touched = True
        return changed and await super().touch(handle, version, expires_at)


class DeletesAnything(MemoryStore):
    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        return await super().delete(handle)


class DeletesOnce(MemoryStore):
    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        if await self.read(handle) is None:
            raise KeyError(handle)
        return await super().delete(handle, version)


class NeverForgets(MemoryStore):
    """Deleted handles are marked, for good."""

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        self.deleted = handle
        return await super().delete(handle, version)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return handle != getattr(self, "deleted", b"") and await super().create(handle, new, data, expires_at)


class KeepsExpired(MemoryStore):
    def __init__(self) -> None:
        super().__init__(clock=lambda: -1e12)


class ShortDeadlines(MemoryStore):
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return await super().create(handle, new, data, int(expires_at).to_bytes(4, "big") and expires_at)


class RoundsDeadlines(MemoryStore):
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return await super().create(handle, new, data, abs(expires_at) or 1e12)


class FoldsHandles(MemoryStore):
    """A column that ignores case."""

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return await super().create(handle.lower(), new, data, expires_at)

    async def read(self, handle: bytes) -> Stored | None:
        return await super().read(handle.lower())


class TextHandles(MemoryStore):
    async def read(self, handle: bytes) -> Stored | None:
        return await super().read(handle.decode("utf-8").strip().encode())


class TextData(MemoryStore):
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return await super().create(handle, new, data.decode("utf-8", "replace").encode(), expires_at)


class TrimsVersions(MemoryStore):
    async def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None) -> Any:
        return await super().swap(handle, old, new.rstrip(b"\0\xff;"), data, expires_at)


class ChecksThenWrites(MemoryStore):
    """Read, think, write: others come in between."""

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        kept = await self.read(handle)
        await anyio.lowlevel.checkpoint()
        if kept is None:
            self._keep(handle, Stored(new, data), expires_at)
        return kept is None or kept.version == new

    async def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None) -> Any:
        kept = await self.read(handle)
        await anyio.lowlevel.checkpoint()
        if kept is None or kept.version != old:
            return kept
        self._keep(handle, Stored(new, data), expires_at or time.time() + 60)
        return Stored(new, data)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        kept = await self.read(handle)
        await anyio.lowlevel.checkpoint()
        if kept is not None and kept.version == version:
            self._keep(handle, kept, expires_at)
        return kept is not None and kept.version == version

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        kept = await self.read(handle)
        await anyio.lowlevel.checkpoint()
        return await super().delete(handle) if kept and version in (None, kept.version) else kept


class WritesInTwoSteps(MemoryStore):
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        if await self.read(handle) is None:
            self._keep(handle, Stored(new, b""), expires_at)
            await anyio.lowlevel.checkpoint()
            self._keep(handle, Stored(new, data), expires_at)
        return True

    async def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None) -> Any:
        kept = await self.read(handle)
        if kept is not None and kept.version == old:
            self._keep(handle, Stored(new, kept.data), time.time() + 60)
            await anyio.lowlevel.checkpoint()
            self._keep(handle, Stored(new, data), time.time() + 60)
        return await self.read(handle)


class MixesReplies(MemoryStore):
    """One connection, and nobody takes the reply that a cancelled reader has left."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[Stored | None] = []

    async def read(self, handle: bytes) -> Stored | None:
        self.replies.append(await super().read(handle))
        await anyio.lowlevel.checkpoint()
        return self.replies.pop(0)


class SharesOneReply(MemoryStore):
    async def read(self, handle: bytes) -> Stored | None:
        self.reply = await super().read(handle)
        await anyio.lowlevel.checkpoint()
        return self.reply


class NeedsOpening(MemoryStore):
    opened = False

    async def open(self) -> None:
        self.opened = True

    async def read(self, handle: bytes) -> Stored | None:
        if not self.opened:
            raise RuntimeError("not open")
        return await super().read(handle)


class StaysClosed(MemoryStore):
    closed = False

    async def close(self) -> None:
        self.closed = True

    async def read(self, handle: bytes) -> Stored | None:
        if self.closed:
            raise RuntimeError("closed")
        return await super().read(handle)


class AnyRow(MemoryStore):
    async def read(self, handle: bytes) -> Any:
        kept = await super().read(handle)
        return kept and tuple(kept)


class PutsAnythingAside(MemoryStore):
    async def quarantine(self, handle: bytes, version: bytes) -> None:
        await self.delete(handle)


BROKEN: dict[type[MemoryStore], str] = {
    Overwrites: """create_never_overwrites create_leaves_what_was_swapped_in_meanwhile
        of_many_creators_exactly_one_wins""",
    CreatesOnce: "create_repeated_after_a_lost_reply_is_true a_cancelled_create_and_delete_can_be_repeated",
    Upserts: "swap_never_creates nothing_is_there_before an_expired_record_exists_for_no_verb",
    SwapsAnything: "swap_leaves_another_version_and_returns_it of_many_swaps_from_one_version_exactly_one_wins",
    HidesTheWinner: "swap_leaves_another_version_and_returns_it swap_repeated_after_a_lost_reply_returns_ours",
    ProlongsAlways: """swap_without_a_deadline_does_not_prolong_it delete_deletes_and_may_be_repeated
        delete_wins_over_swaps_whichever_comes_first""",
    LosesTheDeadline: """swap_without_a_deadline_keeps_the_one_there_is swap_with_a_deadline_moves_it
        swap_and_touch_prolong_a_record swap_replaces_the_version_it_names""",
    TouchesNothing: "touch_can_end_a_record touch_leaves_another_version_alone swap_and_touch_prolong_a_record",
    TouchesOnce: "touch_moves_the_deadline_and_nothing_else",
    DeletesAnything: "delete_of_another_version_returns_what_stands_in_the_way",
    DeletesOnce: "delete_deletes_and_may_be_repeated nothing_is_there_before",
    NeverForgets: "a_handle_can_be_used_again_after_delete",
    KeepsExpired: "an_expired_record_exists_for_no_verb create_takes_the_place_of_an_expired_record",
    ShortDeadlines: "a_deadline_may_be_centuries_away any_deadline_in_the_past_is_past",
    RoundsDeadlines: "any_deadline_in_the_past_is_past",
    FoldsHandles: "handles_that_differ_in_one_bit_are_two_records",
    TextHandles: "any_sixteen_bytes_are_a_handle",
    TextData: "any_bytes_are_data",
    TrimsVersions: "any_eight_bytes_are_a_version",
    ChecksThenWrites: """of_many_creators_exactly_one_wins of_many_swaps_from_one_version_exactly_one_wins
        a_counter_counts_every_swap of_a_swap_and_a_delete_of_one_version_exactly_one_wins a_touch_undoes_no_swap
        delete_wins_over_swaps_whichever_comes_first""",
    WritesInTwoSteps: """a_swap_that_ran_out_of_time_can_be_repeated a_cancelled_create_and_delete_can_be_repeated
        a_cancelled_swap_took_place_as_a_whole_or_not_at_all""",
    MixesReplies: "the_answer_to_a_cancelled_read_reaches_nobody_else",
    SharesOneReply: "each_of_many_readers_gets_its_own_record",
    NeedsOpening: "it_opens_on_first_use what_was_created_can_be_read",
    StaysClosed: "it_can_be_opened_closed_and_opened_again it_opens_on_first_use_after_it_was_closed",
    AnyRow: "what_was_created_can_be_read",
    PutsAnythingAside: "putting_another_version_aside_leaves_the_record",
}


def variants(test: Any) -> Iterator[dict[str, Any]]:
    """The arguments of each run that pytest would make of a test."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for values in itertools.product(*(mark.args[1] for mark in marks)):
        yield {mark.args[0]: value for mark, value in zip(marks, values, strict=True)}


class Impatient(StoreContract):
    clock_skew = 0.1


async def fails(test: Any, broken: type[MemoryStore]) -> bool:
    for arguments in variants(test):
        try:
            await test(Impatient(), broken(), **arguments)
        except Exception:
            return True
    return False


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
async def test_a_broken_store_fails_the_test_of_what_it_breaks(broken: type[MemoryStore]) -> None:
    for name in BROKEN[broken].split():
        assert await fails(getattr(StoreContract, f"test_{name}"), broken), name


def test_each_promise_is_broken_once() -> None:
    tests = {name for name in dir(StoreContract) if name.startswith("test_")}
    assert {f"test_{name}" for names in BROKEN.values() for name in names.split()} == tests


def test_pytest_runs_the_contract_and_shows_what_was_compared(tmp_path: Path) -> None:
    tmp_path.joinpath("test_own.py").write_text(
        "import pytest\n"
        "from asgi_sessions import MemoryStore\n"
        "from asgi_sessions.testing import StoreContract\n"
        "class Forgetful(MemoryStore):\n"
        "    async def read(self, handle):\n"
        "        return None\n"
        "class TestForgetful(StoreContract):\n"
        "    @pytest.fixture\n"
        "    def store(self):\n"
        "        return Forgetful()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "can_be_read or nothing_is_there"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "1 failed, 1 passed" in done.stdout
    assert "assert None == Stored(version=b'version1', data=b'data')" in done.stdout
