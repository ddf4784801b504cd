"""One connection, several tasks: what happens to a session while a commit of it is under way."""

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asgi_sessions import MemoryStore, Session, SessionMiddleware, Stored
from tests.browser import KEY, Browser, application


class Gated(MemoryStore):
    """Lets a test act between the beginning and the end of a write."""

    def __init__(self) -> None:
        super().__init__()
        self.between: Callable[[], Any] | None = None

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        self.act()
        return await super().create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        self.act()
        return await super().swap(handle, old, new, data, expires_at)

    def act(self) -> None:
        act, self.between = self.between, None
        if act is not None:
            act()


async def fill(session: Session) -> None:
    session["a"] = 1
    session.flash("one")


async def look(session: Session) -> Any:
    return [dict(session), session.owner, [message for _, message in session.peek_flashes()]]


async def errors(session: Session) -> Any:
    return type(session.error).__name__


LOGOUTS: dict[str, Callable[[Session], Any]] = {"invalidate": Session.invalidate, "clear": Session.clear}
LATER: dict[str, tuple[Callable[[Session], Any], Any]] = {
    "nothing": (lambda session: None, [{"a": 1, "b": 1}, None, ["one", "two"]]),
    "a value": (lambda session: session.update(c=1), [{"a": 1, "b": 1, "c": 1}, None, ["one", "two"]]),
    "a flash": (lambda session: session.flash("three"), [{"a": 1, "b": 1}, None, ["one", "two", "three"]]),
    "flashes taken": (Session.flashes, [{"a": 1, "b": 1}, None, []]),
    "an owner": (lambda session: setattr(session, "owner", "alice"), [{"a": 1, "b": 1}, "alice", ["one", "two"]]),
    "a new session": (lambda session: (session.invalidate(), session.update(z=1)), [{"z": 1}, None, []]),
}


def routes(store: Gated, later: Callable[[Session], Any]) -> Any:
    async def save(session: Session) -> None:
        session["b"] = 1
        session.flash("two")
        store.between = lambda: later(session)
        await session.save()

    return application({"/fill": fill, "/save": save, "/": look, "/error": errors}, store=store)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("later", "expected"), LATER.values(), ids=LATER.keys())
async def test_what_is_done_while_a_commit_is_under_way_is_committed_next(later: Any, expected: Any) -> None:
    browser = Browser(routes(Gated(), later))
    await browser.get("/fill")
    await browser.get("/save")
    assert (await browser.get("/")).json() == expected


@pytest.mark.parametrize("logout", LOGOUTS.values(), ids=LOGOUTS.keys())
async def test_a_logout_is_final_though_a_commit_is_under_way(logout: Callable[[Session], Any]) -> None:
    app = routes(Gated(), logout)
    browser = Browser(app)
    await browser.get("/fill")
    old = dict(browser.jar)
    await browser.get("/save")
    assert browser.jar == {}
    assert (await Browser(app, jar=old).get("/error")).json() == "UnknownSession"


@pytest.mark.parametrize("logout", LOGOUTS.values(), ids=LOGOUTS.keys())
async def test_a_session_that_ends_while_it_is_created_is_gone(logout: Callable[[Session], Any]) -> None:
    handles: list[bytes] = []

    class Noting(Gated):
        async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
            handles.append(handle)
            return await super().create(handle, new, data, expires_at)

    store = Noting()
    browser = Browser(routes(store, logout))
    await browser.get("/save")
    assert browser.jar == {}
    assert [await store.read(handle) for handle in handles] == [None]


async def test_a_login_while_a_commit_is_under_way_leaves_the_old_cookie_worthless() -> None:
    app = routes(Gated(), Session.regenerate)
    browser = Browser(app)
    await browser.get("/fill")
    old = dict(browser.jar)
    await browser.get("/save")
    assert (await browser.get("/")).json() == [{"a": 1, "b": 1}, None, ["one", "two"]]
    assert (await Browser(app, jar=old).get("/error")).json() == "RegeneratedSession"


async def test_a_login_while_the_response_is_committed_does_not_leave_the_browser_with_a_dead_cookie(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The new cookie could not reach it any more."""
    store = Gated()

    async def late(session: Session) -> None:
        session["b"] = 1
        store.between = lambda: setattr(session, "owner", "alice")

    browser = Browser(application({"/fill": fill, "/late": late, "/": look}, store=store))
    await browser.get("/fill")
    await browser.get("/late")
    assert (await browser.get("/")).json() == [{"a": 1, "b": 1}, None, ["one"]]
    assert "after the response started are lost" in caplog.text


async def test_a_list_that_is_still_in_hand_after_a_save_is_saved_again() -> None:
    async def add(session: Session) -> None:
        session["cart"] = cart = ["apple"]
        await session.save()
        cart.append("pear")

    browser = Browser(application({"/add": add, "/": look}, store=MemoryStore()))
    await browser.get("/add")
    assert (await browser.get("/")).json()[0] == {"cart": ["apple", "pear"]}


async def test_two_tasks_save_one_session_at_once() -> None:
    async def add(session: Session) -> None:
        async def save(key: str) -> None:
            session[key] = 1
            session.flash(key)
            await session.save()

        async with anyio.create_task_group() as group:
            for key in "bcd":
                group.start_soon(save, key)

    browser = Browser(application({"/fill": fill, "/add": add, "/": look}, store=MemoryStore()))
    await browser.get("/fill")
    await browser.get("/add")
    assert (await browser.get("/")).json() == [{"a": 1, "b": 1, "c": 1, "d": 1}, None, ["one", "b", "c", "d"]]


async def test_two_tasks_that_save_a_new_session_create_it_once() -> None:
    async def add(session: Session) -> None:
        async with anyio.create_task_group() as group:
            for key in "abc":
                session[key] = 1
                group.start_soon(session.save)

    class Slow(MemoryStore):
        async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
            await anyio.lowlevel.checkpoint()
            return await super().create(handle, new, data, expires_at)

    store = Slow()
    browser = Browser(application({"/add": add, "/": look}, store=store))
    await browser.get("/add")
    assert len(store) == 1
    assert (await browser.get("/")).json()[0] == {"a": 1, "b": 1, "c": 1}


async def test_a_response_that_starts_while_a_session_is_saved_waits_for_it() -> None:
    saving, go_on = anyio.Event(), anyio.Event()

    class Slow(MemoryStore):
        async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
            saving.set()
            await go_on.wait()
            return await super().create(handle, new, data, expires_at)

    store = Slow()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["a"] = 1
        async with anyio.create_task_group() as group:
            group.start_soon(scope["session"].save)
            await saving.wait()
            group.start_soon(send, {"type": "http.response.start", "status": 200})
            await anyio.lowlevel.checkpoint()
            go_on.set()
        await send({"type": "http.response.body"})

    browser = Browser(SessionMiddleware(app, KEY, store=store))
    response = await browser.get()
    assert len(store) == 1
    assert len(response.set_cookies) == 1
