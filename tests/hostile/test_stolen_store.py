"""What somebody can do who reads the store's backup, or writes to the store."""

import base64
from typing import Any

import pytest
import redis

from asgi_sessions import MalformedSession, MemoryStore, UnknownSession
from asgi_sessions._engine.record import digest

from ..browser import KEY, Browser
from .case import opened
from .stored import redis_of
from .target import HANDLE, SECRET, Target, cookies, refused_calmly


def dump(target: Target) -> bytes:
    """All that the store keeps, file names and keys too."""
    if target.kind == "filesystem":
        files = sorted((target.path / "sessions").rglob("*"))
        return b"".join(str(file).encode() + (file.read_bytes() if file.is_file() else b"") for file in files)
    if target.kind == "redis":
        with redis.Redis.from_url(target.redis_url) as client:
            return b"".join(key + client.get(key) for key in client.keys(f"{target.path}:*"))
    assert isinstance(target.store, MemoryStore)
    return repr(target.store._records).encode() + b"".join(
        part for handle, (stored, _) in target.store._records.items() for part in (handle, stored.version, stored.data)
    )


def spellings(secret: bytes) -> list[bytes]:
    texts = [secret, base64.b64encode(secret), base64.urlsafe_b64encode(secret), secret.hex().encode()]
    return [text.rstrip(b"=") for text in texts]


@pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])
async def test_stolen_store_logs_nobody_in(server_target: Target, encrypt: bool) -> None:
    app = server_target.application(encrypt=encrypt)
    browser = Browser(app)
    await browser.get("/login")
    await browser.get("/set")
    cookie = browser.jar["session"]
    token = opened(server_target, cookie.encode())
    stolen = dump(server_target)
    for part in (*spellings(token[16:]), *spellings(token), cookie.encode(), KEY.encode()):
        assert part not in stolen
    assert (b"ann" in stolen) is not encrypt, "with encrypt=True not even the values"
    assert (b"green" in stolen) is not encrypt
    # Whoever holds the dump, and even the key, has the hash only: it opens nothing.
    hashed = server_target.seal(token[:16] + digest(token[16:]))
    await refused_calmly(server_target, cookies(hashed), UnknownSession, app)
    assert (await browser.get("/")).json() == {"user": "ann", "color": "green"}


async def test_stolen_store_records_can_not_be_moved_under_another_handle(server_target: Target) -> None:
    """Even with write access: an encrypted record belongs to its handle."""
    app = server_target.application(encrypt=True)
    victim, attacker = Browser(app), Browser(app)
    await victim.get("/login")
    await attacker.get("/set")
    store: Any = server_target.store
    handles = [opened(server_target, browser.jar["session"].encode())[:16] for browser in (victim, attacker)]
    records = [await store.read(handle) for handle in handles]
    assert await store.swap(handles[1], records[1].version, b"version!", records[0].data)
    await refused_calmly(server_target, cookies(attacker.jar["session"]), MalformedSession, app)


async def test_corrupt_record_gives_way_to_a_new_session(server_target: Target) -> None:
    """The visitor goes on under a handle of its own; the file is put aside for those who want to know."""
    cookie = await server_target.planted(b"\xc1 corrupt")
    browser = server_target.browser()
    browser.jar["session"] = cookie
    response = await browser.get("/login")
    assert (response.status, len(response.set_cookies)) == (200, 1)
    assert (await browser.get("/")).json() == {"user": "ann"}
    assert browser.jar["session"] != cookie
    if server_target.kind == "filesystem":
        [put_aside] = (server_target.path / "sessions").rglob("*.corrupt")
        assert put_aside.read_bytes().endswith(b"\xc1 corrupt")


@pytest.mark.parametrize("server_target", ["redis"], indirect=True)
async def test_foreign_redis_key_is_left_alone(server_target: Target) -> None:
    with redis_of(server_target) as (client, key):
        client.rpush(key, "mine")
        browser = server_target.browser()
        browser.jar["session"] = server_target.seal(HANDLE + SECRET)
        await browser.get("/login")
        assert (await browser.get("/")).json() == {"user": "ann"}
        await browser.get("/logout")
        assert client.lrange(key, 0, -1) == [b"mine"]
