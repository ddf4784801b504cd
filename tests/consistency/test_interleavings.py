"""Two requests of one browser at once: no write is lost, no logout undone."""

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asgi_sessions import (
    MemoryStore,
    RecordStore,
    Session,
    SessionConfig,
    SessionSuperseded,
    Store,
    Stored,
    StoreUnavailable,
)
from asgi_sessions._engine.queue import KeyedLock
from tests.browser import Browser, Clock, application, read

from .paused import Slow, held


async def fill(session: Session) -> None:
    session["x"] = 0


async def logout(session: Session) -> None:
    session.invalidate()


async def clear(session: Session) -> None:
    session.clear()


async def clear_and_go_on(session: Session) -> None:
    session.clear()
    session["fresh"] = True


async def login(session: Session) -> None:
    session.owner = "alice"


async def state(session: Session) -> Any:
    return [dict(session), session.owner, [message for _, message in session.peek_flashes()]]


ROUTES = {
    "/fill": fill,
    "/logout": logout,
    "/clear": clear,
    "/clear-and-go-on": clear_and_go_on,
    "/login": login,
    "/state": state,
    "/": read,
}


def browsers(store: Store, **slow: Slow) -> tuple[Browser, Browser]:
    """Two tabs of one browser: two requests at once, with one cookie jar."""
    routes = {**ROUTES, **{f"/{name}": handler for name, handler in slow.items()}}
    first = Browser(application(routes, store=store))
    return first, Browser(first.app, jar=first.jar)


def setting(key: str, value: Any = True) -> Callable[[Session], None]:
    return lambda session: session.__setitem__(key, value)


# -- writes ---------------------------------------------------------------------------------------------------------


async def test_a_write_beside_a_shorter_lifetime_does_not_prolong_the_session() -> None:
    async def brief(session: Session) -> None:
        session.remember(120)

    clock = Clock()
    slow = Slow(setting("a"))
    app = application({**ROUTES, "/slow": slow, "/brief": brief}, store=MemoryStore(), clock=clock)
    browser = Browser(app)
    await browser.get("/fill")
    former = dict(browser.jar)
    async with held(Browser(app, jar=dict(former)), "/slow", slow):
        clock.now += 1  # so that the new cookie is another one
        await browser.get("/brief")
    assert (await Browser(app, jar=dict(former)).get("/")).json() == {"x": 0, "a": True}
    clock.now += 121
    for jar in (former, browser.jar):
        assert (await Browser(app, jar=jar).get("/")).json() == {}


async def test_parallel_writes_of_different_keys_both_survive(server_store: RecordStore) -> None:
    slow, fast = Slow(setting("a")), Slow(setting("b"))
    one, other = browsers(server_store, slow=slow, fast=fast)
    await one.get("/fill")
    async with held(one, "/slow", slow), held(other, "/fast", fast):
        pass
    assert (await one.get("/")).json() == {"x": 0, "a": True, "b": True}


async def test_of_parallel_writes_of_one_key_the_later_commit_wins(server_store: RecordStore) -> None:
    slow, fast = Slow(setting("x", "slow")), Slow(setting("x", "fast"))
    one, other = browsers(server_store, slow=slow, fast=fast)
    await one.get("/fill")
    async with held(one, "/slow", slow):
        async with held(other, "/fast", fast):
            pass
        assert (await other.get("/")).json() == {"x": "fast"}
    assert (await one.get("/")).json() == {"x": "slow"}


async def test_a_removed_key_and_a_new_one_both_take_effect(server_store: RecordStore) -> None:
    slow, fast = Slow(lambda session: session.pop("x")), Slow(setting("b"))
    one, other = browsers(server_store, slow=slow, fast=fast)
    await one.get("/fill")
    async with held(one, "/slow", slow), held(other, "/fast", fast):
        pass
    assert (await one.get("/")).json() == {"b": True}


async def test_a_slow_reader_writes_nothing_back(server_store: RecordStore) -> None:
    slow = Slow(lambda session: [dict(session), session.get("x"), list(session.values())])
    one, other = browsers(server_store, slow=slow, fast=(fast := Slow(setting("x", 1))))
    await one.get("/fill")
    async with held(one, "/slow", slow), held(other, "/fast", fast):
        pass
    assert (await one.get("/")).json() == {"x": 1}


async def test_flashes_added_at_once_are_all_shown_and_each_once(server_store: RecordStore) -> None:
    slow = Slow(lambda session: session.flash("slow"))
    fast = Slow(lambda session: [session.flash("fast"), session.flashes()])
    one, other = browsers(server_store, slow=slow, fast=fast)
    await one.get("/fill")
    async with held(one, "/slow", slow):
        await other.get("/fill")
        async with held(other, "/fast", fast):
            pass
    assert (await one.get("/state")).json()[2] == ["slow"]


async def test_flashes_consumed_at_once_stay_consumed(server_store: RecordStore) -> None:
    add = Slow(lambda session: [session.flash("one", "a"), session.flash("two", "b")])
    slow, fast = Slow(lambda session: session.flashes("a")), Slow(lambda session: session.flashes("b"))
    one, other = browsers(server_store, slow=slow, fast=fast, add=add)
    add.finish.set()
    await one.get("/add")
    async with held(one, "/slow", slow), held(other, "/fast", fast):
        pass
    assert (await one.get("/state")).json()[2] == []


# -- logout, login, clear -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["/logout", "/clear"])
@pytest.mark.parametrize("work", [setting("late"), lambda session: session.regenerate()], ids=["writer", "login"])
async def test_a_slow_request_does_not_bring_a_logged_out_session_back(
    server_store: RecordStore, end: str, work: Any, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow(work)
    one, other = browsers(server_store, slow=slow)
    await one.get("/fill")
    old = dict(one.jar)
    async with held(one, "/slow", slow) as responses:
        await other.get(end)
    assert responses[0].status == 200
    assert responses[0].set_cookies == []
    assert one.jar == {}
    assert (await Browser(one.app, jar=old).get("/")).json() == {}
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "ended or was regenerated meanwhile; the changes of this request are dropped" in warnings[0].getMessage()


async def test_a_slow_reader_of_a_logged_out_session_is_no_matter(
    server_store: RecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow()
    one, other = browsers(server_store, slow=slow)
    await one.get("/fill")
    async with held(one, "/slow", slow) as responses:
        await other.get("/logout")
    assert responses[0].set_cookies == []
    assert not caplog.records


async def test_a_slow_logout_ends_a_session_that_was_written_to_meanwhile(server_store: RecordStore) -> None:
    slow = Slow(lambda session: session.invalidate())
    one, other = browsers(server_store, slow=slow, fast=(fast := Slow(setting("x", 1))))
    await one.get("/fill")
    old = dict(one.jar)
    async with held(one, "/slow", slow), held(other, "/fast", fast):
        pass
    assert (await Browser(one.app, jar=old).get("/")).json() == {}


async def test_what_was_written_before_a_clear_stays_cleared(server_store: RecordStore) -> None:
    slow = Slow(setting("late"))
    one, other = browsers(server_store, slow=slow)
    await one.get("/fill")
    async with held(one, "/slow", slow) as responses:
        await other.get("/clear-and-go-on")
    assert responses[0].set_cookies == []
    assert (await one.get("/")).json() == {"fresh": True}


async def test_a_clear_clears_what_others_wrote_meanwhile(server_store: RecordStore) -> None:
    slow = Slow(lambda session: [session.clear(), session.update(fresh=True)])
    one, other = browsers(server_store, slow=slow, fast=(fast := Slow(setting("late"))))
    await one.get("/fill")
    async with held(one, "/slow", slow), held(other, "/fast", fast):
        pass
    assert (await one.get("/")).json() == {"fresh": True}


async def test_a_slow_writer_does_not_write_into_the_session_of_a_login(server_store: RecordStore) -> None:
    slow = Slow(setting("late"))
    one, other = browsers(server_store, slow=slow)
    await one.get("/fill")
    async with held(one, "/slow", slow) as responses:
        await other.get("/login")
        after_login = dict(other.jar)
    assert responses[0].set_cookies == []
    assert one.jar == after_login
    assert (await one.get("/state")).json() == [{"x": 0}, "alice", []]


@pytest.mark.parametrize("login_answers_first", [True, False])
async def test_a_request_with_the_old_cookie_that_loads_after_the_login_changes_nothing(
    server_store: RecordStore, login_answers_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow(setting("late"))
    one, _ = browsers(server_store, slow=slow)
    await one.get("/fill")
    old = dict(one.jar)
    login_response = await Browser(one.app, jar=dict(old)).get("/login")
    straggler = Browser(one.app, jar=dict(old))
    async with held(straggler, "/slow", slow) as responses:
        pass
    for response in (login_response, *responses) if login_answers_first else (*responses, login_response):
        one.keep(response)
    assert responses[0].set_cookies == []
    assert one.jar != old
    assert (await one.get("/state")).json() == [{"x": 0}, "alice", []]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_of_two_logins_at_once_one_wins_and_the_other_sends_no_cookie(server_store: RecordStore) -> None:
    def sign_in(session: Session) -> None:
        session.owner = "alice"

    slow, fast = Slow(sign_in), Slow(sign_in)
    one, other = browsers(server_store, slow=slow, fast=fast)
    await one.get("/fill")
    async with held(one, "/slow", slow) as late, held(other, "/fast", fast) as early:
        pass
    assert len(early[0].set_cookies) == 1
    assert late[0].set_cookies == []
    assert (await one.get("/state")).json()[1] == "alice"


async def test_a_due_renewal_of_an_ended_session_sends_no_cookie(server_store: RecordStore, clock: Any) -> None:
    slow = Slow()
    routes = {**ROUTES, "/slow": slow}
    one = Browser(application(routes, store=server_store, clock=clock, max_age=3600))
    await one.get("/fill")
    clock.now += 1800
    async with held(one, "/slow", slow) as responses:
        await Browser(one.app, jar=dict(one.jar)).get("/logout")
    assert responses[0].set_cookies == []


async def test_a_renewal_and_a_write_at_once_both_take_effect(server_store: RecordStore, clock: Any) -> None:
    slow = Slow()
    routes = {**ROUTES, "/slow": slow}
    one = Browser(application(routes, store=server_store, clock=clock, max_age=3600))
    await one.get("/fill")
    clock.now += 1800
    async with held(one, "/slow", slow) as responses:
        await Browser(one.app, jar=dict(one.jar)).get("/login")
        await Browser(one.app, jar=dict(one.jar)).get("/")
    assert responses[0].set_cookies == []


# -- save and reload ------------------------------------------------------------------------------------------------


async def test_save_says_that_a_logout_was_faster(server_store: RecordStore) -> None:
    async def save(scope: Any) -> Any:
        session = await scope["sessions"].get()
        session["late"] = True
        await Browser(app, jar=dict(browser.jar)).get("/logout")
        with pytest.raises(SessionSuperseded, match="the changes of this request are dropped"):
            await session.save()
        await session.save()
        session["later"] = True
        with pytest.raises(ExceptionGroup, match="not saved: 'session'") as caught:
            await scope["sessions"].save()
        assert caught.group_contains(SessionSuperseded)

    app = application({**ROUTES, "/save": save}, store=server_store)
    browser = Browser(app)
    await browser.get("/fill")
    assert (await browser.get("/save")).set_cookies == []


async def test_reload_sees_what_others_wrote_and_drops_what_was_not_saved(server_store: RecordStore) -> None:
    async def reload(session: Session) -> Any:
        session["mine"] = True
        await Browser(app, jar=dict(browser.jar)).get("/write")
        await session.reload()
        return dict(session)

    async def write(session: Session) -> None:
        session["theirs"] = True

    app = application({**ROUTES, "/reload": reload, "/write": write}, store=server_store)
    browser = Browser(app)
    await browser.get("/fill")
    assert (await browser.get("/reload")).json() == {"x": 0, "theirs": True}
    assert (await browser.get("/")).json() == {"x": 0, "theirs": True}


async def test_reload_sees_a_logout_and_nothing_is_written_afterwards(server_store: RecordStore) -> None:
    async def reload(session: Session) -> Any:
        await Browser(app, jar=dict(browser.jar)).get("/logout")
        await session.reload()
        session["late"] = True
        return [session.is_new, type(session.error).__name__]

    app = application({**ROUTES, "/reload": reload}, store=server_store)
    browser = Browser(app)
    await browser.get("/fill")
    response = await browser.get("/reload")
    assert response.json() == [True, "UnknownSession"]
    assert response.set_cookies == []


async def test_what_was_saved_is_the_base_of_what_comes_next(server_store: RecordStore) -> None:
    """A key that a parallel request added is not taken for one that was removed here."""

    async def save(session: Session) -> None:
        session["a"] = 1
        await Browser(app, jar=dict(browser.jar)).get("/write")
        await session.save()
        session["b"] = 2

    async def write(session: Session) -> None:
        session["theirs"] = True

    app = application({**ROUTES, "/save": save, "/write": write}, store=server_store)
    browser = Browser(app)
    await browser.get("/fill")
    await browser.get("/save")
    assert (await browser.get("/")).json() == {"x": 0, "theirs": True, "a": 1, "b": 2}


# -- several sessions -----------------------------------------------------------------------------------------------


class Failing(MemoryStore):
    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        raise StoreUnavailable("down")


async def test_when_one_of_three_commits_fails_the_answer_is_503_with_the_cookies_of_the_others(
    server_store: RecordStore,
) -> None:
    async def write(scope: Any) -> None:
        for name in ("a", "b", "c"):
            session = await scope["sessions"].get(name)
            session["n"] = session.get("n", 0) + 1
            if name != "b":
                session.regenerate()

    configured = [SessionConfig("a", store=server_store), SessionConfig("b", store=Failing()), SessionConfig("c")]
    browser = Browser(application(write, sessions=configured))
    assert (await browser.get()).status == 200
    response = await browser.get()
    assert response.status == 503
    assert response.header("retry-after") == "5"
    assert sorted(line.partition("=")[0] for line in response.set_cookies) == ["a", "c"]

    async def look(scope: Any) -> Any:
        return [(await scope["sessions"].get(name))["n"] for name in ("a", "b", "c")]

    browser.app = application(look, sessions=configured)
    assert (await browser.get()).json() == [2, 1, 2]


async def test_fifty_parallel_requests_keep_fifty_keys(server_store: RecordStore) -> None:
    async def write(scope: Any) -> None:
        session = await scope["sessions"].get()
        arrived.append(1)
        if len(arrived) == 50:
            everybody.set()
        await everybody.wait()
        session[scope["query_string"].decode()] = True

    arrived: list[int] = []
    everybody = anyio.Event()
    app = application({**ROUTES, "/write": write}, store=server_store)
    browser = Browser(app)
    await browser.get("/fill")

    async def request(index: int) -> None:
        scope = browser.scope("/write") | {"query_string": b"%d" % index}

        async def send(message: Any) -> None:
            pass

        await app(scope, None, send)

    async with anyio.create_task_group() as group:
        for index in range(50):
            group.start_soon(request, index)
    assert len((await browser.get("/")).json()) == 51


class CountsSwaps(MemoryStore):
    """As a store that takes a turn of the event loop to answer."""

    swaps = 0

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        self.swaps += 1
        await anyio.lowlevel.checkpoint()
        kept = await super().swap(handle, old, new, data, expires_at)
        await anyio.lowlevel.checkpoint()
        return kept


async def test_writers_of_one_process_race_once_and_line_up_from_then_on() -> None:
    """All against all would be thousands of swaps."""

    async def write(scope: Any) -> None:
        session = await scope["sessions"].get()
        session[scope["query_string"].decode()] = True

    async def request(index: int) -> None:
        async def send(message: Any) -> None:
            pass

        await app(browser.scope("/write") | {"query_string": b"%d" % index}, None, send)

    store = CountsSwaps()
    app = application({**ROUTES, "/write": write}, store=store)
    browser = Browser(app)
    await browser.get("/fill")
    async with anyio.create_task_group() as group:
        for index in range(100):
            group.start_soon(request, index)
    assert len((await browser.get("/")).json()) == 101
    assert 100 < store.swaps <= 3 * 100


async def test_who_comes_later_does_not_overtake_those_who_line_up() -> None:
    """They would be faster every time, until the others give up."""

    async def write(session: Session) -> str | None:
        session["x"] = 1
        return session.handle

    store = CountsSwaps()
    browser = Browser(application({**ROUTES, "/write": write}, store=store))
    await browser.get("/fill")
    handle = bytes.fromhex((await browser.get("/write")).json())
    before = store.swaps
    async with anyio.create_task_group() as group, KeyedLock(store, handle):
        group.start_soon(browser.get, "/clear-and-go-on")
        await anyio.wait_all_tasks_blocked()
        assert store.swaps == before
    assert store.swaps == before + 1


async def test_a_slow_logout_does_not_expire_the_cookie_of_a_newer_session(server_store: RecordStore) -> None:
    """Logged out twice, and logged in again in between."""
    slow = Slow(lambda session: session.invalidate())
    one, other = browsers(server_store, slow=slow)
    await one.get("/fill")
    async with held(one, "/slow", slow) as responses:
        await other.get("/logout")
        await other.get("/login")
        newer = dict(other.jar)
    assert newer
    assert responses[0].set_cookies == []
    assert one.jar == newer


async def test_a_logout_with_a_cookie_that_is_unknown_by_now_expires_nothing(server_store: RecordStore) -> None:
    one, other = browsers(server_store)
    await one.get("/fill")
    straggler = Browser(one.app, jar=dict(one.jar))
    await other.get("/logout")
    assert (await straggler.get("/logout")).set_cookies == []


async def test_a_superseded_request_can_not_begin_a_new_session_by_logging_out(server_store: RecordStore) -> None:
    one, other = browsers(server_store, slow=(slow := Slow(lambda s: [s.invalidate(), s.update(late=True)])))
    await one.get("/fill")
    straggler = Browser(one.app, jar=dict(one.jar))
    await other.get("/login")
    async with held(straggler, "/slow", slow) as responses:
        pass
    assert responses[0].set_cookies == []
