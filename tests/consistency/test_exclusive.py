"""Exclusive sections: one at a time, over all processes."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asgi_sessions import (
    CookieStore,
    LeaseExpired,
    LeaseTimeout,
    MemoryStore,
    NotSupported,
    RecordStore,
    Session,
    SessionSuperseded,
    Stored,
)
from tests.browser import Browser, Clock, application, read


async def fill(session: Session) -> None:
    session["n"] = 0


async def logout(session: Session) -> None:
    session.invalidate()


async def state(session: Session) -> Any:
    return [dict(session), bool(session.loaded and session.loaded.record.lease)]


def browser(handler: Any, store: Any, **options: Any) -> Browser:
    routes = {"/fill": fill, "/logout": logout, "/": read, "/state": state, "/x": handler}
    return Browser(application(routes, store=store, **options))


def tab(of: Browser) -> Browser:
    return Browser(of.app, jar=dict(of.jar))


async def test_increments_at_once_are_all_counted(server_store: RecordStore) -> None:
    async def increment(scope: Any) -> None:
        async with scope["sessions"].exclusive(timeout=20) as session:
            n = session["n"]
            await anyio.lowlevel.checkpoint()
            session["n"] = n + 1

    visitor = browser(increment, server_store)
    await visitor.get("/fill")
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(tab(visitor).get, "/x")
    assert (await visitor.get("/state")).json() == [{"n": 20}, False]


async def test_two_stores_of_one_directory_take_turns(tmp_path: Any) -> None:
    """As two processes do: they share no queue."""
    from asgi_sessions import FilesystemStore

    async def increment(scope: Any) -> None:
        async with scope["sessions"].exclusive(timeout=20) as session:
            n = session["n"]
            await anyio.lowlevel.checkpoint()
            session["n"] = n + 1

    stores = [FilesystemStore(tmp_path) for _ in range(2)]
    visitors = [browser(increment, store) for store in stores]
    await visitors[0].get("/fill")
    visitors[1].jar = visitors[0].jar
    async with anyio.create_task_group() as group:
        for index in range(12):
            group.start_soon(tab(visitors[index % 2]).get, "/x")
    assert (await visitors[0].get("/")).json() == {"n": 12}
    for store in stores:
        await store.close()


async def test_it_loads_fresh_and_saves_what_was_changed_before(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> None:
        session = await scope["sessions"].get()
        session["before"] = True
        await tab(visitor).get("/fill-more")
        async with scope["sessions"].exclusive() as inside:
            assert inside is session
            assert dict(inside) == {"n": 0, "before": True, "more": True}
            inside["inside"] = True
        session["after"] = True

    async def more(session: Session) -> None:
        session["more"] = True

    visitor = browser(enter, server_store)
    routes = {"/fill": fill, "/fill-more": more, "/": read, "/x": enter}
    visitor.app = application(routes, store=server_store)
    await visitor.get("/fill")
    await visitor.get("/x")
    kept = (await visitor.get("/")).json()
    assert kept == {"n": 0, "before": True, "more": True, "inside": True, "after": True}


async def test_an_error_inside_drops_the_changes_and_lets_the_next_one_in(server_store: RecordStore) -> None:
    async def fail(scope: Any) -> Any:
        with pytest.raises(ZeroDivisionError):
            async with scope["sessions"].exclusive() as session:
                session["n"] = 1
                session.flash("inside")
                _ = 1 / 0
        assert dict(session) == {"n": 0}
        async with scope["sessions"].exclusive(timeout=0.5) as session:
            return dict(session)

    visitor = browser(fail, server_store)
    await visitor.get("/fill")
    assert (await visitor.get("/x")).json() == {"n": 0}
    assert (await visitor.get("/state")).json() == [{"n": 0}, False]


async def test_a_cancellation_inside_lets_the_next_one_in(server_store: RecordStore) -> None:
    async def hang(scope: Any) -> None:
        async with scope["sessions"].exclusive() as session:
            session["n"] = 1
            inside.set()
            await anyio.sleep_forever()

    inside = anyio.Event()
    visitor = browser(hang, server_store)
    await visitor.get("/fill")
    async with anyio.create_task_group() as group:
        group.start_soon(tab(visitor).get, "/x")
        await inside.wait()
        group.cancel_scope.cancel()
    assert (await visitor.get("/state")).json() == [{"n": 0}, False]


async def test_a_holder_that_died_blocks_no_longer_than_its_lease(server_store: RecordStore, clock: Clock) -> None:
    async def die(scope: Any) -> None:
        section = scope["sessions"].exclusive(lease=10)
        await section.__aenter__()
        never_left.append(section)

    async def enter(scope: Any) -> None:
        async with scope["sessions"].exclusive(timeout=0.2) as session:
            session["n"] += 1

    never_left: list[Any] = []
    routes = {"/fill": fill, "/die": die, "/x": enter, "/": read}
    visitor = Browser(application(routes, store=server_store, clock=clock))
    await visitor.get("/fill")
    await tab(visitor).get("/die")
    response = await visitor.get("/x")
    assert response.status == 503
    clock.now += 10
    assert (await visitor.get("/x")).status == 200
    assert (await visitor.get("/")).json() == {"n": 1}


async def test_waiting_is_bounded(server_store: RecordStore) -> None:
    async def enter_twice(scope: Any) -> None:
        async with scope["sessions"].exclusive():
            await tab(visitor).get("/impatient")

    async def impatient(scope: Any) -> None:
        with pytest.raises(LeaseTimeout, match=r"'session': its exclusive section was not free within 0\.1 s"):
            async with scope["sessions"].exclusive(timeout=0.1):
                raise AssertionError("it was not free")

    routes = {"/fill": fill, "/x": enter_twice, "/impatient": impatient, "/state": state}
    visitor = Browser(application(routes, store=server_store))
    await visitor.get("/fill")
    assert (await visitor.get("/x")).status == 200
    assert (await visitor.get("/state")).json() == [{"n": 0}, False]


async def test_a_holder_that_outlived_its_lease_commits_nothing(server_store: RecordStore, clock: Clock) -> None:
    async def outlive(scope: Any) -> Any:
        with pytest.raises(LeaseExpired, match="outlived its lease"):
            async with scope["sessions"].exclusive(lease=10) as session:
                session["n"] = 99
                clock.now += 10
                if others:
                    await others.pop().get("/enter")
        return dict(session)

    async def enter(scope: Any) -> None:
        async with scope["sessions"].exclusive() as session:
            session["n"] += 1

    routes = {"/fill": fill, "/x": outlive, "/enter": enter, "/": read}
    visitor = Browser(application(routes, store=server_store, clock=clock))
    await visitor.get("/fill")
    others = [tab(visitor)]
    await visitor.get("/x")
    assert (await visitor.get("/")).json() == {"n": 1}
    await visitor.get("/x")
    assert (await visitor.get("/")).json() == {"n": 1}


async def test_ordinary_writers_are_not_kept_out(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> None:
        async with scope["sessions"].exclusive() as session:
            await tab(visitor).get("/write")
            session["n"] = 1

    async def write(session: Session) -> None:
        session["other"] = True
        session["n"] = 50

    routes = {"/fill": fill, "/x": enter, "/write": write, "/state": state}
    visitor = Browser(application(routes, store=server_store))
    await visitor.get("/fill")
    await visitor.get("/x")
    assert (await visitor.get("/state")).json() == [{"n": 1, "other": True}, False]


async def test_a_logout_meanwhile_ends_the_section(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> None:
        with pytest.raises(SessionSuperseded):
            async with scope["sessions"].exclusive() as session:
                await tab(visitor).get("/logout")
                session["n"] = 1
        with pytest.raises(SessionSuperseded):
            async with scope["sessions"].exclusive():
                raise AssertionError("there is no session any more")

    visitor = browser(enter, server_store)
    await visitor.get("/fill")
    response = await visitor.get("/x")
    assert response.set_cookies == []
    assert (await visitor.get("/")).json() == {}


async def test_logging_out_and_in_inside_works(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> None:
        async with scope["sessions"].exclusive() as session:
            session.invalidate()
            session["fresh"] = True

    visitor = browser(enter, server_store)
    await visitor.get("/fill")
    assert len((await visitor.get("/x")).set_cookies) == 1
    assert (await visitor.get("/state")).json() == [{"fresh": True}, False]


async def test_regenerating_inside_works(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> None:
        async with scope["sessions"].exclusive() as session:
            session.owner = "alice"

    visitor = browser(enter, server_store)
    await visitor.get("/fill")
    assert len((await visitor.get("/x")).set_cookies) == 1
    assert (await visitor.get("/state")).json() == [{"n": 0}, False]


async def test_saving_inside_keeps_the_lease(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> Any:
        async with scope["sessions"].exclusive() as session:
            session["n"] = 1
            await session.save()
            return (await tab(visitor).get("/state")).json()

    visitor = browser(enter, server_store)
    await visitor.get("/fill")
    n, lease = (await visitor.get("/x")).json()
    assert n == {"n": 1}
    assert lease is True
    assert (await visitor.get("/state")).json() == [{"n": 1}, False]


async def test_a_session_that_is_new_is_created_at_the_end(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> Any:
        with pytest.raises(ZeroDivisionError):
            async with scope["sessions"].exclusive() as session:
                session["dropped"] = True
                _ = 1 / 0
        async with scope["sessions"].exclusive() as session:
            session["n"] = session.get("n", 0) + 1
        return dict(session)

    visitor = browser(enter, server_store)
    response = await visitor.get("/x")
    assert response.json() == {"n": 1}
    assert len(response.set_cookies) == 1
    assert (await visitor.get("/")).json() == {"n": 1}


async def test_a_section_inside_itself_is_refused(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> None:
        async with scope["sessions"].exclusive():
            with pytest.raises(NotSupported, match="in its exclusive section already"):
                async with scope["sessions"].exclusive():
                    raise AssertionError("a deadlock otherwise")

    visitor = browser(enter, server_store)
    await visitor.get("/fill")
    assert (await visitor.get("/x")).status == 200


async def test_a_cookie_session_refuses_and_explains() -> None:
    async def enter(scope: Any) -> None:
        with pytest.raises(NotSupported, match="each request has a copy of its own"):
            async with scope["sessions"].exclusive():
                raise AssertionError("nothing is exclusive there")
        with pytest.raises(NotSupported, match="nothing newer to read"):
            await scope["session"].reload()

    assert (await browser(enter, CookieStore()).get("/x")).status == 200


class LosesReplies(MemoryStore):
    """Does what it is told, and then does not answer."""

    lose = False

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        kept = await super().swap(handle, old, new, data, expires_at)
        if self.lose:
            self.lose = False
            raise OSError("connection reset")
        return kept


async def test_a_lease_of_unknown_outcome_is_given_back() -> None:
    store = LosesReplies()

    async def enter(scope: Any) -> None:
        await scope["sessions"].get()
        store.lose = True
        async with scope["sessions"].exclusive():
            raise AssertionError("it was not acquired for all we know")

    visitor = browser(enter, store)
    await visitor.get("/fill")
    assert (await visitor.get("/x")).status == 503
    assert (await visitor.get("/state")).json() == [{"n": 0}, False]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_it_works_under_asyncio_and_trio() -> None:
    async def increment(scope: Any) -> None:
        async with scope["sessions"].exclusive() as session:
            n = session["n"]
            await anyio.lowlevel.checkpoint()
            session["n"] = n + 1

    visitor = browser(increment, MemoryStore())
    await visitor.get("/fill")
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(tab(visitor).get, "/x")
    assert (await visitor.get("/")).json() == {"n": 5}
