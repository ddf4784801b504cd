"""What a request changes while a commit of its own is under way: by another of its tasks, or while it streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from asgi_sessions import (
    LeaseExpired,
    MemoryStore,
    SerializationError,
    Serializer,
    Session,
    SessionConfig,
    SessionMiddleware,
    Stored,
    StoreUnavailable,
    get_sessions,
)
from tests.browser import KEY, Browser, application, respond

FILLED = {"x": 0, "old": 1}
START = {"type": "http.response.start", "status": 200}
END = {"type": "http.response.body"}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Held(MemoryStore):
    """Once it is armed, the next write takes place, or fails, when the test allows."""

    armed = fails = False
    created = 0

    def arm(self, *, fails: bool = False) -> None:
        self.armed, self.fails = True, fails
        self.writing, self.go_on = anyio.Event(), anyio.Event()

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        self.created += 1
        await self._hold()
        return await super().create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        await self._hold()
        return await super().swap(handle, old, new, data, expires_at)

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        await self._hold()
        return await super().delete(handle, version)

    async def _hold(self) -> None:
        if self.armed:
            self.armed = False
            self.writing.set()
            await self.go_on.wait()
            if self.fails:
                raise StoreUnavailable("it is down")


def assign(session: Session) -> None:
    session["late"] = True


def assign_again(session: Session) -> None:
    session["mine"] = 2


def take_back(session: Session) -> None:
    del session["mine"]


def nest(session: Session) -> None:
    session.setdefault("list", []).append(2)


def pop(session: Session) -> None:
    session.pop("old")


def flash(session: Session) -> None:
    session.flash("late")


CHANGES: list[tuple[Callable[[Session], None], dict[str, Any]]] = [
    (assign, {**FILLED, "mine": 1, "late": True}),
    (assign_again, {**FILLED, "mine": 2}),
    (take_back, FILLED),
    (nest, {**FILLED, "mine": 1, "list": [2]}),
    (pop, {"x": 0, "mine": 1}),
    (flash, {**FILLED, "mine": 1, "flashes": ["late"]}),
]


async def fill(session: Session) -> None:
    session.update(FILLED)


async def show(session: Session) -> Any:
    found = dict(session)
    flashes = [message for _, message in session.peek_flashes()]
    return {**found, "flashes": flashes} if flashes else found


def site(store: Held, work: Callable[[Session, Any], Awaitable[None]]) -> Browser:
    """A browser whose ``/work`` does this with the session and the ``send`` of its request."""
    prepared = application({"/fill": fill, "/": show})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/work":
            await work(scope["session"], send)
        else:
            await prepared.app(scope, receive, send)

    return Browser(SessionMiddleware(app, KEY, store=store))


async def saving(session: Session, send: Any) -> None:
    await session.save()


async def saving_in_vain(session: Session, send: Any) -> None:
    with pytest.raises(StoreUnavailable):
        await session.save()


async def starting(session: Session, send: Any) -> None:
    await send(START)


@pytest.mark.parametrize(("change", "expected"), CHANGES)
@pytest.mark.parametrize("commit", [saving, saving_in_vain, starting])
@pytest.mark.parametrize("new", [False, True])
async def test_what_is_changed_while_a_commit_is_under_way_is_committed_by_the_next(
    change: Callable[[Session], None], expected: dict[str, Any], commit: Any, new: bool
) -> None:
    store = Held()

    async def work(session: Session, send: Any) -> None:
        for key in FILLED if new else ():
            session[key] = FILLED[key]
        session["mine"] = 1
        async with anyio.create_task_group() as group:
            group.start_soon(commit, session, send)
            await store.writing.wait()
            change(session)
            store.go_on.set()
        if commit is not starting:
            await send(START)
        await send(END)

    browser = site(store, work)
    if not new:
        await browser.get("/fill")
    store.arm(fails=commit is saving_in_vain)
    assert (await browser.get("/work")).status == 200
    assert (await browser.get("/")).json() == expected


@pytest.mark.parametrize("new", [False, True])
async def test_a_save_comes_after_the_commit_before_the_response_that_was_prepared_first(new: bool) -> None:
    store = Held()

    async def work(session: Session, send: Any) -> None:
        session["mine"] = 1
        async with anyio.create_task_group() as group:
            group.start_soon(send, START)
            await store.writing.wait()
            session["mine"] = 2
            group.start_soon(session.save)
            await anyio.wait_all_tasks_blocked()
            store.go_on.set()
        await send(END)

    browser = site(store, work)
    if not new:
        await browser.get("/fill")
    store.arm()
    assert (await browser.get("/work")).status == 200
    assert (await browser.get("/")).json()["mine"] == 2
    assert store.created == 1


class Bounded(Held):
    """One whose verbs end by themselves, as far as it says."""

    write_timeout = property(lambda self: 1.0)  # type: ignore[assignment]


async def test_a_save_from_a_section_that_was_left_meanwhile_is_refused() -> None:
    store = Bounded()
    outcomes = []

    async def save(session: Session) -> None:
        with pytest.raises(LeaseExpired) as raised:
            await session.save()
        outcomes.append(raised.type)

    async def work(scope: Any) -> None:
        async with anyio.create_task_group() as group:
            async with get_sessions(scope).exclusive() as session:
                session["mine"] = 1
                store.arm()
                group.start_soon(save, session)
                await store.writing.wait()
                session["mine"] = 2
            store.go_on.set()

    browser = Browser(application({"/fill": fill, "/": show, "/work": work}, store=store))
    await browser.get("/fill")
    assert (await browser.get("/work")).status == 200
    assert outcomes == [LeaseExpired]
    assert (await browser.get("/")).json() == {**FILLED, "mine": 2}


async def test_a_logout_while_an_earlier_one_is_saved_may_begin_anew() -> None:
    store = Held()

    async def work(session: Session) -> None:
        session.invalidate()
        async with anyio.create_task_group() as group:
            store.arm()
            group.start_soon(session.save)
            await store.writing.wait()
            session.invalidate()
            session["fresh"] = 1
            store.go_on.set()
        await session.save()

    browser = Browser(application({"/fill": fill, "/": show, "/work": work}, store=store))
    await browser.get("/fill")
    assert (await browser.get("/work")).status == 200
    assert (await browser.get("/")).json() == {"fresh": 1}


class Lines(Serializer):
    """Writes an empty dict as no bytes at all."""

    def dumps(self, value: object) -> bytes:
        assert isinstance(value, dict)
        return b"".join(b"%s=%d\n" % (key.encode(), value[key]) for key in sorted(value))

    def loads(self, data: bytes) -> object:
        return {key.decode(): int(value) for key, _, value in (line.partition(b"=") for line in data.splitlines())}


async def test_the_last_key_is_removed_by_the_next_commit_if_one_failed() -> None:
    store = Held()

    async def work(session: Session) -> None:
        del session["x"], session["old"]
        store.arm(fails=True)
        store.go_on.set()
        with pytest.raises(StoreUnavailable):
            await session.save()

    browser = Browser(application({"/fill": fill, "/": show, "/work": work}, store=store, serializer=Lines()))
    await browser.get("/fill")
    assert (await browser.get("/work")).status == 200
    assert (await browser.get("/")).json() == {}


async def test_a_save_that_begins_while_an_epoch_is_fetched_is_waited_for() -> None:
    store, fetching, fetched = Held(), anyio.Event(), anyio.Event()

    async def epochs(owner: object) -> int:
        fetching.set()
        await fetched.wait()
        return 1

    async def app(scope: Any, receive: Any, send: Any) -> None:
        cart = await get_sessions(scope).get("cart")
        if scope["path"] == "/":
            await respond(send, dict(cart))
            return
        (await get_sessions(scope).get()).owner = "ann"
        cart["x"] = "first"

        async def save() -> None:
            await fetching.wait()
            store.arm()
            async with anyio.create_task_group() as saving:
                saving.start_soon(cart.save)
                await store.writing.wait()
                cart["x"] = "second"
                fetched.set()
                await anyio.wait_all_tasks_blocked()
                store.go_on.set()

        async with anyio.create_task_group() as group:
            group.start_soon(save)
            group.start_soon(respond, send, None)

    browser = Browser(SessionMiddleware(app, KEY, epochs=epochs, sessions=[SessionConfig("cart", store=store)]))
    await browser.get("/fill")
    assert (await browser.get("/")).json() == {"x": "second"}
    assert store.created == 1


async def test_what_a_superseded_session_loses_is_told_though_another_session_stops_the_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def regenerate(session: Session) -> None:
        session.regenerate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["path"] == "/fill":
            session["n"] = 1
        elif scope["path"] == "/lose":
            await Browser(application(regenerate, store=store), jar=dict(browser.jar)).get("/")
            await session.reload()
            session["important"] = 1
            other = await get_sessions(scope).get("other")
            other["x"] = object()
            with pytest.raises(SerializationError):
                await respond(send, None)
            del other["x"]
        await respond(send, None)

    store = MemoryStore()
    browser = Browser(SessionMiddleware(app, KEY, store=store, sessions=[SessionConfig("other")]))
    await browser.get("/fill")
    assert (await browser.get("/lose")).status == 200
    assert [record.getMessage() for record in caplog.records if "are dropped" in record.getMessage()] != []
