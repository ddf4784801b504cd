"""A request cancelled at each of its suspension points: commits finish or do not begin, and nothing is left behind."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asgi_sessions import MemoryStore, RecordStore, Session, Stored
from tests.browser import Browser, application, read

STEPS = 200  # event loop turns after which a request is taken to be stuck


class Yielding(MemoryStore):
    """Suspends before and after each operation, as I/O does."""

    async def read(self, handle: bytes) -> Stored | None:
        await checkpoint()
        stored = await super().read(handle)
        await checkpoint()
        return stored

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        await checkpoint()
        done = await super().create(handle, new, data, expires_at)
        await checkpoint()
        return done

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        await checkpoint()
        kept = await super().swap(handle, old, new, data, expires_at)
        await checkpoint()
        return kept

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        await checkpoint()
        done = await super().touch(handle, version, expires_at)
        await checkpoint()
        return done

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        await checkpoint()
        kept = await super().delete(handle, version)
        await checkpoint()
        return kept


class Bounded(Yielding):
    """Its commits need no timer."""

    write_timeout = 1.0


async def write(session: Session) -> None:
    session["n"] = session.get("n", 0) + 1
    session.flash(str(session["n"]))


async def state(session: Session) -> Any:
    return [session.get("n", 0), len(session.peek_flashes())]


async def logout(session: Session) -> None:
    session.invalidate()


async def exclusive(scope: Any) -> None:
    async with scope["sessions"].exclusive(timeout=2) as session:
        session["n"] += 1
        session.flash("exclusive")


ROUTES = {"/write": write, "/logout": logout, "/": state, "/all": read, "/exclusive": exclusive}


async def cancel_task(request: Callable[[], Any], steps: int) -> bool:
    """Cancel a request with ``task.cancel()`` after so many turns of the event loop; False: it was faster."""
    task = asyncio.ensure_future(request())
    for _ in range(steps):
        await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    await asyncio.wait([task])
    return not done


async def cancel_twice(request: Callable[[], Any], steps: int) -> bool:
    """Cancel it again while the commit completes."""
    task = asyncio.ensure_future(request())
    for _ in range(steps):
        await asyncio.sleep(0)
    done = task.done()
    for _ in range(4):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    return not done


async def cancel_scope(request: Callable[[], Any], steps: int) -> bool:
    """Cancel it as anyio's task groups do: each further await is cancelled again."""
    done = anyio.Event()

    async def run() -> None:
        await request()
        done.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        for _ in range(steps):
            await checkpoint()
        was_done = done.is_set()
        group.cancel_scope.cancel()
    return not was_done


CANCELLATIONS = [cancel_task, cancel_twice, cancel_scope]


async def each_point(cancel: Any, app: Any, path: str, check: Callable[[Browser, Any, Any], Any], minimum: int) -> None:
    """Cancel a request to ``path`` at its first, second, ... point, until one is not cancelled any more."""
    for steps in range(STEPS):
        visitor = Browser(app)
        await visitor.get("/write")
        before = (await visitor.get("/")).json()
        other = Browser(app, jar=dict(visitor.jar))
        cancelled = await cancel(lambda other=other: other.get(path), steps)
        with anyio.fail_after(5):
            await check(visitor, before, (await visitor.get("/")).json())
        if not cancelled:
            assert steps >= minimum, f"only {steps} points were hit"
            return
    raise AssertionError("the request never ended")


async def whole_or_nothing(visitor: Browser, before: Any, after: Any) -> None:
    assert after in ([1, 1], [2, 2])
    await visitor.get("/write")
    assert (await visitor.get("/")).json() == [after[0] + 1, after[1] + 1]


async def gone_or_there(visitor: Browser, before: Any, after: Any) -> None:
    assert after in ([1, 1], [0, 0])


@pytest.mark.parametrize("kind", [Yielding, Bounded])
@pytest.mark.parametrize("cancel", CANCELLATIONS)
async def test_a_cancelled_write_took_place_as_a_whole_or_not_at_all(cancel: Any, kind: type[Yielding]) -> None:
    app = application(ROUTES, store=kind())
    await each_point(cancel, app, "/write", whole_or_nothing, minimum=5)


@pytest.mark.parametrize("cancel", CANCELLATIONS)
async def test_a_cancelled_logout_took_place_or_not(cancel: Any) -> None:
    app = application(ROUTES, store=Yielding())
    await each_point(cancel, app, "/logout", gone_or_there, minimum=5)


@pytest.mark.parametrize("cancel", CANCELLATIONS)
async def test_a_cancelled_exclusive_section_leaves_no_lease_behind(cancel: Any) -> None:
    async def enter_again(visitor: Browser, before: Any, after: Any) -> None:
        assert after in ([1, 1], [2, 2])
        assert (await visitor.get("/exclusive")).status == 200

    app = application(ROUTES, store=Yielding())
    await each_point(cancel, app, "/exclusive", enter_again, minimum=8)


@pytest.mark.parametrize("kind", [Yielding, Bounded])
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_under_trio_as_well(kind: type[Yielding]) -> None:
    app = application(ROUTES, store=kind())
    await each_point(cancel_scope, app, "/write", whole_or_nothing, minimum=5)
    await each_point(cancel_scope, app, "/exclusive", lambda *_: checkpoint(), minimum=8)


@pytest.mark.parametrize("cancel", CANCELLATIONS)
@pytest.mark.parametrize("path", ["/write", "/logout"])
async def test_over_real_stores_as_well(server_store: RecordStore, cancel: Any, path: str) -> None:
    """Where the points are depends on threads and sockets here; some are hit in any case."""
    app = application(ROUTES, store=server_store)
    check = whole_or_nothing if path == "/write" else gone_or_there
    for steps in range(12):
        visitor = Browser(app)
        await visitor.get("/write")
        other = Browser(app, jar=dict(visitor.jar))
        await cancel(lambda other=other: other.get(path), steps)
        with anyio.fail_after(10):
            await check(visitor, None, (await visitor.get("/")).json())


@pytest.mark.parametrize("seconds", [1.0, math.inf])
async def test_once_a_commit_began_a_cancellation_lets_it_complete(seconds: float) -> None:
    """The very moment: the store is writing when the cancellation comes."""
    writing, go_on = anyio.Event(), anyio.Event()

    class Slow(MemoryStore):
        write_timeout = seconds

        async def swap(
            self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
        ) -> Stored | None:
            writing.set()
            await go_on.wait()
            return await super().swap(handle, old, new, data, expires_at)

    app = application(ROUTES, store=Slow())
    visitor = Browser(app)
    await visitor.get("/write")
    task = asyncio.ensure_future(Browser(app, jar=dict(visitor.jar)).get("/write"))
    await writing.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await visitor.get("/")).json() == [2, 2]
