"""What RedisStore does when a server, a connection or a reply is lost: right answers or errors, within the deadline."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from asgi_sessions.exceptions import StoreFull, StoreTimeout, StoreUnavailable
from asgi_sessions.stores.base import Stored
from asgi_sessions.stores.redis import RedisStore
from asgi_sessions.stores.redis.connection import pack
from tests.servers import KINDS, Proxy, Server, proxy, server

HANDLE = bytes(range(16))
OLD, NEW, OTHER = b"version1", b"version2", b"version3"
TIMEOUT = 0.8  # seconds for an operation
MARGIN = 0.4  # seconds that a busy machine may add


def soon() -> float:
    return time.time() + 100


@pytest.fixture(params=KINDS)
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that a test may kill."""
    with server(request.param) as running:
        yield running


@pytest.fixture
async def store(own_server: Server) -> AsyncIterator[RedisStore]:
    opened = RedisStore(own_server.url, timeout=TIMEOUT)
    await opened.create(HANDLE, OLD, b"data", soon())
    yield opened
    await opened.close()


@pytest.fixture
async def between(own_server: Server) -> AsyncIterator[Proxy]:
    async with proxy(own_server) as started:
        yield started


@pytest.fixture
async def behind_proxy(between: Proxy) -> AsyncIterator[RedisStore]:
    opened = RedisStore(between.url)
    await opened.create(HANDLE, OLD, b"data", soon())
    yield opened
    await opened.close()


async def fails_in(least: float, most: float, error: type[Exception], operation: Awaitable[object]) -> Exception:
    started = time.monotonic()
    with pytest.raises(error) as caught:
        await operation
    assert least <= time.monotonic() - started <= most + MARGIN
    assert isinstance(caught.value.__cause__, redis.RedisError)
    return caught.value


VERBS: dict[str, Callable[[RedisStore], Awaitable[object]]] = {
    "read": lambda store: store.read(HANDLE),
    "create": lambda store: store.create(HANDLE, OLD, b"data", soon()),
    "swap": lambda store: store.swap(HANDLE, OLD, NEW, b"more", soon()),
    "touch": lambda store: store.touch(HANDLE, OLD, soon()),
    "delete": lambda store: store.delete(HANDLE, OLD),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_killed_server_is_unavailable_at_once(own_server: Server, store: RedisStore, verb: str) -> None:
    own_server.kill()
    error = await fails_in(0, 0, StoreUnavailable, VERBS[verb](store))
    assert not isinstance(error, StoreTimeout)
    await fails_in(0, 0, StoreUnavailable, VERBS[verb](store))
    await fails_in(0, 0, StoreUnavailable, store.open())


async def test_the_retries_of_a_passed_client_are_not_waited_for(own_server: Server) -> None:
    url, retry = own_server.url, Retry(ConstantBackoff(TIMEOUT / 2), 10)
    own_server.kill()
    async with Redis.from_url(url, retry=retry, socket_timeout=1) as client:
        error = await fails_in(0, 0, StoreUnavailable, RedisStore(client, timeout=TIMEOUT).read(HANDLE))
        assert not isinstance(error, StoreTimeout)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_stopped_server_is_a_timeout_within_the_deadline(
    own_server: Server, store: RedisStore, verb: str
) -> None:
    own_server.suspend()
    error = await fails_in(TIMEOUT, TIMEOUT, StoreTimeout, VERBS[verb](store))
    assert f"limit: {TIMEOUT} s for one operation" in str(error)
    own_server.resume()
    assert await store.read(HANDLE) in (Stored(OLD, b"data"), Stored(NEW, b"more"), None)


async def test_connecting_to_a_stopped_server_is_a_timeout_within_the_deadline(own_server: Server) -> None:
    own_server.suspend()
    slow = RedisStore(f"{own_server.url}?db=1", timeout=TIMEOUT)
    await fails_in(TIMEOUT, TIMEOUT, StoreTimeout, slow.read(HANDLE))
    patient = RedisStore(f"{own_server.url}?db=1", timeout=10, connect_timeout=0.4)
    await fails_in(0.4, 0.4, StoreTimeout, patient.read(HANDLE))
    own_server.resume()
    assert await slow.read(HANDLE) is None
    assert await patient.read(HANDLE) is None
    await slow.close()
    await patient.close()


async def test_nobody_waits_longer_than_the_deadline_for_a_stopped_server(
    own_server: Server, store: RedisStore
) -> None:
    own_server.suspend()
    reads = []
    for _ in range(10):
        reads.append(asyncio.create_task(fails_in(0, TIMEOUT, StoreTimeout, store.read(HANDLE))))
        await asyncio.sleep(TIMEOUT / 10)  # latecomers, some of them on the connection that is given up
    await asyncio.gather(*reads)
    own_server.resume()
    assert await store.read(HANDLE) == Stored(OLD, b"data")


async def test_a_server_that_is_back_is_used_by_the_next_command(own_server: Server, store: RedisStore) -> None:
    own_server.kill()
    await fails_in(0, 0, StoreUnavailable, store.read(HANDLE))
    own_server.start()
    assert await store.read(HANDLE) is None


async def test_a_restart_is_only_seen_as_records_that_vanished(own_server: Server, store: RedisStore) -> None:
    own_server.restart()
    assert await store.swap(HANDLE, OLD, NEW, b"more") is None
    own_server.restart()
    assert await store.create(HANDLE, OLD, b"data", soon())
    own_server.restart()
    assert await store.read(HANDLE) is None


async def test_an_idle_connection_that_the_server_closed_is_replaced(own_server: Server, store: RedisStore) -> None:
    for _ in range(3):
        own_server.client.execute_command("CLIENT KILL TYPE normal SKIPME yes")
        assert await store.touch(HANDLE, OLD, soon())


@pytest.mark.parametrize("verb", ["create", "swap", "touch", "delete"])
async def test_a_write_whose_reply_is_lost_takes_place_once_and_is_answered_as_ours(
    own_server: Server, between: Proxy, behind_proxy: RedisStore, verb: str
) -> None:
    expected = await VERBS[verb](behind_proxy)
    for handle_is_new in (False, True):
        await behind_proxy.delete(HANDLE)
        if verb != "create" or handle_is_new:
            await behind_proxy.create(HANDLE, OLD, b"data", soon())
        own_server.client.config_resetstat()
        between.lose_replies = True
        write = asyncio.ensure_future(VERBS[verb](behind_proxy))
        await between.reply_lost()
        between.lose_replies = False
        between.cut()
        assert await write == expected
        assert own_server.calls()["evalsha"] == 2
        assert own_server.calls().get("set", 0) == {"swap": 1, "create": 2}.get(verb, 0)


async def test_a_write_whose_reply_never_comes_is_a_timeout_and_may_be_repeated(
    between: Proxy, behind_proxy: RedisStore
) -> None:
    impatient = RedisStore(between.url, timeout=TIMEOUT)
    await impatient.read(HANDLE)
    between.lose_replies = True
    await fails_in(TIMEOUT, TIMEOUT, StoreTimeout, impatient.swap(HANDLE, OLD, NEW, b"more"))
    await impatient.close()
    between.lose_replies = False
    assert await behind_proxy.swap(HANDLE, OLD, NEW, b"more") == Stored(NEW, b"more")
    assert await behind_proxy.read(HANDLE) == Stored(NEW, b"more")


async def test_a_connection_that_keeps_breaking_is_tried_twice(between: Proxy, behind_proxy: RedisStore) -> None:
    between.lose_replies = True
    before = between.connections
    read = asyncio.ensure_future(behind_proxy.read(HANDLE))
    for _ in range(2):
        await between.reply_lost()
        between.cut()
    await fails_in(0, 0, StoreUnavailable, read)
    assert between.connections == before + 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_server_refuses_writes_and_still_logs_out(kind: str) -> None:
    with server(kind, "--maxmemory-policy", "noeviction") as full:
        store = RedisStore(full.url)
        await store.create(HANDLE, OLD, b"data", soon())
        full.client.config_set("maxmemory", 1)
        for write in (store.create(bytes(16), OLD, b"data", soon()), store.swap(HANDLE, OLD, NEW, b"more")):
            with pytest.raises(StoreFull, match=r"OOM|maxmemory") as caught:
                await write
            assert isinstance(caught.value.__cause__, redis.RedisError)
        assert await store.read(HANDLE) == Stored(OLD, b"data")
        assert await store.touch(HANDLE, OLD, soon())
        assert await store.delete(HANDLE, OLD) is None
        await store.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_replica_is_unavailable_for_writes_and_used_again_when_promoted(kind: str) -> None:
    with server(kind) as promoted:
        store = RedisStore(promoted.url)
        await store.create(HANDLE, OLD, b"data", soon())
        promoted.client.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match="read only replica"):
            await store.swap(HANDLE, OLD, NEW, b"more")
        assert await store.read(HANDLE) == Stored(OLD, b"data")
        promoted.client.config_set("replica-serve-stale-data", "no")
        with pytest.raises(StoreUnavailable, match=r"(?i)master"):
            await store.read(HANDLE)
        promoted.client.replicaof("no", "one")
        assert await store.swap(HANDLE, OLD, NEW, b"more") == Stored(NEW, b"more")
        await store.close()


async def test_a_connection_to_a_replica_is_replaced_as_its_name_may_lead_elsewhere_by_now(
    own_server: Server, between: Proxy, behind_proxy: RedisStore
) -> None:
    own_server.client.replicaof("127.0.0.1", 1)
    with pytest.raises(StoreUnavailable, match="read only replica"):
        await behind_proxy.swap(HANDLE, OLD, NEW, b"more")
    assert between.connections == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_password_that_was_changed_is_unavailability(kind: str) -> None:
    with server(kind) as strict:
        store = RedisStore(strict.url)
        await store.open()
        strict.client.config_set("requirepass", "new")
        strict.client.execute_command("CLIENT KILL TYPE normal SKIPME yes")
        with pytest.raises(StoreUnavailable, match="Authentication required"):
            await store.read(HANDLE)
        await store.close()


async def test_what_still_waits_when_the_store_is_closed_gets_an_error(own_server: Server, store: RedisStore) -> None:
    own_server.suspend()
    read = asyncio.ensure_future(store.read(HANDLE))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed by this application"):
        await read
    own_server.resume()


async def test_a_connection_that_was_logged_out_is_replaced() -> None:
    with server("valkey", "--requirepass", "pass", tcp=True) as running:
        store = RedisStore(f"redis://:pass@127.0.0.1:{running.port}/0")
        await store.create(HANDLE, OLD, b"data", 5_000_000_000.0)
        (line,) = store._lines._lines.values()
        await line.call(pack([b"RESET"]), asyncio.get_running_loop().time() + 5)
        assert await store.read(HANDLE) == Stored(OLD, b"data")
        assert line.dead
        await store.close()
