"""What happens to Redis between the load and the commit of a request, seen by the browser."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from asgi_sessions import RedisStore, Session
from tests.browser import Browser, application, read
from tests.servers import Proxy, Server, proxy, server

TIMEOUT = 0.5  # seconds


@pytest.fixture
def redis() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture
async def between(redis: Server) -> AsyncIterator[Proxy]:
    async with proxy(redis) as running:
        yield running


async def fill(session: Session) -> None:
    session["n"] = 1


async def logout(session: Session) -> None:
    session.invalidate()


def visitor(store: RedisStore, happening: Any) -> Browser:
    """``/write`` loads, then something happens, then it commits."""

    async def write(session: Session) -> None:
        session["n"] += 1
        happening()

    return Browser(application({"/fill": fill, "/write": write, "/logout": logout, "/": read}, store=store))


@pytest.mark.parametrize("happening", ["kill", "suspend"])
async def test_a_server_that_goes_away_is_a_503_without_a_cookie(redis: Server, happening: str) -> None:
    store = RedisStore(redis.url, timeout=TIMEOUT)
    browser = visitor(store, getattr(redis, happening))
    await browser.get("/fill")
    start = time.monotonic()
    response = await browser.get("/write")
    assert (response.status, response.set_cookies) == (503, [])
    assert time.monotonic() - start < 10 * TIMEOUT
    if happening == "suspend":
        redis.resume()
        assert (await browser.get("/")).json()["n"] in (1, 2)
    await store.close()


async def test_a_server_that_comes_back_empty_has_logged_everybody_out(
    redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(redis.url)
    browser = visitor(store, redis.restart)
    await browser.get("/fill")
    response = await browser.get("/write")
    assert (response.status, response.set_cookies) == (200, [])
    assert "ended or was regenerated meanwhile" in caplog.text
    assert (await browser.get("/")).json() == {}
    await store.close()


async def test_scripts_that_were_flushed_are_not_noticed(redis: Server) -> None:
    store = RedisStore(redis.url)
    browser = visitor(store, redis.client.script_flush)
    await browser.get("/fill")
    assert (await browser.get("/write")).status == 200
    assert (await browser.get("/")).json() == {"n": 2}
    await store.close()


async def test_a_reply_that_is_lost_with_its_connection_is_asked_for_again(between: Proxy) -> None:
    store = RedisStore(between.url)
    browser = visitor(store, between.cut)
    await browser.get("/fill")
    assert (await browser.get("/write")).status == 200
    assert (await browser.get("/")).json() == {"n": 2}
    await store.close()


async def test_a_commit_of_unknown_outcome_is_not_answered_as_a_success(between: Proxy) -> None:
    def lose() -> None:
        between.lose_replies = bool(calls)
        calls.append(1)

    calls: list[int] = []
    store = RedisStore(between.url, timeout=TIMEOUT)
    browser = visitor(store, lose)
    await browser.get("/fill")
    await browser.get("/write")  # from now on the server knows the script, and does what it is told at once
    response = await browser.get("/write")
    assert (response.status, response.set_cookies) == (503, [])
    between.lose_replies = False
    assert (await browser.get("/")).json() == {"n": 3}
    await store.close()


async def test_a_full_server_refuses_writes_and_logs_out(redis: Server) -> None:
    store = RedisStore(redis.url)
    browser = visitor(store, lambda: redis.client.config_set("maxmemory", 1))
    await browser.get("/fill")
    response = await browser.get("/write")
    assert (response.status, response.set_cookies) == (503, [])
    assert (await browser.get("/")).json() == {"n": 1}
    assert (await browser.get("/logout")).status == 200
    assert browser.jar == {}
    await store.close()


async def test_a_user_without_evalsha_still_writes(redis: Server) -> None:
    redis.client.execute_command(
        "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@read", "+@write", "+@connection", "+eval", "-evalsha"
    )
    store = RedisStore(redis.url.replace("unix://", "unix://app:pw@"))
    browser = visitor(store, lambda: None)
    await browser.get("/fill")
    assert (await browser.get("/write")).status == 200
    assert (await browser.get("/")).json() == {"n": 2}
    await store.close()


async def test_a_key_of_another_type_is_a_new_session_and_stays_as_it_is(redis: Server) -> None:
    store = RedisStore(redis.url)
    browser = visitor(store, lambda: None)
    await browser.get("/fill")
    (key,) = redis.client.keys("session:*")
    redis.client.delete(key)
    redis.client.rpush(key, "foreign")
    assert (await browser.get("/")).json() == {}
    assert (await browser.get("/fill")).status == 200
    assert redis.client.lrange(key, 0, -1) == [b"foreign"]
    await store.close()
