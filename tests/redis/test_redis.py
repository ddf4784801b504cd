"""RedisStore over real servers: what it keeps, whose clients it takes, and what it says of itself."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import redis
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode

from asgi_sessions.exceptions import NotSupported, StoreUnavailable
from asgi_sessions.stores.base import Stored
from asgi_sessions.stores.redis import RedisStore
from asgi_sessions.testing import StoreContract
from tests.servers import KINDS, Server, cluster, fail_over, sentinel, server, wait_until

HANDLE = bytes(range(16))
KEY = "session:" + HANDLE.hex()
OLD, NEW, OTHER = b"version1", b"version2", b"version3"


def soon() -> float:
    return time.time() + 100


@pytest.fixture
async def store(redis_server: Server) -> AsyncIterator[RedisStore]:
    opened = RedisStore(redis_server.url)
    yield opened
    await opened.close()


@pytest.fixture(scope="module", params=KINDS)
def nodes(request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    with cluster(request.param) as running:
        yield running


@pytest.fixture
async def cluster_client(nodes: list[Server]) -> AsyncIterator[RedisCluster]:
    client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", nodes[0].port)], socket_timeout=1)
    yield client
    await client.aclose()


class TestRedisStore(StoreContract):
    """The contract, over each kind of server."""


class TestRedisClusterStore(StoreContract):
    """The contract, over a cluster."""

    @pytest.fixture
    async def store(self, nodes: list[Server], cluster_client: RedisCluster) -> AsyncIterator[RedisStore]:
        for node in nodes:
            node.client.flushall()
        opened = RedisStore(cluster_client)
        yield opened
        await opened.close()


async def check_all_verbs(store: RedisStore, handle: bytes = HANDLE) -> None:
    assert await store.read(handle) is None
    assert await store.create(handle, OLD, b"one", soon())
    assert await store.read(handle) == Stored(OLD, b"one")
    assert await store.swap(handle, OLD, NEW, b"two") == Stored(NEW, b"two")
    assert await store.touch(handle, NEW, soon())
    assert await store.delete(handle, OLD) == Stored(NEW, b"two")
    assert await store.delete(handle, NEW) is None
    assert await store.read(handle) is None


async def test_all_verbs_work_when_no_script_is_loaded_and_after_each_script_flush(
    redis_server: Server, store: RedisStore
) -> None:
    await check_all_verbs(store)
    redis_server.client.script_flush()
    await check_all_verbs(store)


async def test_a_session_is_one_readable_key_with_version_data_and_a_deadline(
    redis_server: Server, store: RedisStore
) -> None:
    deadline = soon()
    await store.create(HANDLE, OLD, b"data", deadline)
    assert redis_server.client.keys() == [KEY.encode()]
    assert redis_server.client.get(KEY) == OLD + b"data"
    assert redis_server.client.pexpiretime(KEY) == int(deadline * 1000)


async def test_swap_keeps_the_deadline_or_sets_the_one_it_is_given(redis_server: Server, store: RedisStore) -> None:
    first, second = soon(), soon() + 50
    await store.create(HANDLE, OLD, b"", first)
    await store.swap(HANDLE, OLD, NEW, b"")
    assert redis_server.client.pexpiretime(KEY) == int(first * 1000)
    await store.swap(HANDLE, NEW, OTHER, b"", second)
    assert redis_server.client.pexpiretime(KEY) == int(second * 1000)


@pytest.mark.parametrize(
    "deadline", [-1.0, 0.0, 1.0, time.time() - 1], ids=["before 1970", "1970", "a second later", "just now"]
)
async def test_what_is_stored_or_touched_with_a_deadline_in_the_past_is_not_there(
    store: RedisStore, deadline: float
) -> None:
    assert await store.create(HANDLE, OLD, b"data", deadline)
    assert await store.read(HANDLE) is None
    await store.create(HANDLE, OLD, b"data", soon())
    assert await store.touch(HANDLE, OLD, deadline)
    assert await store.read(HANDLE) is None


@pytest.mark.parametrize("foreign", ["list", "short", "empty"])
async def test_a_foreign_key_is_no_session_and_stays_as_it_is(
    redis_server: Server, store: RedisStore, foreign: str
) -> None:
    if foreign == "list":
        redis_server.client.rpush(KEY, "theirs")
    else:
        redis_server.client.set(KEY, "short" if foreign == "short" else "")
    before = redis_server.client.dump(KEY)
    assert await store.read(HANDLE) is None
    assert await store.create(HANDLE, NEW, b"ours", soon()) is False
    assert await store.swap(HANDLE, OLD, NEW, b"ours") is None
    assert await store.touch(HANDLE, OLD, soon()) is False
    assert await store.delete(HANDLE, OLD) is None
    assert await store.delete(HANDLE) is None
    assert redis_server.client.dump(KEY) == before
    assert redis_server.client.ttl(KEY) == -1


@pytest.mark.parametrize("handle", [bytes(16), b"\xff" * 16, b"{a}\r\n*$%s\x00 {b}\t!"[:16]])
@pytest.mark.parametrize("data", [b"", b"\r\n$-1\r\n", bytes(range(256)) * 1000], ids=["none", "protocol", "large"])
async def test_handles_and_data_are_any_bytes(store: RedisStore, handle: bytes, data: bytes) -> None:
    assert await store.create(handle, b"\x00" * 8, data, soon())
    assert await store.swap(handle, b"\x00" * 8, b"\xff" * 8, data) == Stored(b"\xff" * 8, data)
    assert await store.read(handle) == Stored(b"\xff" * 8, data)


async def test_a_lone_operation_is_one_command(redis_server: Server, store: RedisStore) -> None:
    await check_all_verbs(store)
    redis_server.client.config_resetstat()
    await store.read(HANDLE)
    assert redis_server.calls().get("get") == 1
    await store.touch(HANDLE, OLD, soon())
    assert {name for name in redis_server.calls() if "|" not in name} <= {"get", "evalsha", "getrange", "info"}
    assert redis_server.calls()["evalsha"] == 1


# -- the server's rules ------------------------------------------------------------------------------------------


def with_user(redis_server: Server, *rules: str) -> str:
    redis_server.client.acl_deluser("app")
    redis_server.client.execute_command("ACL SETUSER", "app", "on", ">s3cret", *rules)
    return f"unix://app:s3cret@{redis_server.socket}"


WITHIN_SCRIPTS = ("+get", "+getrange", "+set", "+pexpireat", "+del")


async def test_a_user_that_may_do_only_what_is_documented_is_enough(redis_server: Server) -> None:
    store = RedisStore(with_user(redis_server, "~session:*", "-@all", "+evalsha", "+eval", *WITHIN_SCRIPTS))
    await store.open()
    await check_all_verbs(store)
    await store.close()


async def test_a_user_without_evalsha_is_served_by_eval(redis_server: Server) -> None:
    store = RedisStore(with_user(redis_server, "~session:*", "-@all", "+eval", *WITHIN_SCRIPTS))
    await check_all_verbs(store)
    await check_all_verbs(store)
    assert redis_server.client.info("commandstats")["cmdstat_evalsha"]["rejected_calls"] == 1
    await store.close()


@pytest.mark.parametrize(
    "rules",
    [
        ("~session:*", "-@all", *WITHIN_SCRIPTS),
        ("~session:*", "-@all", "+eval", "+evalsha", "+get"),
        ("~other:*", "+@all"),
    ],
    ids=["no scripts", "no SET", "other keys"],
)
async def test_a_user_who_may_not_is_told_what_is_needed(redis_server: Server, rules: tuple[str, ...]) -> None:
    store = RedisStore(with_user(redis_server, *rules))
    with pytest.raises(StoreUnavailable, match=r"needs GET and EVALSHA \(or EVAL\).* keys session:\*") as caught:
        await store.create(HANDLE, OLD, b"", soon())
    assert isinstance(caught.value.__cause__, redis.RedisError)
    assert "s3cret" not in str(caught.value)
    await store.close()


async def test_a_wrong_password_is_unavailability_and_appears_nowhere(redis_server: Server) -> None:
    with_user(redis_server, "~*", "+@all")
    store = RedisStore(f"unix://app:wr0ng@{redis_server.socket}")
    with pytest.raises(StoreUnavailable, match=r"(?i)invalid username-password") as caught:
        await store.open()
    assert "wr0ng" not in str(caught.value) + repr(store)


# -- URLs and clients --------------------------------------------------------------------------------------------


def test_repr_names_the_server_and_not_the_password() -> None:
    assert repr(RedisStore("redis://u:s3cret@example.org:7000/1")) == (
        "RedisStore(Redis at example.org:7000, prefix='session:')"
    )


@pytest.mark.parametrize(
    "url", ["http://s3cret@host", "redis://:s3c/ret@host", "redis://:s3cret@host?socket_timeout=x", "s3cret"]
)
def test_an_unusable_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match="cannot use this URL") as caught:
        RedisStore(url)
    assert "s3c" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("option", ["timeout", "connect_timeout"])
def test_a_timeout_has_to_be_positive(option: str) -> None:
    with pytest.raises(ValueError, match="must be positive, not"):
        RedisStore("redis://localhost", **{option: 0})


def test_a_client_that_decodes_is_refused() -> None:
    with pytest.raises(ValueError, match="decode_responses=False"):
        RedisStore(Redis(decode_responses=True))
    with pytest.raises(ValueError, match="decode_responses=False"):
        RedisStore("redis://localhost?decode_responses=true")


def test_a_synchronous_client_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a URL or a client of redis\.asyncio, not a redis\.client object"):
        RedisStore(redis.Redis())  # type: ignore[arg-type]  # this is the mistake


def test_a_client_without_timeouts_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    RedisStore(Redis(socket_timeout=None))
    RedisStore(Redis(socket_timeout=1))
    RedisStore("redis://localhost")
    assert [record.getMessage()[:63] for record in caplog.records] == [
        "the Redis client passed to RedisStore has no socket_timeout: Re"
    ]
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.records[0].name == "asgi_sessions"


@pytest.mark.parametrize("pool_class", [ConnectionPool, BlockingConnectionPool])
async def test_a_passed_client_is_neither_used_up_nor_closed(
    redis_server: Server, pool_class: type[ConnectionPool]
) -> None:
    pool = pool_class.from_url(redis_server.url, max_connections=1, socket_timeout=5)
    client = Redis(connection_pool=pool)
    store = RedisStore(client)
    await check_all_verbs(store)
    connection = await pool.get_connection()  # the only one the pool has
    await check_all_verbs(store)
    await pool.release(connection)
    await store.close()
    assert connection.is_connected
    assert await client.ping()
    await client.aclose()
    await pool.aclose()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_protocols_work(redis_server: Server, protocol: int) -> None:
    store = RedisStore(f"{redis_server.url}?protocol={protocol}&db=1")
    await check_all_verbs(store)
    await store.create(HANDLE, OLD, b"", soon())
    redis_server.client.select(1)
    assert redis_server.client.keys() == [KEY.encode()]
    redis_server.client.select(0)
    await store.close()


async def test_a_closed_store_may_be_closed_again_and_reopened(store: RedisStore) -> None:
    await store.close()
    await store.close()
    await store.open()
    await check_all_verbs(store)


async def test_close_leaves_no_connection(redis_server: Server, store: RedisStore) -> None:
    await store.open()
    assert has_clients(redis_server, 2)
    await store.close()
    await asyncio.to_thread(wait_until, partial(has_clients, redis_server, 1), "closing the connection")


# -- event loops ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_it_says_that_it_needs_asyncio() -> None:
    with pytest.raises(NotSupported, match="RedisStore needs asyncio"):
        await RedisStore("redis://localhost").read(HANDLE)


def test_one_store_works_in_many_event_loops_and_leaves_nothing_behind(redis_server: Server) -> None:
    store = RedisStore(redis_server.url)
    for _ in range(20):
        asyncio.run(check_all_verbs(store))
    gc.collect()  # warnings about what was not closed would be errors here
    wait_until(partial(has_clients, redis_server, 1), "closing the connections")
    assert len(store._lines._lines) == 1


def has_clients(redis_server: Server, count: int) -> bool:
    return len(redis_server.client.client_list()) == count


def test_a_store_that_was_dropped_closes_its_connection(redis_server: Server) -> None:
    async def drop() -> None:
        store = RedisStore(redis_server.url)
        await store.open()
        del store
        gc.collect()
        await asyncio.to_thread(wait_until, partial(has_clients, redis_server, 1), "closing the connection")

    asyncio.run(drop())
    gc.collect()


# -- cluster and Sentinel ------------------------------------------------------------------------------------------


async def test_a_cluster_keeps_each_session_on_the_node_of_its_slot(
    nodes: list[Server], cluster_client: RedisCluster
) -> None:
    store = RedisStore(cluster_client)
    handles = [bytes([number]) * 16 for number in range(60)]
    await asyncio.gather(*[check_all_verbs(store, handle) for handle in handles])
    await asyncio.gather(*[store.create(handle, OLD, handle, soon()) for handle in handles])
    assert await asyncio.gather(*[store.read(handle) for handle in handles]) == [Stored(OLD, h) for h in handles]
    assert min(node.client.dbsize() for node in nodes) > 5
    await store.close()
    await asyncio.gather(*[store.delete(handle) for handle in handles])
    await store.close()


async def test_a_slot_that_moved_is_followed(nodes: list[Server], cluster_client: RedisCluster) -> None:
    store = RedisStore(cluster_client)
    handle = b"0123456789abcdef"
    await store.create(handle, OLD, b"data", soon())
    slot = cluster_client.keyslot("session:" + handle.hex())
    source = next(node for node in nodes if node.client.dbsize() == 1)
    target = next(node for node in nodes if node is not source)
    names = {node: node.client.execute_command("CLUSTER MYID").decode() for node in nodes}
    target.client.execute_command(f"CLUSTER SETSLOT {slot} IMPORTING {names[source]}")
    source.client.execute_command(f"CLUSTER SETSLOT {slot} MIGRATING {names[target]}")
    key = "session:" + handle.hex()
    source.client.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 1000)
    # In between the old node answers ASK, ...
    assert await store.read(handle) == Stored(OLD, b"data")
    assert await store.swap(handle, OLD, NEW, b"more") == Stored(NEW, b"more")
    for node in (target, source, *nodes):
        node.client.execute_command(f"CLUSTER SETSLOT {slot} NODE {names[target]}")
    # ... and afterwards MOVED, once.
    assert await store.read(handle) == Stored(NEW, b"more")
    source.client.config_resetstat()
    assert await store.touch(handle, NEW, soon())
    assert await store.delete(handle) is None
    assert "evalsha" not in source.calls()
    await store.close()


async def test_a_stalled_node_delays_only_its_own_sessions(nodes: list[Server], cluster_client: RedisCluster) -> None:
    store = RedisStore(cluster_client, timeout=1)
    handles = [bytes([number]) * 16 for number in range(30)]
    await asyncio.gather(*[store.read(handle) for handle in handles])
    nodes[2].suspend()
    try:
        started = time.monotonic()
        results = await asyncio.gather(*[store.read(handle) for handle in handles], return_exceptions=True)
        assert time.monotonic() - started < 2
    finally:
        nodes[2].resume()
    stalled = [cluster_client.get_node_from_key("session:" + handle.hex()).port == nodes[2].port for handle in handles]
    assert [isinstance(result, StoreUnavailable) for result in results] == stalled
    assert True in stalled
    assert await asyncio.gather(*[store.read(handle) for handle in handles]) == [None] * 30
    await store.close()


async def test_after_a_failover_sentinel_leads_to_the_new_master() -> None:
    with sentinel() as (port, master, replica):
        manager = Sentinel([("127.0.0.1", port)], socket_timeout=1)
        client = manager.master_for("sessions", socket_timeout=1)
        store = RedisStore(client)
        assert repr(store) == "RedisStore(Redis service sessions, prefix='session:')"
        await store.create(HANDLE, OLD, b"data", soon())
        assert master.client.wait(1, 5000) == 1
        await asyncio.to_thread(fail_over, port, replica)
        master.kill()
        assert await store.swap(HANDLE, OLD, NEW, b"more") == Stored(NEW, b"more")
        assert replica.client.get(KEY) == NEW + b"more"
        await store.close()
        await client.aclose()
        await client.connection_pool.aclose()
        for watcher in manager.sentinels:
            await watcher.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tcp_server_with_a_password_works(kind: str) -> None:
    with server(kind, "--requirepass", "p@ss", tcp=True) as running:
        store = RedisStore(f"redis://:p%40ss@127.0.0.1:{running.port}/0")
        await store.open()
        await check_all_verbs(store)
        await store.close()
