"""A store that fails: typed errors, 503 before anything is sent, and nothing that did not happen is claimed."""

import asyncio
import json
import logging
import math
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_sessions import (
    MemoryStore,
    RecordStore,
    Session,
    SessionConfig,
    SessionConflict,
    SessionMiddleware,
    Stored,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)
from asgi_sessions._engine.queue import KeyedLock
from tests.browser import KEY, Browser, Clock, application, read

from .test_late import Socket, sockets
from .world import VirtualLoop


class Faulty(MemoryStore):
    """A memory store whose verbs fail as they are told.

    Attributes:
        fault: verb -> what it raises; ``None`` as the value: it never answers.
        calls: how often each verb was called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fault: dict[str, Exception | None] = {}
        self.calls: list[str] = []

    async def meet(self, verb: str) -> None:
        self.calls.append(verb)
        if verb in self.fault:
            fault = self.fault[verb]
            if fault is None:
                await anyio.sleep_forever()
            else:
                raise fault

    async def read(self, handle: bytes) -> Stored | None:
        await self.meet("read")
        return await super().read(handle)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        await self.meet("create")
        return await super().create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        await self.meet("swap")
        return await super().swap(handle, old, new, data, expires_at)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        await self.meet("touch")
        return await super().touch(handle, version, expires_at)

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        await self.meet("delete")
        return await super().delete(handle, version)


async def write(session: Session) -> None:
    session["n"] = session.get("n", 0) + 1


async def logout(session: Session) -> None:
    session.invalidate()


async def idle(scope: Any) -> str:
    return "fine"


ROUTES = {"/write": write, "/logout": logout, "/": read, "/idle": idle}


class Bounded(Faulty):
    """Its commits need no timer."""

    write_timeout = 1.0


@pytest.fixture(params=[Faulty, Bounded])
def store(request: pytest.FixtureRequest) -> Faulty:
    return request.param()


def browser(store: RecordStore, **options: Any) -> Browser:
    return Browser(application(ROUTES, store=store, **options))


FAULTS = [StoreUnavailable("down"), StoreFull("full"), StoreTimeout("slow"), OSError("boom"), RuntimeError("a bug")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize(
    ("verb", "path"), [("read", "/"), ("read", "/write"), ("swap", "/write"), ("delete", "/logout"), ("touch", "/")]
)
async def test_a_failure_is_answered_503_and_logged_once(
    store: Faulty, clock: Clock, verb: str, path: str, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = browser(store, clock=clock, max_age=1000)
    await visitor.get("/write")
    jar = dict(visitor.jar)
    clock.now += 500 if verb == "touch" else 0
    store.fault[verb] = fault
    response = await visitor.get(path)
    assert response.status == 503
    assert response.header("retry-after") == "5"
    assert response.header("cache-control") == "no-store"
    assert response.set_cookies == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    store.fault.clear()
    assert visitor.jar == jar
    assert (await visitor.get("/")).json() == {"n": 1}


async def test_a_session_that_could_not_be_created_gets_no_cookie(store: Faulty) -> None:
    store.fault["create"] = StoreFull("full")
    response = await browser(store).get("/write")
    assert response.status == 503
    assert response.set_cookies == []


async def test_requests_that_do_not_use_the_session_do_not_notice(
    store: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = browser(store)
    await visitor.get("/write")
    store.fault = dict.fromkeys(["read", "create", "swap", "touch", "delete"], StoreUnavailable("down"))
    response = await visitor.get("/idle")
    assert (response.status, response.json()) == (200, "fine")
    assert not caplog.records


async def test_foreign_exceptions_are_typed_and_keep_their_cause(store: Faulty) -> None:
    async def look(scope: Any) -> str:
        message = rf"'cart': {type(store).__name__} failed \(OSError\)"
        with pytest.raises(StoreUnavailable, match=message) as caught:
            await scope["sessions"].get("cart")
        assert isinstance(caught.value.__cause__, OSError)
        store.fault.clear()
        return str(dict(await scope["sessions"].get("cart")))

    async def fill(scope: Any) -> None:
        (await scope["sessions"].get("cart"))["n"] = 1

    visitor = Browser(application({"/fill": fill, "/": look}, sessions=[SessionConfig("cart", store=store)]))
    await visitor.get("/fill")
    store.fault["read"] = OSError("boom")
    assert (await visitor.get("/")).json() == "{'n': 1}"


async def test_on_store_error_raise_passes_the_error_on(store: Faulty) -> None:
    visitor = browser(store, on_store_error="raise")
    await visitor.get("/write")
    for verb, path in (("read", "/"), ("swap", "/write")):
        store.fault = {verb: StoreUnavailable("down")}
        with pytest.raises(StoreUnavailable, match="down"):
            await visitor.get(path)


async def test_a_store_that_never_answers_is_given_up(store: Faulty) -> None:
    visitor = browser(store, commit_timeout=0.05)
    for verb in ("create", "swap"):
        store.fault[verb] = None
        with anyio.fail_after(0.9):
            assert (await visitor.get("/write")).status == 503
        store.fault.clear()
        await visitor.get("/write")


async def test_a_commit_that_waits_for_its_turn_is_given_up_in_time_and_leaves_the_queue() -> None:
    """The first try of a commit needs no timer where each verb ends by itself; the others do."""
    store = MemoryStore()
    visitor = browser(store, commit_timeout=0.05)
    await visitor.get("/write")
    (handle,) = store._records
    async with KeyedLock(store, handle):
        with anyio.fail_after(5):
            assert (await visitor.get("/write")).status == 503
    assert (await visitor.get("/write")).status == 200
    assert (await visitor.get("/")).json() == {"n": 2}


async def test_conflict_upon_conflict_is_given_up_in_time() -> None:
    class Contended(Faulty):
        write_timeout = 0.0

        async def swap(
            self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
        ) -> Stored | None:
            kept = await super().read(handle)
            await super().swap(handle, kept.version, len(self.calls).to_bytes(8, "big"), kept.data)
            return await super().swap(handle, old, new, data, expires_at)

    contended = Contended()
    visitor = browser(contended, commit_timeout=0.3)
    await visitor.get("/write")
    with anyio.fail_after(5):
        assert (await visitor.get("/write")).status == 503
    assert len(contended.calls) > 4


def test_a_verb_that_is_overridden_has_no_write_timeout_until_it_says_so() -> None:
    assert MemoryStore().write_timeout == 0
    assert RecordStore.write_timeout.fget(MemoryStore()) == Faulty().write_timeout == math.inf
    assert Bounded().write_timeout == 1.0

    class Named(MemoryStore):
        async def close(self) -> None:
            pass

    assert Named().write_timeout == 0

    class Slowing:
        async def swap(self, *args: Any) -> Stored | None:
            await anyio.sleep(1)
            return await super().swap(*args)

    class Mixed(Slowing, MemoryStore):
        pass

    assert Mixed().write_timeout == math.inf


@pytest.mark.parametrize("wrong", [True, -1, math.nan, "2", None, MemoryStore.close])
def test_a_write_timeout_that_is_no_number_of_seconds_is_named(wrong: Any) -> None:
    class Wrong(MemoryStore):
        write_timeout = wrong

    with pytest.raises(ValueError, match=r"'session': Wrong\.write_timeout=.*: must be a number of seconds"):
        SessionMiddleware(idle, KEY, store=Wrong())


def test_conflicts_without_end_are_a_typed_error() -> None:
    class Contended(Faulty):
        async def swap(
            self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
        ) -> Stored | None:
            kept = await super().read(handle)
            assert kept is not None
            version = len(self.calls).to_bytes(8, "big")
            return await super().swap(handle, kept.version, version, kept.data)

    async def save(session: Session) -> None:
        session["n"] = session.get("n", 0) + 1
        if session.handle is not None:
            with pytest.raises(SessionConflict, match="40 commits in a row"):
                await session.save()

    async def visit() -> int:
        visitor = Browser(application(save, store=Contended()))
        await visitor.get()
        return (await visitor.get()).status

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:  # the pauses between the attempts take no time
        assert runner.run(visit()) == 503


# -- applications that do not play along ----------------------------------------------------------------------------


async def swallowing(scope: Any, receive: Any, send: Any) -> None:
    scope["session"]["n"] = scope["session"].get("n", 0) + 1
    try:
        await send({"type": "http.response.start", "status": 200})
    except StoreError:
        if scope["path"] == "/try-again":
            await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/body":
            await send({"type": "http.response.body", "body": b"as if nothing had happened"})
        if scope["path"] == "/own-error":
            await send({"type": "http.response.start", "status": 500})
            await send({"type": "http.response.body"})
        return
    await send({"type": "http.response.body"})


async def test_a_store_that_runs_out_of_its_own_time_is_not_taken_for_the_limit_of_a_commit(store: Faulty) -> None:
    async def save(session: Session) -> None:
        session["n"] = 1
        with pytest.raises(StoreUnavailable, match=r" failed \(TimeoutError\)") as caught:
            await session.save()
        assert not isinstance(caught.value, StoreTimeout)
        assert isinstance(caught.value.__cause__, TimeoutError)
        del store.fault["create"]

    store.fault["create"] = TimeoutError("mine")
    assert (await Browser(application({"/": save}, store=store)).get("/")).status == 200


@pytest.mark.parametrize(("path", "status"), [("/", 503), ("/try-again", 503), ("/body", 503), ("/own-error", 500)])
async def test_an_application_that_swallows_the_error_can_not_answer_with_a_success(
    store: Faulty, path: str, status: int
) -> None:
    visitor = Browser(SessionMiddleware(swallowing, KEY, store=store))
    await visitor.get("/")
    store.fault["swap"] = StoreUnavailable("down")
    response = await visitor.get(path)
    assert response.status == status
    assert response.body != b"as if nothing had happened"
    assert response.set_cookies == []


async def test_through_starlettes_layers_it_stays_a_503(store: Faulty) -> None:
    async def count(request: Request) -> JSONResponse:
        request.session["n"] = request.session.get("n", 0) + 1
        return JSONResponse(request.session)

    async def handle(request: Request, exc: Exception) -> JSONResponse:
        return JSONResponse("handled", 200)

    async def passing(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    app = Starlette(
        routes=[Route("/", count)],
        exception_handlers={StoreError: handle, HTTPException: handle},
        middleware=[
            Middleware(BaseHTTPMiddleware, dispatch=passing),
            Middleware(SessionMiddleware, secret_key=KEY, store=store),
            Middleware(BaseHTTPMiddleware, dispatch=passing),
        ],
    )
    visitor = Browser(app)
    assert (await visitor.get("/")).json() == {"n": 1}
    store.fault["swap"] = StoreUnavailable("down")
    assert (await visitor.get("/")).status == 503
    store.fault.clear()
    assert (await visitor.get("/")).json() == {"n": 2}


async def test_a_batch_save_that_failed_is_a_503_too(store: Faulty) -> None:
    async def save(scope: Any) -> None:
        (await scope["sessions"].get())["n"] = 2
        await scope["sessions"].save()

    visitor = Browser(application({**ROUTES, "/save": save}, store=store))
    await visitor.get("/write")
    store.fault["swap"] = StoreUnavailable("down")
    assert (await visitor.get("/save")).status == 503


# -- websockets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [True, False])
async def test_a_websocket_is_denied_or_closed(store: Faulty, offered: bool) -> None:
    async def accept(session: Session, receive: Any, send: Any) -> None:
        session["n"] = 2
        await send({"type": "websocket.accept"})
        raise AssertionError("it was not accepted")

    visitor = Browser(app := sockets(accept, store))
    await visitor.get("/fill")
    store.fault["swap"] = StoreUnavailable("down")
    socket = Socket(app, visitor.jar, {"websocket.http.response": {}} if offered else {})
    await socket.run()
    if offered:
        assert [message["type"] for message in socket.sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert socket.sent[0]["status"] == 503
    else:
        assert [message["type"] for message in socket.sent] == ["websocket.close"]
        assert socket.sent[0]["code"] == 1013


# -- late -----------------------------------------------------------------------------------------------------------


async def test_a_late_commit_that_fails_is_logged(store: Faulty, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        session.setdefault("n", 1)
        await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/late":
            store.fault["swap"] = StoreFull("disk full")
            session["n"] = 2
        await send({"type": "http.response.body", "body": json.dumps(dict(session)).encode()})

    visitor = Browser(SessionMiddleware(app, KEY, store=store))
    await visitor.get("/")
    assert (await visitor.get("/late")).status == 200
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "session 'session': late changes are lost: disk full" in caplog.text


# -- a reply that was lost ------------------------------------------------------------------------------------------


class LosesReplies(Faulty):
    """Every write takes place; the first reply is lost, and the store repeats the command, as RedisStore does."""

    async def twice(self, verb: Any, *arguments: Any) -> Any:
        await verb(*arguments)
        return await verb(*arguments)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return bool(await self.twice(super().create, handle, new, data, expires_at))

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        kept: Stored | None = await self.twice(super().swap, handle, old, new, data, expires_at)
        return kept

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        kept: Stored | None = await self.twice(super().delete, handle, version)
        return kept


async def test_lost_replies_are_not_noticed() -> None:
    visitor = browser(LosesReplies())
    for _ in range(3):
        assert (await visitor.get("/write")).status == 200
    assert (await visitor.get("/")).json() == {"n": 3}
    assert (await visitor.get("/logout")).status == 200
    assert visitor.jar == {}


class LosesReplyAndRace(MemoryStore):
    """The swap takes place, the reply is lost, somebody else commits, and then the swap is repeated."""

    rival: Any = None

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        kept = await super().swap(handle, old, new, data, expires_at)
        if self.rival is not None:
            rival, self.rival = self.rival, None
            await rival()
            return await super().swap(handle, old, new, data, expires_at)
        return kept


async def test_a_commit_that_finds_itself_done_is_not_done_again() -> None:
    """Otherwise it would undo what the rival wrote to the same key."""
    store = LosesReplyAndRace()

    async def second(session: Session) -> None:
        session["n"] = "second"

    async def first(session: Session) -> None:
        session["n"] = "first"

    rival_app = application({**ROUTES, "/second": second}, store=store)
    visitor = Browser(application({**ROUTES, "/first": first}, store=store))
    await visitor.get("/write")

    async def race() -> None:
        await Browser(rival_app, jar=dict(visitor.jar)).get("/second")

    store.rival = race
    assert (await visitor.get("/first")).status == 200
    assert (await visitor.get("/")).json() == {"n": "second"}
