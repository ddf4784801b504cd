"""Records that cannot be decoded are put aside, and end at their deadline."""

import time

import pytest

from asgi_sessions import RedisStore, Session
from tests.browser import Browser, application, read
from tests.servers import cluster, server

HANDLE = bytes(range(16))
KEY = "session:" + HANDLE.hex()


async def fill(session: Session) -> None:
    session["n"] = 1


async def test_a_corrupt_record_is_renamed_with_its_deadline_and_the_visitor_begins_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with server() as running:
        store = RedisStore(running.url)
        browser = Browser(application({"/fill": fill, "/": read}, store=store))
        await browser.get("/fill")
        (key,) = running.client.keys("session:*")
        running.client.set(key, running.client.get(key)[:8] + b"garbage", keepttl=True)
        deadline = running.client.pexpiretime(key)
        for _ in range(2):
            assert (await browser.get("/")).json() == {}
        aside = b"{" + key + b"}:corrupt"
        assert running.client.keys("*") == [aside]
        assert running.client.pexpiretime(aside) == deadline
        assert len(caplog.records) == 1
        assert (await browser.get("/fill")).status == 200
        assert (await browser.get("/")).json() == {"n": 1}
        await store.close()


async def test_only_the_version_that_was_read_is_put_aside() -> None:
    with server() as running:
        store = RedisStore(running.url)
        await store.create(HANDLE, b"version1", b"data", time.time() + 60)
        await store.quarantine(HANDLE, b"version2")
        assert await store.read(HANDLE) is not None
        await store.quarantine(HANDLE, b"version1")
        assert await store.read(HANDLE) is None
        await store.close()


@pytest.mark.parametrize("prefix", ["session:", "{app}:session:"])
async def test_on_a_cluster_the_hash_slot_stays(prefix: str) -> None:
    from redis.asyncio.cluster import RedisCluster

    with cluster() as nodes:
        client = RedisCluster.from_url(nodes[0].url)
        store = RedisStore(client, prefix=prefix)
        for number in range(5):
            handle = bytes([number]) * 16
            await store.create(handle, b"version1", b"data", time.time() + 60)
            await store.quarantine(handle, b"version1")
            assert await store.read(handle) is None
        assert sum(len(node.client.keys("*:corrupt")) for node in nodes) == 5
        await store.close()
        await client.aclose()


async def test_a_user_that_may_not_rename_leaves_it_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with server() as running:
        running.client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~session:*", "+@all", "-rename")
        store = RedisStore(running.url.replace("unix://", "unix://app:pw@"))
        await store.create(HANDLE, b"version1", b"data", time.time() + 60)
        await store.quarantine(HANDLE, b"version1")
        assert await store.read(HANDLE) is not None
        assert "was not put aside" in caplog.text
        await store.close()
