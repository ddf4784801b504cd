"""Sessions that ended in this request or in another one: whatever is done to them next, they stay ended."""

from typing import Any

import pytest

from asgi_sessions import (
    MemoryStore,
    ResponseStarted,
    Session,
    SessionMiddleware,
    SessionSuperseded,
    StoreUnavailable,
)
from tests.browser import KEY, Browser, application, read, respond


async def fill(session: Session) -> None:
    session["a"] = 1


async def login(session: Session) -> None:
    session.owner = "alice"


async def superseded(handler: Any) -> None:
    """A request with the cookie from before the login sends no cookie, whatever its handler does."""
    browser = Browser(application({"/fill": fill, "/login": login, "/x": handler}, store=MemoryStore()))
    await browser.get("/fill")
    straggler = Browser(browser.app, jar=dict(browser.jar))
    await browser.get("/login")
    assert (await straggler.get("/x")).set_cookies == []


async def test_reload_does_not_revive_a_superseded_session() -> None:
    async def reload(session: Session) -> None:
        await session.reload()
        session["x"] = 1

    await superseded(reload)


async def test_an_exclusive_section_that_failed_does_not_revive_a_superseded_session() -> None:
    async def enter(scope: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            async with scope["sessions"].exclusive() as session:
                _ = 1 / 0
        session["x"] = 1

    await superseded(enter)


async def test_what_a_superseded_session_was_given_can_not_be_saved() -> None:
    async def save(session: Session) -> None:
        session["x"] = 1
        with pytest.raises(SessionSuperseded, match="dropped"):
            await session.save()
        await session.save()  # what was dropped is dropped

    await superseded(save)


async def test_reload_does_not_undo_a_logout() -> None:
    async def leave(session: Session) -> None:
        session.invalidate()
        await session.reload()

    browser = Browser(application({"/fill": fill, "/logout": leave, "/": read}, store=MemoryStore()))
    await browser.get("/fill")
    await browser.get("/logout")
    assert browser.jar == {}
    assert (await browser.get("/")).json() == {}


async def test_a_new_session_after_a_logout_expires_the_cookie_of_the_former_path() -> None:
    async def move(session: Session) -> None:
        session["a"] = 1
        session.cookie_options = session.cookie_options.replace(path="/shop")

    async def leave(session: Session) -> None:
        session.invalidate()
        session["b"] = 2

    browser = Browser(application({"/fill": move, "/logout": leave}))
    await browser.get("/fill")
    response = await browser.get("/logout")
    assert [line.split("; HttpOnly")[0].split("; ", 1)[1][:22] for line in response.set_cookies] == [
        "Path=/shop; Max-Age=0;",
        "Path=/; Max-Age=120960",
    ]


async def test_a_login_after_a_logout_can_be_saved_again_when_the_store_has_failed() -> None:
    class Once(MemoryStore):
        down = False

        async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
            if self.down:
                self.down = False
                raise StoreUnavailable("down")
            return await super().create(handle, new, data, expires_at)

    store = Once()

    async def change_user(session: Session) -> None:
        session.invalidate()
        session["user"] = 1
        store.down = True
        with pytest.raises(StoreUnavailable):
            await session.save()
        await session.save()

    browser = Browser(application({"/fill": fill, "/x": change_user, "/": read}, store=store))
    await browser.get("/fill")
    await browser.get("/x")
    assert (await browser.get("/")).json() == {"user": 1}


@pytest.mark.parametrize("choose", ["remember", "forget", "path"])
async def test_a_late_choice_that_needs_a_cookie_is_a_clear_error(choose: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        session["a"] = 1
        await respond(send)
        with pytest.raises(ResponseStarted, match="after the response started; it needs a cookie"):
            if choose == "path":
                session.cookie_options = session.cookie_options.replace(path="/shop")
            elif choose == "remember":
                session.remember(10**6)
            else:
                session.forget()

    browser = Browser(SessionMiddleware(app, KEY, store=MemoryStore()))
    assert (await browser.get()).status == 200
