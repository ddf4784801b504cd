"""What each outcome of a commit means, as a matrix: the table at the head of ``_engine/exchange.py``.

Every error of the package, and some that are not its own, raised by every verb of a store, wherever a session is loaded
or committed. The same for each kind of stored session: with and without an owner, on a store that bounds its writes and
on one that does not.
"""

import inspect
import json
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from asgi_sessions import (
    CookieRefused,
    CookieTooLarge,
    FilesystemStore,
    MemoryStore,
    ModelMismatch,
    NotSupported,
    RecordStore,
    RedisStore,
    SerializationError,
    Session,
    SessionConfig,
    SessionError,
    SessionMiddleware,
    SessionNotConfigured,
    SessionNotLoaded,
    SessionSuperseded,
    Stored,
    StoreError,
    StoreUnavailable,
    exceptions,
)
from tests.browser import KEY, Browser, Clock, application, read, respond

from .test_late import Socket

LARGE = 600_000  # bytes; two of them exceed the limit of a record's values

ARGUMENTS: dict[type[Exception], tuple[Any, ...]] = {
    SerializationError: ("['x']", "cannot be stored"),
    ModelMismatch: ("session", "Profile", "name", "it is missing", "give it a default"),
    CookieTooLarge: ("session", 5000, 4096),
}
PACKAGE_ERRORS = [cls for _, cls in inspect.getmembers(exceptions, inspect.isclass) if issubclass(cls, SessionError)]
ERRORS: list[type[Exception]] = [*PACKAGE_ERRORS, OSError, TimeoutError, ValueError, KeyError]


class Failing(MemoryStore):
    """A memory store whose verbs raise what they are told to, and do nothing then.

    Attributes:
        faults: verb -> what it raises.
        met: the faults that were raised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, Exception] = {}
        self.met: list[Exception] = []

    def meet(self, verb: str) -> None:
        if verb in self.faults:
            self.met.append(self.faults[verb])
            raise self.faults[verb]

    async def read(self, handle: bytes) -> Stored | None:
        self.meet("read")
        return await super().read(handle)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        self.meet("create")
        return await super().create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        self.meet("swap")
        return await super().swap(handle, old, new, data, expires_at)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        self.meet("touch")
        return await super().touch(handle, version, expires_at)

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        self.meet("delete")
        return await super().delete(handle, version)


class Bounded(Failing):
    """Most of its commits need no timer."""

    @property
    def write_timeout(self) -> float:
        return 0.0


@dataclass
class Kind:
    """A kind of stored session, and the store that keeps it."""

    store: Failing
    owner: str | None


KINDS = {
    "bounded": lambda: Kind(Bounded(), None),
    "unbounded": lambda: Kind(Failing(), None),
    "bounded, with an owner": lambda: Kind(Bounded(), "alice"),
    "unbounded, with an owner": lambda: Kind(Failing(), "alice"),
}
Test = Callable[..., Awaitable[None]]


def for_every_error(test: Test) -> Test:
    """Run a test for every kind of session, and in it for every error; in one test, as there are thousands of them."""

    @wraps(test)
    async def run(kind: Callable[[], Kind], **others: Any) -> None:
        for cls in ERRORS:
            error = cls(*ARGUMENTS.get(cls, ("the fault",)))
            try:
                await test(kind(), error, **others)
            except BaseException as exc:
                exc.add_note(f"the store raised {cls.__name__}")
                raise

    parameters = [value for name, value in inspect.signature(test).parameters.items() if name != "error"]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # the fixtures that pytest is to pass
    return pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)(run)


def test_a_store_that_bounds_its_writes_needs_no_timer() -> None:
    assert (Bounded().write_timeout, Failing().write_timeout) == (0.0, math.inf)


# -- what is done with a session ------------------------------------------------------------------------------------


def write(session: Session) -> None:
    session["n"] = session.get("n", 0) + 1


def logout(session: Session) -> None:
    session.invalidate()


def login(session: Session) -> None:
    session.regenerate()
    session["n"] = "logged in"


def replace(session: Session) -> None:
    session.invalidate()
    session["n"] = "another session"


# What is done, and a verb that it takes.
CHANGES = [(write, "swap"), (login, "swap"), (logout, "delete"), (logout, "read"), (replace, "delete")]
CHANGES += [(replace, "create")]


def names(value: Any) -> str:
    return str(getattr(value, "__name__", value))


every_change = pytest.mark.parametrize(("change", "verb"), CHANGES, ids=names)
Handler = Callable[[Any, Any], Awaitable[Any]]


@dataclass
class Site:
    """An application with one session, and a visitor.

    Attributes:
        handler: what ``/`` and the websocket do with the scope and ``send``.
    """

    kind: Kind
    handler: Handler | None = None
    clock: Clock | None = None
    autoload: bool = True

    def __post_init__(self) -> None:
        options: dict[str, Any] = {"clock": self.clock} if self.clock else {}
        app = SessionMiddleware(self.app, KEY, store=self.kind.store, autoload=self.autoload, max_age=1000, **options)
        self.visitor = Browser(app)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fill":
            session = await scope["sessions"].get()
            session["n"] = 1
            session.owner = self.kind.owner
            await respond(send)
        elif scope["path"] == "/read":
            await respond(send, dict(await scope["sessions"].get()))
        else:
            assert self.handler is not None
            await self.handler(scope, send)

    async def acknowledged(self) -> Any:
        """What the visitor's session holds, now that the store is well again."""
        self.kind.store.faults.clear()
        return (await self.visitor.get("/read")).json()


def before_the_response(change: Callable[[Session], None]) -> Handler:
    async def handler(scope: Any, send: Any) -> None:
        change(await scope["sessions"].get())
        await respond(send)

    return handler


def expect(error: Exception) -> type[SessionError]:
    """The class of what a commit says that met the error."""
    if isinstance(error, StoreError | NotSupported | SerializationError):
        return type(error)
    return StoreUnavailable


def check_raised(raised: BaseException, error: Exception, store: RecordStore) -> None:
    """A store's own errors are raised as they are; what else it raises is its fault, and the cause of what is said."""
    assert type(raised) is expect(error)
    if isinstance(raised, SerializationError):
        assert str(raised).startswith("session 'session'")
    elif raised is not error:
        assert str(raised) == f"session 'session': {type(store).__name__} failed ({type(error).__name__})"
        assert raised.__cause__ is error


async def check_answer(site: Site, error: Exception) -> None:
    """503 if the store failed; what is the application's affair is raised out of the middleware."""
    store = site.kind.store
    if issubclass(expect(error), StoreError):
        response = await site.visitor.get("/")
        assert (response.status, response.header("retry-after")) == (503, "5")
        assert response.set_cookies == []
    else:
        with pytest.raises(expect(error)) as caught:
            await site.visitor.get("/")
        check_raised(caught.value, error, store)


# -- before the response starts -------------------------------------------------------------------------------------


@for_every_error
@every_change
async def test_a_commit_that_failed_is_no_success(
    kind: Kind, error: Exception, change: Callable[[Session], None], verb: str
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        change(await scope["sessions"].get())
        kind.store.faults[verb] = error
        await respond(send)

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    await check_answer(site, error)
    assert kind.store.met
    if (change, verb) != (replace, "create"):  # the old session was ended before that
        assert await site.acknowledged() == {"n": 1}


@for_every_error
async def test_a_session_that_could_not_be_created_is_no_success(kind: Kind, error: Exception) -> None:
    site = Site(kind, before_the_response(write))
    kind.store.faults["create"] = error
    await check_answer(site, error)
    assert len(kind.store) == 0
    assert await site.acknowledged() == {}


@for_every_error
async def test_a_login_that_could_not_be_created_is_no_success(kind: Kind, error: Exception) -> None:
    async def handler(scope: Any, send: Any) -> None:
        scope["session"].owner = "bob"
        await respond(send)

    site = Site(kind, handler)
    kind.store.faults["create"] = error
    await check_answer(site, error)
    assert await site.acknowledged() == {}


@for_every_error
@every_change
async def test_what_failed_is_done_by_the_next_request(
    kind: Kind, error: Exception, change: Callable[[Session], None], verb: str
) -> None:
    """The same request, sent again: what a failed commit left behind is in nobody's way."""

    async def handler(scope: Any, send: Any) -> None:
        change(await scope["sessions"].get())
        kind.store.faults.update(faults)
        await respond(send)

    faults = {verb: error}
    site = Site(kind, handler)
    await site.visitor.get("/fill")
    await check_answer(site, error)
    faults.clear()
    kind.store.faults.clear()
    assert (await site.visitor.get("/")).status == 200
    done = {write: {"n": 2}, login: {"n": "logged in"}, logout: {}, replace: {"n": "another session"}}
    assert await site.acknowledged() == done[change]


@for_every_error
@every_change
async def test_a_websocket_is_not_accepted_when_its_commit_failed(
    kind: Kind, error: Exception, change: Callable[[Session], None], verb: str
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        change(scope["session"])
        kind.store.faults[verb] = error
        await send({"type": "websocket.accept"})

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    socket = Socket(site.visitor.app, site.visitor.jar)
    if issubclass(expect(error), StoreError):
        await socket.run()
        assert [(message["type"], message["code"]) for message in socket.sent] == [("websocket.close", 1013)]
    else:
        with pytest.raises(expect(error)) as caught:
            await socket.run()
        check_raised(caught.value, error, kind.store)
        assert socket.sent == []


@for_every_error
async def test_a_websocket_is_denied_with_503_where_the_server_can(kind: Kind, error: Exception) -> None:
    async def handler(scope: Any, send: Any) -> None:
        write(scope["session"])
        await send({"type": "websocket.accept"})

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    kind.store.faults["swap"] = error
    socket = Socket(site.visitor.app, site.visitor.jar, {"websocket.http.response": {}})
    if issubclass(expect(error), StoreError):
        await socket.run()
        assert [message["type"].rpartition(".")[2] for message in socket.sent] == ["start", "body"]
        assert socket.sent[0]["status"] == 503
        assert (b"retry-after", b"5") in socket.sent[0]["headers"]
    else:
        with pytest.raises(expect(error)):
            await socket.run()
        assert socket.sent == []
    assert await site.acknowledged() == {"n": 1}


# -- loading --------------------------------------------------------------------------------------------------------


async def check_load(site: Site, error: Exception) -> None:
    if isinstance(error, NotSupported):
        with pytest.raises(NotSupported, match="the fault"):
            await site.visitor.get("/")
    else:
        response = await site.visitor.get("/")
        assert (response.status, response.header("retry-after")) == (503, "5")
        assert response.set_cookies == []


@for_every_error
@pytest.mark.parametrize("autoload", [True, False])
@pytest.mark.parametrize("change", [dict, write, logout], ids=names)
async def test_a_session_that_could_not_be_read_is_no_success(
    kind: Kind, error: Exception, change: Callable[[Session], None], autoload: bool
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        change(scope["session"] if autoload else await scope["sessions"].get())
        await respond(send)

    site = Site(kind, handler, autoload=autoload)
    await site.visitor.get("/fill")
    kind.store.faults["read"] = error
    await check_load(site, error)
    assert await site.acknowledged() == {"n": 1}


@for_every_error
async def test_who_awaits_a_session_is_told_why_it_could_not_be_read(kind: Kind, error: Exception) -> None:
    async def handler(scope: Any, send: Any) -> None:
        kind.store.faults["read"] = error
        expected = NotSupported if isinstance(error, NotSupported) else StoreError
        with pytest.raises(expected) as caught:
            await scope["sessions"].get()
        assert error in (caught.value, caught.value.__cause__)
        kind.store.faults.clear()
        await respond(send, dict(await scope["sessions"].get()))

    site = Site(kind, handler, autoload=False)
    await site.visitor.get("/fill")
    assert (await site.visitor.get("/")).json() == {"n": 1}


@for_every_error
async def test_a_page_that_does_not_touch_the_session_is_served(kind: Kind, error: Exception) -> None:
    async def handler(scope: Any, send: Any) -> None:
        await respond(send, "served")

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    kind.store.faults = dict.fromkeys(["read", "create", "swap", "touch", "delete"], error)
    response = await site.visitor.get("/")
    assert (response.status, response.json(), response.set_cookies) == (200, "served", [])


# -- at the application's word --------------------------------------------------------------------------------------


@for_every_error
@every_change
async def test_save_raises_what_went_wrong(
    kind: Kind, error: Exception, change: Callable[[Session], None], verb: str
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        change(scope["session"])
        kind.store.faults[verb] = error
        with pytest.raises(SessionError) as caught:
            await scope["session"].save()
        check_raised(caught.value, error, kind.store)
        await respond(send, status=500)

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    assert (await site.visitor.get("/")).status == 500
    if (change, verb) != (replace, "create"):
        assert await site.acknowledged() == {"n": 1}


@for_every_error
@every_change
async def test_saving_all_raises_a_group_of_what_went_wrong(
    kind: Kind, error: Exception, change: Callable[[Session], None], verb: str
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        change(scope["session"])
        kind.store.faults[verb] = error
        with pytest.raises(ExceptionGroup, match="sessions not saved: 'session'") as caught:
            await scope["sessions"].save()
        (raised,) = caught.value.exceptions
        check_raised(raised, error, kind.store)
        await respond(send, status=500)

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    assert (await site.visitor.get("/")).status == 500
    if (change, verb) != (replace, "create"):
        assert await site.acknowledged() == {"n": 1}


@for_every_error
@pytest.mark.parametrize("every", [True, False], ids=["all", "one"])
async def test_a_save_that_failed_and_was_swallowed_is_no_success(kind: Kind, error: Exception, every: bool) -> None:
    async def handler(scope: Any, send: Any) -> None:
        write(scope["session"])
        kind.store.faults["swap"] = error
        with pytest.raises((SessionError, ExceptionGroup)):
            await (scope["sessions"] if every else scope["session"]).save()
        await respond(send)

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    await check_answer(site, error)
    assert await site.acknowledged() == {"n": 1}


@for_every_error
async def test_what_a_save_could_not_do_is_done_before_the_response_if_the_store_recovers(
    kind: Kind, error: Exception
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        write(scope["session"])
        kind.store.faults["swap"] = error
        with pytest.raises(SessionError):
            await scope["session"].save()
        kind.store.faults.clear()
        await respond(send)

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    assert (await site.visitor.get("/")).status == 200
    assert await site.acknowledged() == {"n": 2}


# -- exclusive sections ---------------------------------------------------------------------------------------------


@for_every_error
@pytest.mark.parametrize(("verb", "change"), [("read", dict), ("swap", dict), ("swap", write), ("delete", logout)])
async def test_an_exclusive_section_is_not_entered_when_the_store_fails(
    kind: Kind, error: Exception, verb: str, change: Callable[[Session], None]
) -> None:
    """What was changed before it is committed on entering."""

    async def handler(scope: Any, send: Any) -> None:
        change(scope["session"])
        kind.store.faults[verb] = error
        async with scope["sessions"].exclusive():
            pytest.fail("entered")

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    if change is dict and not isinstance(error, NotSupported | StoreError):
        assert (await site.visitor.get("/")).status == 503
    else:
        await check_answer(site, error)
    assert await site.acknowledged() == {"n": 1}


@for_every_error
@pytest.mark.parametrize(("verb", "change"), [("swap", write), ("swap", login), ("delete", logout)])
async def test_what_an_exclusive_section_could_not_commit_is_no_success(
    kind: Kind, error: Exception, verb: str, change: Callable[[Session], None]
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        async with scope["sessions"].exclusive() as session:
            change(session)
            kind.store.faults[verb] = error
        await respond(send)

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    await check_answer(site, error)
    assert await site.acknowledged() == {"n": 1}


@for_every_error
@pytest.mark.parametrize(("verb", "change"), [("swap", write), ("swap", login), ("delete", logout)])
async def test_what_an_exclusive_section_could_not_commit_is_dropped_if_the_error_is_swallowed(
    kind: Kind, error: Exception, verb: str, change: Callable[[Session], None]
) -> None:
    """Like a transaction that was rolled back: the response tells no more than what is stored."""

    async def handler(scope: Any, send: Any) -> None:
        with pytest.raises(SessionError) as caught:
            async with scope["sessions"].exclusive() as session:
                change(session)
                kind.store.faults[verb] = error
        check_raised(caught.value, error, kind.store)
        kind.store.faults.clear()
        await respond(send, dict(scope["session"]))

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    response = await site.visitor.get("/")
    assert (response.status, response.json()) == (200, {"n": 1})
    assert await site.acknowledged() == {"n": 1}


# -- late -----------------------------------------------------------------------------------------------------------


@for_every_error
@pytest.mark.parametrize(("change", "verb"), [(write, "swap"), (logout, "delete")], ids=names)
async def test_a_late_commit_that_failed_is_logged_as_an_error(
    kind: Kind,
    error: Exception,
    change: Callable[[Session], None],
    verb: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        await scope["sessions"].get()
        await send({"type": "http.response.start", "status": 200})
        change(scope["session"])
        kind.store.faults[verb] = error
        await send({"type": "http.response.body", "body": b"null"})

    caplog.clear()
    site = Site(kind, handler)
    await site.visitor.get("/fill")
    assert (await site.visitor.get("/")).status == 200
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert "session 'session': late changes are lost: " in caplog.text
    assert bool(caplog.records[0].exc_info) == issubclass(expect(error), StoreError)
    assert await site.acknowledged() == {"n": 1}


@for_every_error
@pytest.mark.parametrize(("change", "verb"), [(write, "swap"), (logout, "delete")], ids=names)
async def test_a_late_save_raises_what_went_wrong(
    kind: Kind, error: Exception, change: Callable[[Session], None], verb: str
) -> None:
    async def handler(scope: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        change(scope["session"])
        kind.store.faults[verb] = error
        with pytest.raises(SessionError) as caught:
            await scope["session"].save()
        check_raised(caught.value, error, kind.store)
        kind.store.faults.clear()
        await send({"type": "http.response.body", "body": json.dumps("late").encode()})

    site = Site(kind, handler)
    await site.visitor.get("/fill")
    assert (await site.visitor.get("/")).json() == "late"
    assert await site.acknowledged() == ({"n": 2} if change is write else {})


# -- renewals: a session that was only read ---------------------------------------------------------------------------


async def read_it(scope: Any, send: Any) -> None:
    await respond(send, dict(scope["session"]))


async def read_and_save(scope: Any, send: Any) -> None:
    dict(scope["session"])
    await scope["session"].save()
    await respond(send)


async def read_and_save_all(scope: Any, send: Any) -> None:
    dict(scope["session"])
    try:
        await scope["sessions"].save()
    except ExceptionGroup as group:
        raise group.exceptions[0]  # noqa: B904 - as it is
    await respond(send)


RENEWALS: list[Handler] = [read_it, read_and_save, read_and_save_all]


@for_every_error
@pytest.mark.parametrize("handler", RENEWALS, ids=names)
async def test_a_renewal_that_failed_is_no_success(
    kind: Kind, error: Exception, clock: Clock, handler: Handler
) -> None:
    site = Site(kind, handler, clock)
    await site.visitor.get("/fill")
    clock.now += 500
    kind.store.faults["touch"] = error
    await check_answer(site, error)
    assert kind.store.met == [error]
    assert await site.acknowledged() == {"n": 1}


# -- what is no store's to say ----------------------------------------------------------------------------------------


ENGINES_OWN = [SessionSuperseded, exceptions.ResponseStarted, SessionNotLoaded, SessionNotConfigured, CookieRefused]


@pytest.mark.parametrize("cls", ENGINES_OWN, ids=names)
@pytest.mark.parametrize("verb", ["read", "swap", "delete"])
async def test_only_the_engine_says_that_a_commit_may_be_overlooked(
    cls: type[Exception], verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that says so has failed: otherwise a logout that did not take place would be answered with 200."""
    kind = Kind(Failing(), None)
    site = Site(kind, before_the_response(logout if verb == "delete" else write))
    await site.visitor.get("/fill")
    kind.store.faults[verb] = cls("not yours to say")
    assert (await site.visitor.get("/")).status == 503
    assert f"failed ({cls.__name__})" in caplog.text
    assert await site.acknowledged() == {"n": 1}


@pytest.mark.parametrize("failing", ["session", "cart"])
async def test_of_several_outcomes_a_stores_failure_decides_the_answer(failing: str) -> None:
    stores = {"session": Failing(), "cart": Failing()}

    async def write_both(scope: Any) -> None:
        for name, store in stores.items():
            (await scope["sessions"].get(name))["n"] = 1
            store.faults["create"] = StoreUnavailable("down") if name == failing else NotSupported("never")

    cart = SessionConfig("cart", store=stores["cart"])
    visitor = Browser(application(write_both, store=stores["session"], sessions=[cart]))
    assert (await visitor.get()).status == 503


# -- a merge that cannot be stored ----------------------------------------------------------------------------------


async def test_of_two_parallel_writes_that_are_too_large_together_the_second_is_no_success(
    server_store: RecordStore,
) -> None:
    async def fill(session: Session) -> None:
        session["n"] = 1

    async def first(session: Session) -> None:
        session["first"] = LARGE * "1"

    async def second(session: Session) -> None:
        session["second"] = LARGE * "2"
        assert (await Browser(app, jar=dict(visitor.jar)).get("/first")).status == 200

    async def sizes(session: Session) -> dict[str, int]:
        return {key: len(str(value)) for key, value in session.items()}

    app = application({"/fill": fill, "/first": first, "/second": second, "/": sizes}, store=server_store)
    visitor = Browser(app)
    await visitor.get("/fill")
    with pytest.raises(
        SerializationError, match=r"^session 'session': takes \d+ bytes, at most 1048576 may be stored$"
    ):
        await visitor.get("/second")
    assert (await visitor.get("/")).json() == {"n": 1, "first": LARGE}


async def test_a_save_names_the_session_whose_merge_is_too_large(server_store: RecordStore) -> None:
    async def fill(session: Session) -> None:
        session["n"] = 1

    async def first(session: Session) -> None:
        session["first"] = LARGE * "1"

    async def second(session: Session) -> int:
        session["second"] = LARGE * "2"
        await Browser(app, jar=dict(visitor.jar)).get("/first")
        with pytest.raises(SerializationError, match=r"^session 'session'"):
            await session.save()
        del session["second"]
        session["n"] = 2
        return 2

    app = application({"/fill": fill, "/first": first, "/second": second, "/": read}, store=server_store)
    visitor = Browser(app)
    await visitor.get("/fill")
    assert (await visitor.get("/second")).status == 200
    assert sorted((await visitor.get("/")).json()) == ["first", "n"]


# -- a store that needs asyncio ---------------------------------------------------------------------------------------


class TestUnderTrio:
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "trio"

    @pytest.fixture(params=["filesystem", "redis"])
    def asyncio_store(self, request: pytest.FixtureRequest, tmp_path: Path) -> RecordStore:
        return (
            FilesystemStore(tmp_path / "sessions")
            if request.param == "filesystem"
            else RedisStore("redis://localhost:1")
        )

    async def jar(self) -> dict[str, str]:
        """The cookies of a visitor who was here before."""
        visitor = Browser(application(read_and_write, store=MemoryStore()))
        await visitor.get()
        return visitor.jar

    @pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
    async def test_a_page_that_writes_is_no_success(self, asyncio_store: RecordStore, known: bool) -> None:
        visitor = Browser(application(read_and_write, store=asyncio_store), jar=await self.jar() if known else {})
        with pytest.raises(NotSupported, match=f"{type(asyncio_store).__name__} needs asyncio"):
            await visitor.get()

    async def test_a_page_that_reads_is_no_success(self, asyncio_store: RecordStore) -> None:
        visitor = Browser(application(read, store=asyncio_store), jar=await self.jar())
        with pytest.raises(NotSupported, match=f"{type(asyncio_store).__name__} needs asyncio"):
            await visitor.get()

    async def test_a_page_that_does_not_touch_the_session_is_served(self, asyncio_store: RecordStore) -> None:
        async def idle(scope: Any) -> str:
            return "served"

        visitor = Browser(application(idle, store=asyncio_store), jar=await self.jar())
        assert (await visitor.get()).json() == "served"


async def read_and_write(session: Session) -> None:
    session["n"] = session.get("n", 0) + 1
