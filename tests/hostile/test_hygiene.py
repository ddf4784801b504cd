"""What a response tells, and what it must not tell anybody."""

import asyncio
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest

from asgi_sessions import (
    MalformedSession,
    Session,
    SessionConfig,
    SessionMiddleware,
    get_sessions,
)

from ..browser import KEY, Browser, Clock, Response, application
from .broken import Broken, add, end, regenerate
from .corpus import CASES
from .target import CALM, HANDLE, Target, answered, cookies

DAY = 86400


def attributes(line: str) -> list[str]:
    """Those that tell one cookie from another, and what browsers may do with it."""
    return [part for part in line.split("; ")[1:] if not part.startswith(("Max-Age=", "Expires="))]


def max_age(line: str) -> int:
    [morsel] = SimpleCookie(line).values()
    return int(morsel["max-age"])


async def respond_with(headers: list[tuple[bytes, bytes]], use: Callable[[Session], Any], **options: Any) -> Response:
    """The response of an application that sends these headers after it used its session."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        use(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return await Browser(SessionMiddleware(app, KEY, **options)).get()


def write(session: Session) -> None:
    session["a"] = 1


# -- for caches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", [bool, write], ids=["read", "written"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [b"Cookie"]),
        ([(b"vary", b"Accept-Encoding")], [b"Accept-Encoding, Cookie"]),
        ([(b"Vary", b"Origin"), (b"vary", b"Accept")], [b"Origin, Cookie", b"Accept"]),
        ([(b"vary", b"Accept, COOKIE")], [b"Accept, COOKIE"]),
        ([(b"vary", b"*")], [b"*"]),
        ([(b"Vary", b"Accept, *")], [b"Accept, *"]),
    ],
)
async def test_vary_is_joined_to_what_the_application_said(
    before: list[tuple[bytes, bytes]], after: list[bytes], use: Callable[[Session], Any]
) -> None:
    response = await respond_with(before, use)
    assert [value for name, value in response.headers if name.lower() == b"vary"] == after


async def test_vary_is_there_on_an_error_page_that_saw_the_session() -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        write(scope["session"])
        await send({"type": "http.response.start", "status": 500})
        await send({"type": "http.response.body"})

    response = await Browser(SessionMiddleware(fail, KEY)).get()
    assert response.header("vary") == "Cookie"
    assert response.set_cookies == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], b'no-cache="Set-Cookie"'),
        ([(b"Cache-Control", b"public, max-age=60")], b'no-cache="Set-Cookie", public, max-age=60'),
        ([(b"cache-control", b"no-store")], b"no-store"),
        ([(b"cache-control", b"private, max-age=60")], b"private, max-age=60"),
    ],
)
async def test_cache_control_guards_a_cookie(before: list[tuple[bytes, bytes]], after: bytes) -> None:
    response = await respond_with(before, write)
    assert [value for name, value in response.headers if name.lower() == b"cache-control"] == [after]


async def test_cache_control_stays_as_it_is_where_no_cookie_is_sent() -> None:
    response = await respond_with([(b"cache-control", b"public, max-age=60")], bool)
    assert response.header("cache-control") == "public, max-age=60"
    assert (await respond_with([], bool)).header("cache-control") is None


async def test_cache_control_guards_a_deletion_too(target: Target) -> None:
    browser = target.browser()
    await browser.get("/login")
    assert (await browser.get("/logout")).header("cache-control") == 'no-cache="Set-Cookie"'


# -- the cookie's attributes -----------------------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {},
    {"path": "/app", "domain": "example.com"},
    {"same_site": "none", "partitioned": True},
    {"same_site": None, "http_only": False, "https_only": True},
    {"session_cookie": "__Host-id", "same_site": "strict"},
    {"max_age": None},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_a_deletion_repeats_the_attributes_the_cookie_was_set_with(
    target: Target, options: dict[str, Any]
) -> None:
    browser = Browser(target.application(**options))
    [was_set] = (await browser.get("/login")).set_cookies
    [deletion] = (await browser.get("/logout", cookie=was_set.partition(";")[0])).set_cookies
    assert attributes(deletion) == attributes(was_set)
    name = was_set.partition("=")[0]
    assert deletion.startswith(f"{name}=; ")
    assert "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT" in deletion


async def test_a_deletion_repeats_the_attributes_that_this_session_chose(target: Target) -> None:
    async def choose(session: Session) -> None:
        session["a"] = 1
        session.cookie_options = session.cookie_options.replace(path="/app", same_site="strict", domain="example.com")

    async def end(session: Session) -> None:
        session.invalidate()

    store: Any = target.counting or target.store
    browser = Browser(application({"/": choose, "/end": end}, store=store, clock=target.clock))
    [was_set] = (await browser.get()).set_cookies
    [deletion] = (await browser.get("/end")).set_cookies
    assert attributes(deletion) == attributes(was_set)


async def test_a_moved_cookie_is_expired_under_its_former_path_however_often_the_session_is_saved(
    target: Target,
) -> None:
    """Otherwise the former cookie would go on living in the browser, for a cookie session even after a logout."""

    async def start(session: Session) -> None:
        session["a"] = 1

    async def move(session: Session) -> None:
        session.cookie_options = session.cookie_options.replace(path="/app")
        await session.save()
        session["a"] = 2

    async def move_and_end(session: Session) -> None:
        await move(session)
        await session.save()
        session.invalidate()

    store: Any = target.counting or target.store
    routes = {"/": start, "/move": move, "/end": move_and_end}
    for path in ("/move", "/end"):
        browser = Browser(application(routes, store=store, clock=target.clock))
        await browser.get()
        lines = (await browser.get(path)).set_cookies
        assert "session=; Path=/; Max-Age=0" in " | ".join(lines)
        assert len({tuple(attributes(line)) for line in lines}) == len(lines)


@pytest.mark.parametrize(
    ("remember", "absolute_timeout", "expected"),
    [
        (10 * DAY, None, 10 * DAY),
        (10**9, None, 400 * DAY),
        (10 * DAY, 5 * DAY, 5 * DAY),
        (10**9, 500 * DAY, 400 * DAY),
        (10**9, 3600.5, 3600),
    ],
)
async def test_max_age_stays_within_the_absolute_deadline_and_400_days(
    target: Target, remember: int, absolute_timeout: float | None, expected: int
) -> None:
    async def keep(session: Session) -> None:
        session["a"] = 1
        session.remember(remember)

    async def touch(session: Session) -> None:
        session["a"] += 1
        session.remember(remember + 1)

    store: Any = target.counting or target.store
    app = application({"/": keep, "/more": touch}, store=store, clock=target.clock, absolute_timeout=absolute_timeout)
    browser = Browser(app)
    [line] = (await browser.get()).set_cookies
    assert max_age(line) == expected
    if absolute_timeout is None:
        return
    target.clock.now += 1000
    [line] = (await browser.get("/more")).set_cookies
    assert max_age(line) == min(int(absolute_timeout) - 1000, 400 * DAY)


async def test_there_is_one_set_cookie_per_name(target: Target) -> None:
    async def busy(scope: Any) -> None:
        sessions = get_sessions(scope)
        for _ in range(3):
            session, other = await sessions.get(), await sessions.get("other")
            session["n"] = other["n"] = session.get("n", 0) + 1
            await sessions.save()
            session.regenerate()
            await session.save()
            other.invalidate()
            other["again"] = 1
        session.remember(60)

    store: Any = target.counting or target.store
    browser = Browser(application(busy, store=store, sessions=[SessionConfig("other")], clock=target.clock))
    for _ in range(2):
        names = [line.partition("=")[0] for line in (await browser.get()).set_cookies]
        assert sorted(names) == ["other", "session"]


# -- a cookie means that something was committed ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/add", "/regenerate", "/end", "/renew"])
async def test_a_commit_that_failed_sends_no_cookie(path: str, clock: Clock) -> None:
    store = Broken(clock=clock)
    routes = {"/add": add, "/regenerate": regenerate, "/end": end, "/renew": look}
    browser = Browser(application(routes, store=store, clock=clock))
    if path != "/add":
        await browser.get("/add")
    clock.now += 7 * DAY
    store.failing = True
    response = await browser.get(path)
    assert response.status == 503
    assert response.set_cookies == []
    assert response.header("retry-after") == "5"


async def look(session: Session) -> None:
    bool(session)


async def test_a_commit_that_was_superseded_sends_no_cookie(server_target: Target) -> None:
    """A request that is slower than a logout sends nothing that would clobber what the browser has now."""
    loaded, go_on = asyncio.Event(), asyncio.Event()

    async def slow(session: Session) -> None:
        session["late"] = 1
        loaded.set()
        await go_on.wait()

    store: Any = server_target.counting
    app = application({"/add": add, "/slow": slow, "/end": end}, store=store, clock=server_target.clock)
    browser = Browser(app)
    await browser.get("/add")
    slower = asyncio.create_task(Browser(app, jar=dict(browser.jar)).get("/slow"))
    await loaded.wait()
    await browser.get("/end")
    go_on.set()
    response = await slower
    assert (response.status, response.set_cookies) == (200, [])


# -- the client learns nothing ---------------------------------------------------------------------------------------


async def test_the_response_is_the_same_for_every_reason(target: Target) -> None:
    """``session.error`` tells the application; status, headers and body are equal to the byte."""
    fast = [case for case in CASES if target.kind in case.kinds and not case.name.startswith(("file:", "redis:"))]
    reasons: set[str] = set()
    for case in fast[::3]:
        headers = await case.send(target)
        assert await answered(target, headers, target.json_app if case.json else None) == CALM
        reasons.add(type(target.errors[-1]).__name__)
        if target.server_side:
            await _forget(target)
    assert reasons >= {"NoneType", "MalformedSession", "BadCookieSignature", "ExpiredSession", "DuplicateCookie"}
    assert not target.server_side or reasons >= {"UnknownSession"}


async def test_the_reason_is_known_even_if_nothing_else_was_asked_before(target: Target) -> None:
    """A cookie session is unsealed at its first access; asking for the reason is one."""
    reasons: list[Any] = []

    async def ask(scope: Any) -> None:
        reasons.append(scope["session"].error)

    store: Any = target.counting or target.store
    response = await Browser(application(ask, store=store)).get(headers=cookies("garbage"))
    assert [type(reason) for reason in reasons] == [MalformedSession]
    assert response.header("vary") == "Cookie"


async def _forget(target: Target) -> None:
    store: Any = target.store
    await store.delete(HANDLE)
