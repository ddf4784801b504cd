"""A request that is overtaken by a login or a logout while it has a cookie to send, or is inside a section."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asgi_sessions import RecordStore, Session, SessionSuperseded, get_sessions

from ..browser import Browser, application


async def login(session: Session) -> None:
    session.regenerate()


async def logout(session: Session) -> None:
    session.invalidate()


async def fill(session: Session) -> None:
    session["n"] = 1


async def show(session: Session) -> Any:
    return dict(session)


async def overtaken(store: RecordStore, clock: Any, slow: Any, by: Any, idle: float = 600) -> tuple[Browser, Any]:
    """A browser whose slow request was overtaken by another one of its own, and the slow one's response.

    Args:
        idle: seconds before the slow request.
    """
    reached, go_on = anyio.Event(), anyio.Event()

    async def handler(scope: Any) -> Any:
        async def pause() -> None:
            reached.set()
            await go_on.wait()

        return await slow(scope, pause)

    routes = {"/": show, "/fill": fill, "/slow": handler, "/by": by}
    app = application(routes, store=store, clock=clock, max_age=1000)
    browser = Browser(app)
    await browser.get("/fill")
    clock.now += idle
    late = Browser(app, jar=dict(browser.jar))
    responses = []

    async def answer() -> None:
        responses.append(await late.get("/slow"))

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        await reached.wait()
        await browser.get("/by")
        go_on.set()
    browser.keep(responses[0])
    return browser, responses[0]


async def saved(scope: Any, pause: Any) -> None:
    await scope["session"].save()  # renewal is due: a cookie waits from here on
    await pause()


async def saved_and_reloaded(scope: Any, pause: Any) -> None:
    await saved(scope, pause)
    await scope["session"].reload()


async def saved_and_written(scope: Any, pause: Any) -> None:
    await saved(scope, pause)
    scope["session"]["late"] = True


@pytest.mark.parametrize("slow", [saved, saved_and_reloaded, saved_and_written])
@pytest.mark.parametrize("by", [login, logout])
async def test_a_cookie_that_waited_does_not_come_after_a_newer_one(
    server_store: RecordStore, clock: Any, slow: Any, by: Any
) -> None:
    browser, response = await overtaken(server_store, clock, slow, by)
    assert (response.status, response.set_cookies) == (200, [])
    assert (await browser.get()).json() == ({"n": 1} if by is login else {})


@pytest.mark.parametrize("by", [login, logout])
async def test_a_cookie_that_was_due_only_when_it_was_saved_does_not_come_after_a_newer_one(
    server_store: RecordStore, clock: Any, by: Any
) -> None:
    async def slow(scope: Any, pause: Any) -> None:
        clock.now += 600
        await saved(scope, pause)

    _, response = await overtaken(server_store, clock, slow, by, idle=0)
    assert (response.status, response.set_cookies) == (200, [])


async def test_a_cookie_that_waited_and_was_not_overtaken_is_sent(server_store: RecordStore, clock: Any) -> None:
    _, response = await overtaken(server_store, clock, saved, show)
    assert len(response.set_cookies) == 1


async def test_a_section_that_was_overtaken_ends_and_can_be_entered_again(
    server_store: RecordStore, clock: Any
) -> None:
    async def slow(scope: Any, pause: Any) -> str:
        sessions = get_sessions(scope)
        with pytest.raises(SessionSuperseded):
            async with sessions.exclusive() as session:
                await pause()
                session["a"] = 1
                with pytest.raises(SessionSuperseded):
                    await session.save()
                session["a"] = 2
        with pytest.raises(SessionSuperseded):  # and not: this request is in its exclusive section already
            async with sessions.exclusive():
                pass
        return "left"

    _, response = await overtaken(server_store, clock, slow, login)
    assert response.json() == "left"


async def test_a_login_does_not_wait_for_the_lease_of_a_section_that_it_ended(
    server_store: RecordStore, clock: Any
) -> None:
    entered = []

    async def slow(scope: Any, pause: Any) -> None:
        with pytest.raises(SessionSuperseded):
            async with get_sessions(scope).exclusive() as session:
                await pause()
                session["a"] = 1

    async def enter(scope: Any) -> None:
        scope["session"].regenerate()
        await scope["session"].save()
        async with get_sessions(scope).exclusive(timeout=0.2):
            entered.append(True)

    await overtaken(server_store, clock, slow, enter)
    assert entered


async def test_a_logout_inside_a_section_may_begin_anew_and_save(server_store: RecordStore) -> None:
    async def anew(scope: Any) -> None:
        async with get_sessions(scope).exclusive() as session:
            session.invalidate()
            session["fresh"] = 1
            await session.save()
            session["more"] = 2

    browser = Browser(application({"/": show, "/fill": fill, "/anew": anew}, store=server_store))
    await browser.get("/fill")
    assert (await browser.get("/anew")).status == 200
    assert (await browser.get()).json() == {"fresh": 1, "more": 2}


async def test_a_request_with_the_cookie_from_before_a_login_can_not_save_a_session_of_its_own(
    server_store: RecordStore,
) -> None:
    async def save(session: Session) -> None:
        session["n"] = 2
        with pytest.raises(SessionSuperseded):
            await session.save()

    browser = Browser(application({"/": show, "/fill": fill, "/login": login, "/save": save}, store=server_store))
    await browser.get("/fill")
    late = Browser(browser.app, jar=dict(browser.jar))
    await browser.get("/login")
    assert (await late.get("/save")).set_cookies == []
    assert (await browser.get("/")).json() == {"n": 1}
