"""The owner index over real servers and a cluster: what it keeps there, what it costs, and what may go wrong."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from redis.asyncio import RedisCluster

from asgi_sessions import RedisStore, Stored, StoreFull, StoreTimeout, StoreUnavailable
from asgi_sessions.stores.owners import OwnerIndex
from tests.servers import KINDS, Server, cluster, proxy, server
from tests.stores.test_owner_index import (
    FIRST,
    HANDLE,
    LONG_AGO,
    OWNER,
    SECOND,
    OwnerIndexContract,
    handles,
    soon,
)

KEY = "session:owner:" + OWNER.hex()
VERSION = b"version1"


@pytest.fixture
async def store(redis_server: Server) -> AsyncIterator[RedisStore]:
    opened = RedisStore(redis_server.url)
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Server]]:
    with cluster() as running:
        yield running


@pytest.fixture
async def cluster_client(nodes: list[Server]) -> AsyncIterator[RedisCluster]:
    client = RedisCluster.from_url(nodes[0].url, socket_timeout=1)
    yield client
    await client.aclose()


class TestRedisStore(OwnerIndexContract):
    """The contract, over each kind of server."""


class TestRedisClusterStore(OwnerIndexContract):
    """The contract, over a cluster, with a prefix that looks like a hash tag and is none."""

    @pytest.fixture
    async def store(self, nodes: list[Server], cluster_client: RedisCluster) -> AsyncIterator[OwnerIndex]:
        for node in nodes:
            node.client.flushall()
        opened = RedisStore(cluster_client, prefix="{}a{b")
        yield opened
        await opened.close()


# -- what is kept ---------------------------------------------------------------------------------------------------


async def test_an_owner_is_one_key_that_ends_with_its_last_entry(redis_server: Server, store: RedisStore) -> None:
    early, late = time.time() + 100, time.time() + 200
    one, two = handles(2)
    await store.enlist(OWNER, one, late)
    await store.enlist(OWNER, two, early)
    assert redis_server.client.keys() == [KEY.encode()]
    assert late * 1000 < redis_server.client.pexpiretime(KEY) < (late + 61) * 1000
    scores = dict(redis_server.client.zrange(KEY, 0, -1, withscores=True))
    assert list(scores) == [two, one]
    assert early * 1000 < scores[two] < (early + 61) * 1000
    await store.delist(OWNER, [one, two])
    assert redis_server.client.keys() == []


async def test_a_generation_is_kept_until_its_time_and_no_longer(redis_server: Server, store: RedisStore) -> None:
    deadline = time.time() + 200
    await store.bar(OWNER, FIRST, deadline)
    await store.enlist(OWNER, HANDLE, time.time() + 100)
    assert redis_server.client.pexpiretime(KEY) == int(deadline * 1000)
    await store.delist(OWNER, [HANDLE])
    assert redis_server.client.pexpiretime(KEY) == int(deadline * 1000)
    redis_server.client.delete(KEY)
    await store.bar(OWNER, FIRST, LONG_AGO)
    assert redis_server.client.keys() == []


async def test_enlisting_removes_what_is_past_a_little_each_time(redis_server: Server, store: RedisStore) -> None:
    await store.enlist(OWNER, HANDLE, soon())
    past = dict.fromkeys(handles(40), int(time.time() * 1000) - 1)
    redis_server.client.zadd(KEY, past)
    redis_server.client.zadd(KEY, {b"g" + FIRST: -1000})
    for left in (25, 9, 1, 1):
        assert await store.enlist(OWNER, HANDLE, soon()) == b""
        assert redis_server.client.zcard(KEY) == left
    assert list(await store.listed(OWNER)) == [HANDLE]


async def test_of_many_generations_four_are_remembered(redis_server: Server, store: RedisStore) -> None:
    for number in range(20):
        await store.bar(OWNER, number.to_bytes(8, "big"), soon())
    assert redis_server.client.zrange(KEY, 0, -1) == [
        b"g" + b"".join(number.to_bytes(8, "big") for number in (19, 18, 17, 16))
    ]


async def test_records_and_owners_do_not_meet(redis_server: Server, store: RedisStore) -> None:
    nested = RedisStore(redis_server.url, prefix="session:owner:")
    await nested.create(HANDLE, VERSION, b"nested", soon())
    await store.create(HANDLE, VERSION, b"data", soon())
    await store.enlist(HANDLE * 2, HANDLE, soon())
    await nested.enlist(HANDLE * 2, HANDLE, soon())
    assert len(redis_server.client.keys()) == 4
    assert await store.read(HANDLE) == Stored(VERSION, b"data")
    assert await nested.read(HANDLE) == Stored(VERSION, b"nested")
    await nested.close()


@pytest.mark.parametrize("prefix", ["session:", "{app}:session:", "{}:", "}{"])
async def test_a_cluster_keeps_each_owner_on_one_node(
    nodes: list[Server], cluster_client: RedisCluster, prefix: str
) -> None:
    for node in nodes:
        node.client.flushall()
    store = RedisStore(cluster_client, prefix=prefix)
    owners = [handle * 2 for handle in handles(30)]
    await asyncio.gather(*[store.bar(owner, FIRST, soon()) for owner in owners])
    assert await asyncio.gather(*[store.enlist(owner, HANDLE, soon()) for owner in owners]) == [FIRST] * 30
    assert sum(node.client.dbsize() for node in nodes) == 30
    for owner in owners:
        await store.delist(owner, await store.listed(owner))
        assert await store.listed(owner) == {}
    await store.close()


# -- what it costs, and what it needs -------------------------------------------------------------------------------


async def test_each_call_is_one_round_trip(redis_server: Server) -> None:
    async with proxy(redis_server) as between:
        store = RedisStore(between.url)
        for attempt in range(2):
            calls = [
                store.enlist(OWNER, HANDLE, soon()),
                store.bar(OWNER, FIRST, soon()),
                store.listed(OWNER),
                store.delist(OWNER, [HANDLE]),
            ]
            for call in calls:
                between.requests = 0
                await call
                assert between.requests == 1 or attempt == 0  # the first time the server does not know the script
        between.requests = 0
        await asyncio.gather(*[store.enlist(OWNER, handle, soon()) for handle in handles(64)])
        assert between.requests <= 3
        assert len(await store.listed(OWNER)) == 64
        await store.close()


WITHIN_SCRIPTS = ("+zadd", "+zscore", "+zrange", "+zrem", "+time", "+pexpireat", "+pexpiretime")


@pytest.mark.parametrize("right", ["+evalsha +eval", "+eval"])
async def test_a_user_that_may_do_only_what_is_documented_is_enough(redis_server: Server, right: str) -> None:
    redis_server.client.acl_deluser("app")
    rules = ("~session:*", "-@all", *right.split(), *WITHIN_SCRIPTS)
    redis_server.client.execute_command("ACL SETUSER", "app", "on", ">s3cret", *rules)
    store = RedisStore(f"unix://app:s3cret@{redis_server.socket}")
    for _ in range(2):
        await store.bar(OWNER, FIRST, soon())
        assert await store.enlist(OWNER, HANDLE, soon()) == FIRST
        await store.delist(OWNER, await store.listed(OWNER))
        assert await store.deadline(HANDLE) is None
        redis_server.client.script_flush()
    redis_server.client.execute_command("ACL SETUSER", "app", "-zadd")
    with pytest.raises(StoreUnavailable, match="for owners ZADD, ZRANGE, ZREM, ZSCORE, TIME and PEXPIRETIME"):
        await store.enlist(OWNER, HANDLE, soon())
    await store.close()


# -- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_server_enlists_nobody_and_still_bars_lists_and_delists(kind: str) -> None:
    with server(kind, "--maxmemory-policy", "noeviction") as full:
        store = RedisStore(full.url)
        await store.enlist(OWNER, HANDLE, soon())
        full.client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull, match=r"OOM|maxmemory") as caught:
            await store.enlist(OWNER, bytes(16), soon())
        assert isinstance(caught.value.__cause__, redis.RedisError)
        await store.bar(OWNER, FIRST, soon())
        await store.bar(bytes(32), SECOND, soon())
        found = await store.listed(OWNER)
        assert list(found) == [HANDLE]
        await store.delist(OWNER, found)
        full.client.config_set("maxmemory", 0)
        assert await store.enlist(OWNER, HANDLE, soon()) == FIRST
        assert await store.enlist(bytes(32), HANDLE, soon()) == SECOND
        await store.close()


async def test_a_foreign_key_is_an_error_and_not_an_empty_list(redis_server: Server, store: RedisStore) -> None:
    redis_server.client.set(KEY, "theirs")
    for call in (
        store.enlist(OWNER, HANDLE, soon()),
        store.bar(OWNER, FIRST, soon()),
        store.listed(OWNER),
        store.delist(OWNER, [HANDLE]),
    ):
        with pytest.raises(StoreUnavailable, match="WRONGTYPE") as caught:
            await call
        assert isinstance(caught.value.__cause__, redis.RedisError)
    assert redis_server.client.get(KEY) == b"theirs"


async def test_a_lost_reply_is_made_up_for(redis_server: Server) -> None:
    async with proxy(redis_server) as between:
        store = RedisStore(between.url)
        await store.enlist(OWNER, bytes(16), soon())
        await store.bar(OWNER, FIRST, soon())
        for call in (store.enlist(OWNER, HANDLE, soon()), store.bar(OWNER, SECOND, soon())):
            between.lose_replies = True
            task = asyncio.ensure_future(call)
            await between.reply_lost()
            between.lose_replies = False
            between.cut()
            await task
        assert set(await store.listed(OWNER)) == {bytes(16), HANDLE}
        assert await store.enlist(OWNER, HANDLE, soon()) == SECOND
        await store.close()


async def test_a_server_that_is_gone_or_silent_is_an_error_within_the_deadline() -> None:
    with server() as running:
        store = RedisStore(running.url, timeout=0.3)
        await store.enlist(OWNER, HANDLE, soon())
        running.suspend()
        results = await asyncio.gather(
            store.enlist(OWNER, HANDLE, soon()),
            store.bar(OWNER, FIRST, soon()),
            store.listed(OWNER),
            store.delist(OWNER, [HANDLE]),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [StoreTimeout] * 4
        running.resume()
        running.kill()
        with pytest.raises(StoreUnavailable):
            await store.listed(OWNER)
        await store.close()
