"""Cookies of Starlette's own middleware, accepted for a while."""

import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import TimestampSigner
from starlette.datastructures import Secret
from starlette.middleware.sessions import SessionMiddleware as StarlettesMiddleware

from asgi_sessions import (
    CookieReader,
    JSONSerializer,
    MalformedSession,
    MemoryStore,
    Session,
    SessionConfig,
    StarletteCookies,
    Store,
    get_session,
)

from .browser import KEY, OTHER_KEY, Browser, Clock, application, read, respond

OLD_KEY = "the key of the application before"
FORMER = {"user": "ann", "cart": [1, {"n": 2.5}], "name": "Zoë 🍪"}
DAY = 24 * 3600


async def starlette_cookie(values: Any = FORMER, key: Any = OLD_KEY, **options: Any) -> str:
    """The real middleware's, as its real response sets it."""

    async def login(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].update(values)
        await respond(send)

    browser = Browser(StarlettesMiddleware(login, key, **options))
    await browser.get()
    return browser.jar[options.get("session_cookie", "session")]


def signed(payload: bytes) -> bytes:
    return TimestampSigner(OLD_KEY).sign(payload)


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.now(UTC).timestamp())  # Starlette's middleware knows no other


@pytest.fixture
def reader(clock: Clock) -> StarletteCookies:
    return StarletteCookies(OLD_KEY, until=clock.now + 14 * DAY)


@pytest.fixture(params=["cookie", "memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store | None]:
    store = MemoryStore() if request.param == "memory" else None
    yield store
    if store is not None:
        await store.close()


async def describe(session: Session) -> dict[str, Any]:
    return {"values": dict(session), "error": repr(session.error), "is_new": session.is_new}


async def logout(session: Session) -> None:
    session.invalidate()


async def untouched(scope: Any) -> None:
    pass


ROUTES: dict[str, Any] = {"/": read, "/describe": describe, "/logout": logout, "/untouched": untouched}


def moved(reader: Any, clock: Clock, store: Store | None = None, **options: Any) -> Browser:
    return Browser(application(options.pop("routes", ROUTES), readers=[reader], store=store, clock=clock, **options))


# -- taken over -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", [None, JSONSerializer()], ids=["msgpack", "json"])
async def test_a_cookie_of_starlette_is_read_and_sealed_as_ours(
    reader: StarletteCookies, clock: Clock, store: Store | None, serializer: Any
) -> None:
    browser = moved(reader, clock, store, serializer=serializer)
    browser.jar["session"] = old = await starlette_cookie()
    first = await browser.get("/describe")
    assert first.json() == {"values": FORMER, "error": "None", "is_new": True}
    assert len(first.set_cookies) == 1
    assert browser.jar["session"] != old
    clock.now += 13 * DAY
    second = await browser.get("/describe")
    assert second.json() == {"values": FORMER, "error": "None", "is_new": False}


async def test_ours_is_still_good_when_the_reader_is_gone(
    reader: StarletteCookies, clock: Clock, store: Store | None
) -> None:
    browser = moved(reader, clock, store)
    browser.jar["session"] = await starlette_cookie()
    await browser.get()
    browser.app = application(ROUTES, store=store, clock=clock)
    assert (await browser.get()).json() == FORMER


async def test_what_the_request_changes_is_kept_with_the_rest(
    reader: StarletteCookies, clock: Clock, store: Store | None
) -> None:
    async def add(session: Session) -> None:
        session["cart"].append(3)
        session.owner = session["user"]
        session.flash("welcome back")

    browser = moved(reader, clock, store, routes={"/": read, "/add": add})
    browser.jar["session"] = await starlette_cookie()
    await browser.get("/add")
    assert (await browser.get()).json() == FORMER | {"cart": [*FORMER["cart"], 3]}


async def test_an_explicit_save_takes_it_over(reader: StarletteCookies, clock: Clock, store: Store | None) -> None:
    async def save(session: Session) -> bool:
        await session.save()
        return session.is_new

    browser = moved(reader, clock, store, routes={"/": read, "/save": save})
    browser.jar["session"] = await starlette_cookie()
    assert (await browser.get("/save")).json() is False
    assert (await browser.get()).json() == FORMER


async def test_an_untouched_session_stays_as_it_is(reader: StarletteCookies, clock: Clock, store: Store | None) -> None:
    browser = moved(reader, clock, store)
    browser.jar["session"] = await starlette_cookie()
    assert not (await browser.get("/untouched")).set_cookies
    assert (await browser.get()).json() == FORMER


async def test_a_request_that_fails_leaves_the_old_cookie_for_the_next(
    reader: StarletteCookies, clock: Clock, store: Store | None
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, dict(scope["session"]), 500 if scope["path"] == "/broken" else 200)

    browser = moved(reader, clock, store, routes=untouched)
    browser.app.app = app
    browser.jar["session"] = await starlette_cookie()
    assert not (await browser.get("/broken")).set_cookies
    assert (await browser.get()).json() == FORMER


async def test_the_old_middleware_s_cookie_name_and_key_may_be_odd(clock: Clock) -> None:
    cookie = await starlette_cookie(key=Secret("short"), session_cookie="sid", max_age=None)
    reader = StarletteCookies(Secret("short"), until=datetime.fromtimestamp(clock.now + DAY, UTC), max_age=None)
    browser = moved(reader, clock, session_cookie="sid")
    assert (await browser.get(cookie=f"sid={cookie}")).json() == FORMER


async def test_a_further_session_has_readers_of_its_own(reader: StarletteCookies, clock: Clock) -> None:
    async def both(scope: Any) -> list[Any]:
        return [dict(await get_session(scope, name)) for name in ("session", "legacy", "other")]

    configs = [SessionConfig("legacy", readers=[reader]), SessionConfig("other")]
    browser = Browser(application(both, readers=[reader], clock=clock, sessions=configs))
    cookie = await starlette_cookie()
    answer = await browser.get(cookie=f"legacy={cookie}; other={cookie}")
    assert answer.json() == [{}, FORMER, {}]


async def test_a_reader_of_the_application_s_own(clock: Clock) -> None:
    class Plain:
        def read(self, value: bytes, now: float) -> dict[str, Any] | None:
            return {"user": value.decode()} if value.startswith(b"ann") else None

    assert isinstance(Plain(), CookieReader)
    assert (await moved(Plain(), clock).get(cookie="session=anna")).json() == {"user": "anna"}


# -- ended ------------------------------------------------------------------------------------------------------------


async def test_logout_at_the_first_request_takes_the_old_cookie_away(
    reader: StarletteCookies, clock: Clock, store: Store | None
) -> None:
    browser = moved(reader, clock, store)
    browser.jar["session"] = await starlette_cookie()
    gone = await browser.get("/logout")
    assert "Max-Age=0" in gone.set_cookies[0]
    assert not browser.jar
    assert (await browser.get()).json() == {}


@pytest.mark.parametrize("end", ["clear", "popitem"])
async def test_emptying_it_takes_the_old_cookie_away(
    reader: StarletteCookies, clock: Clock, store: Store | None, end: str
) -> None:
    async def empty(session: Session) -> None:
        while session:
            getattr(session, end)()
        await session.save()

    browser = moved(reader, clock, store, routes=empty)
    browser.jar["session"] = await starlette_cookie()
    assert len((await browser.get()).set_cookies) == 1
    assert not browser.jar


async def test_reload_reads_the_old_cookie_again(reader: StarletteCookies, clock: Clock) -> None:
    async def change_and_reload(session: Session) -> dict[str, Any]:
        session["user"] = "eve"
        await session.reload()
        return dict(session)

    async def end_and_reload(session: Session) -> dict[str, Any]:
        session.invalidate()
        await session.reload()
        return dict(session)

    browser = moved(reader, clock, MemoryStore(), routes={"/": change_and_reload, "/end": end_and_reload})
    cookie = f"session={await starlette_cookie()}"
    assert (await browser.get(cookie=cookie)).json() == FORMER
    assert (await browser.get("/end", cookie=cookie)).json() == {}


async def test_a_session_that_was_ended_elsewhere_does_not_come_back_from_the_old_cookie(
    reader: StarletteCookies, clock: Clock
) -> None:
    store = MemoryStore()

    async def end_elsewhere(session: Session) -> dict[str, Any]:
        await session.save()
        await store.delete(bytes.fromhex(str(session.handle)))
        await session.reload()
        await session.reload()
        return dict(session)

    browser = moved(reader, clock, store, routes=end_elsewhere)
    browser.jar["session"] = await starlette_cookie()
    assert (await browser.get()).json() == {}


async def test_one_of_ours_that_was_logged_out_keeps_the_old_cookie_out(reader: StarletteCookies, clock: Clock) -> None:
    browser = moved(reader, clock, MemoryStore())
    old = browser.jar["session"] = await starlette_cookie()
    await browser.get()
    ours = browser.jar["session"]
    await browser.get("/logout")
    both = await browser.get("/describe", cookie=f"session={old}; session={ours}")
    assert both.json()["values"] == {}
    assert "UnknownSession" in both.json()["error"]


async def test_ours_wins_over_an_old_cookie_of_another_path(
    reader: StarletteCookies, clock: Clock, store: Store | None
) -> None:
    browser = moved(reader, clock, store)
    browser.jar["session"] = await starlette_cookie({"user": "bob"})
    await browser.get()
    ours, old = browser.jar["session"], await starlette_cookie()
    assert (await browser.get(cookie=f"session={old}; session={ours}")).json() == {"user": "bob"}


# -- late -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["read", "change", "end"])
async def test_after_the_response_started_reading_is_fine_and_the_rest_is_said_to_be_lost(
    reader: StarletteCookies, clock: Clock, caplog: pytest.LogCaptureFixture, act: str
) -> None:
    seen = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send)
        session = await get_session(scope)
        seen.update(session.copy())
        if act == "change":
            session["user"] = "eve"
        if act == "end":
            session.invalidate()

    browser = moved(reader, clock, MemoryStore(), routes=untouched, autoload=False)
    browser.app.app = app
    cookie = f"session={await starlette_cookie()}"
    response = await browser.get(cookie=cookie)
    assert seen == FORMER
    assert not response.set_cookies
    assert bool(caplog.records) == (act != "read")
    assert all("late changes are lost" in record.message for record in caplog.records)


async def test_after_a_logout_a_late_look_at_the_session_is_fine(
    reader: StarletteCookies, clock: Clock, store: Store | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].invalidate()
        await respond(send)
        assert scope["session"].copy() == {}

    browser = moved(reader, clock, store, routes=untouched)
    browser.app.app = app
    browser.jar["session"] = await starlette_cookie()
    await browser.get()
    assert not browser.jar
    assert not caplog.records


# -- refused ----------------------------------------------------------------------------------------------------------


async def refused(browser: Browser, cookie: str | bytes, error: type[Exception] = Exception) -> None:
    raw = cookie if isinstance(cookie, bytes) else cookie.encode()
    response = await browser.get("/describe", cookie=b"session=" + raw)
    assert response.status == 200
    assert response.json()["values"] == {}
    assert response.json()["error"] != "None"
    assert error.__name__ in response.json()["error"] or error is Exception
    assert not response.set_cookies


async def test_without_a_reader_the_cookie_is_worthless(clock: Clock) -> None:
    await refused(Browser(application(ROUTES, clock=clock)), await starlette_cookie(), MalformedSession)


async def test_from_the_date_on_the_cookie_is_refused(clock: Clock, store: Store | None) -> None:
    browser = moved(StarletteCookies(OLD_KEY, until=clock.now + 10), clock, store)
    cookie = await starlette_cookie()
    clock.now += 9
    assert (await browser.get(cookie=f"session={cookie}")).json() == FORMER
    clock.now += 1
    await refused(browser, cookie, MalformedSession)


async def test_the_former_max_age_is_kept(clock: Clock) -> None:
    browser = moved(StarletteCookies(OLD_KEY, until=clock.now + DAY, max_age=60), clock)
    cookie = await starlette_cookie()
    clock.now += 59
    assert (await browser.get(cookie=f"session={cookie}")).json() == FORMER
    clock.now += 3
    await refused(browser, cookie, MalformedSession)


async def test_a_cookie_from_the_future_is_refused_but_for_a_minute_of_skew(clock: Clock) -> None:
    browser = moved(StarletteCookies(OLD_KEY, until=clock.now + DAY), clock)
    cookie = await starlette_cookie()
    clock.now -= 50
    assert (await browser.get(cookie=f"session={cookie}")).json() == FORMER
    clock.now -= 100
    await refused(browser, cookie, MalformedSession)


@pytest.mark.parametrize("key", [KEY, OTHER_KEY], ids=["ours", "another"])
async def test_a_cookie_under_another_key_is_refused(reader: StarletteCookies, clock: Clock, key: str) -> None:
    await refused(moved(reader, clock), await starlette_cookie(key=key), MalformedSession)


async def test_two_old_cookies_that_contradict_each_other_open_nothing(reader: StarletteCookies, clock: Clock) -> None:
    ann, bob = await starlette_cookie(), await starlette_cookie({"user": "bob"})
    browser = moved(reader, clock)
    await refused(browser, f"{ann}; session={bob}", MalformedSession)
    assert (await browser.get(cookie=f"session={ann}; session={ann}x")).json() == FORMER


HOSTILE = {
    "no base64": b"{}!",
    "bad padding": b"e30",
    "no json": b64encode(b"{"),
    "no utf-8": b64encode(b'{"a": "\xff"}'),
    "a list": b64encode(b"[1]"),
    "null": b64encode(b"null"),
    "nothing in it": b64encode(b"{}"),
    "nan": b64encode(b'{"a": NaN}'),
    "infinity": b64encode(b'{"a": 1e999}'),
    "lone surrogate": b64encode(b'{"a": "\\ud800"}'),
    "deep": b64encode(b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}"),
    "deeper than storable": b64encode(b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}"),
    "huge number": b64encode(b'{"a": ' + b"9" * 2900 + b"}"),
    "too long": b64encode(json.dumps({"a": "b" * 4000}).encode()),
    "empty": b"",
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_signed_cookie_with_odd_contents_is_refused(
    reader: StarletteCookies, clock: Clock, store: Store | None, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await refused(moved(reader, clock, store), signed(payload))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_signature_with_odd_times_is_refused(reader: StarletteCookies, clock: Clock) -> None:
    signer = TimestampSigner(OLD_KEY)
    for odd in (b"", b"*", b"A" * 5, b"_" * 40):
        value = signer.sep.join([b64encode(b'{"a":1}'), odd])
        await refused(moved(reader, clock), value + signer.sep + signer.get_signature(value))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(value=st.binary(max_size=5000))
def test_whatever_the_bytes_are_the_reader_answers_none(value: bytes) -> None:
    reader = StarletteCookies(OLD_KEY, until=4e9)
    assert reader.read(value, 1e9) is None
    assert reader.read(value + b"." + value, 1e9) is None


async def test_a_reader_that_raises_refuses(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def read(self, value: bytes, now: float) -> dict[str, Any] | None:
            raise LookupError("a bug")

    await refused(moved(Broken(), clock), b"something", MalformedSession)
    assert "Broken failed" in caplog.text
    await refused(moved(Broken(), clock), b"x" * 5000, MalformedSession)
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


async def test_two_first_requests_at_once_are_both_answered(reader: StarletteCookies, clock: Clock) -> None:
    browser = moved(reader, clock, MemoryStore())
    cookie = f"session={await starlette_cookie()}"
    answers = []

    async def get() -> None:
        answers.append((await browser.get(cookie=cookie)).json())

    async with anyio.create_task_group() as group:
        group.start_soon(get)
        group.start_soon(get)
    assert answers == [FORMER, FORMER]
    assert (await browser.get()).json() == FORMER


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": datetime(2030, 1, 1)}, "no time zone"),
        ({"until": True}, "aware datetime"),
        ({"until": float("inf")}, "aware datetime"),
        ({"until": "2030-01-01"}, "aware datetime"),
        ({"until": 4e9, "max_age": "day"}, "max_age='day'"),
        ({"until": 4e9, "secret_key": ""}, "secret_key is empty"),
        ({"until": 4e9, "secret_key": None}, "secret_key is empty"),
    ],
)
def test_options_that_can_not_be_right(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StarletteCookies(**{"secret_key": OLD_KEY, **options})


@pytest.mark.parametrize(
    "readers", [StarletteCookies(OLD_KEY, until=4e9), [object()], "x"], ids=["one", "other", "str"]
)
def test_readers_must_be_a_list_of_readers(readers: Any) -> None:
    with pytest.raises(TypeError, match=r"readers=.*write a list"):
        application(ROUTES, readers=readers)


def test_the_key_shows_nowhere() -> None:
    assert OLD_KEY not in repr(StarletteCookies(OLD_KEY, until=4e9))
