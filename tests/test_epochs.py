"""Cookie sessions of one owner end together when the owner's epoch is raised."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asgi_sessions import (
    MemoryStore,
    Session,
    SessionConfig,
    SessionMiddleware,
    SessionNotLoaded,
    UnknownSession,
    get_session,
)

from .browser import KEY, Browser, Clock, application, respond


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Epochs:
    """What an application keeps: a number for each user."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}
        self.asked = 0

    def __call__(self, owner: Any) -> int:
        self.asked += 1
        return self.numbers.get(owner, 0)


class AsyncEpochs(Epochs):
    async def __call__(self, owner: Any) -> int:  # type: ignore[override]  # the other kind of function
        return super().__call__(owner)


@pytest.fixture(params=[Epochs, AsyncEpochs])
def epochs(request: pytest.FixtureRequest) -> Epochs:
    return request.param()  # type: ignore[no-any-return]  # one of the two


async def login(session: Session) -> None:
    session.owner = "ann"
    session["n"] = 1


async def save(session: Session) -> None:
    session.owner = "ann"
    await session.save()


async def who(session: Session) -> Any:
    return [session.owner, type(session.error).__name__]


async def count(session: Session) -> None:
    session["n"] += 1


async def plain(session: Session) -> None:
    session["n"] = 0


async def untouched(session: Session) -> None:
    pass


ROUTES = {"/login": login, "/save": save, "/who": who, "/count": count, "/plain": plain, "/untouched": untouched}


def site(epochs: Any, **options: Any) -> Any:
    return application(ROUTES, epochs=epochs, **options)


async def test_a_session_that_is_only_read_is_renewed_when_it_is_due(epochs: Epochs) -> None:
    clock = Clock()
    browser = Browser(site(epochs, clock=clock, max_age=1000))
    await browser.get("/login")
    clock.now += 50
    assert not (await browser.get("/who")).set_cookies
    clock.now += 100
    assert (await browser.get("/who")).set_cookies


@pytest.mark.parametrize("way_in", ["/login", "/save"])
@pytest.mark.parametrize("encrypt", [False, True])
async def test_raising_the_epoch_ends_all_sessions_of_the_owner(epochs: Epochs, way_in: str, encrypt: bool) -> None:
    epochs.numbers["ann"] = 3
    app = site(epochs, encrypt=encrypt)
    laptop, phone = Browser(app), Browser(app)
    for browser in (laptop, phone):
        await browser.get(way_in)
        assert (await browser.get("/who")).json() == ["ann", "NoneType"]
    epochs.numbers["ann"] = 4
    for browser in (laptop, phone):
        assert (await browser.get("/who")).json() == [None, UnknownSession.__name__]
    await laptop.get("/login")
    assert (await laptop.get("/who")).json() == ["ann", "NoneType"]


async def test_what_is_sealed_anew_keeps_the_epoch_of_its_login(epochs: Epochs, clock: Clock) -> None:
    browser = Browser(site(epochs, clock=clock))
    await browser.get("/login")
    clock.now += 5 * 86400
    await browser.get("/count")
    copy = Browser(browser.app, jar=dict(browser.jar))
    epochs.numbers["ann"] = 1
    assert (await copy.get("/who")).json() == [None, "UnknownSession"]


async def test_sessions_without_an_owner_ask_for_no_epoch(epochs: Epochs) -> None:
    browser = Browser(site(epochs))
    await browser.get("/plain")
    await browser.get("/count")
    assert (epochs.asked, (await browser.get("/who")).json()) == (0, [None, "NoneType"])


async def test_a_login_under_way_is_sealed_with_the_epoch_that_it_found() -> None:
    epochs = Epochs()

    async def overtaken(session: Session) -> None:
        session.owner = "ann"
        await session.save()
        epochs.numbers["ann"] = 1  # log out everywhere

    browser = Browser(application({"/login": overtaken, "/who": who}, epochs=epochs))
    await browser.get("/login")
    assert (await browser.get("/who")).json() == [None, "UnknownSession"]


async def test_a_function_that_fails_is_answered_with_503_and_nothing_is_let_in() -> None:
    down = False

    async def epochs(owner: Any) -> int:
        if down:
            raise ConnectionError("down")
        return 0

    browser = Browser(site(epochs))
    await browser.get("/login")
    down = True
    response = await browser.get("/count")
    assert (response.status, response.set_cookies) == (503, [])
    assert (await browser.get("/untouched")).status == 200
    stranger = Browser(browser.app)
    response = await stranger.get("/login")
    assert (response.status, response.set_cookies) == (503, [])
    down = False
    assert (await browser.get("/who")).json() == ["ann", "NoneType"]


@pytest.mark.parametrize("number", [None, -1, True, "1", 2**41])
async def test_what_is_no_number_is_the_application_s_fault(number: Any) -> None:
    async def epochs(owner: Any) -> Any:
        return number

    with pytest.raises(TypeError, match="epochs must return a number"):
        await Browser(site(epochs)).get("/login")


async def test_without_autoload_it_is_awaited(epochs: Epochs) -> None:
    async def unloaded(scope: Any) -> None:
        with pytest.raises(SessionNotLoaded, match="await get_sessions"):
            _ = scope["session"]["n"]
        assert (await get_session(scope)).owner is None

    assert (await Browser(application(unloaded, epochs=epochs, autoload=False)).get()).status == 200


async def test_sessions_on_the_server_do_not_inherit_it(epochs: Epochs) -> None:
    async def both(scope: Any) -> None:
        for name in ("session", "cart"):
            (await get_session(scope, name)).owner = "ann"

    app = application(both, epochs=epochs, sessions=[SessionConfig("cart", store=MemoryStore())])
    assert len((await Browser(app).get()).set_cookies) == 2
    assert epochs.asked == 1


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="epochs are for cookie sessions; those of this store can be listed and ended"):
        site(Epochs(), store=MemoryStore())
    with pytest.raises(TypeError, match="epochs=3: write a function that returns a number"):
        site(3)


async def test_a_further_session_may_be_opened_while_the_epoch_is_fetched() -> None:
    asked, opened = anyio.Event(), anyio.Event()

    async def epochs(owner: Any) -> int:
        asked.set()
        await opened.wait()
        return 1

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].owner = "ann"
        async with anyio.create_task_group() as group:
            group.start_soon(respond, send)
            await asked.wait()
            (await scope["sessions"].get("cart"))["n"] = 1
            opened.set()

    browser = Browser(SessionMiddleware(app, KEY, epochs=epochs, sessions=[SessionConfig("cart")]))
    assert len((await browser.get("/")).set_cookies) == 2
