"""The figures of the page on capacity: ``python -m docs.capacity`` in a checkout with the ``dev`` extra."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from asgi_sessions import (
    CookieStore,
    FilesystemStore,
    MemoryStore,
    RedisStore,
    Stored,
)
from tests.browser import Browser, Clock, application
from tests.servers import proxy, server

SESSIONS = 1_000_000
FILES = 100_000
OWNERS = 20_000
AT_ONCE = 256  # writes under way together
DAY = 86400

Handler = Callable[[Any], Any]

#: 276 bytes as JSON.
VALUES: dict[str, Any] = {
    "user": "alice@example.org",
    "roles": ["admin", "editor"],
    "csrf": "9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c",
    "cart": [{"sku": "A-100", "n": 2}, {"sku": "B-200", "n": 1}],
    "locale": "de_DE",
    "theme": "dark",
    "seen": 1234567890,
    "note": "x" * 60,
    "n": 0,
}


class Recording(MemoryStore):
    """Counts the verbs, and keeps what the last commit wrote."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.verbs: Counter[str] = Counter()
        self.written = b""

    async def read(self, handle: bytes) -> Stored | None:
        self.verbs["read"] += 1
        return await super().read(handle)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        self.verbs["create"] += 1
        self.written = data
        return await super().create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        self.verbs["swap"] += 1
        self.written = data
        return await super().swap(handle, old, new, data, expires_at)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        self.verbs["touch"] += 1
        return await super().touch(handle, version, expires_at)

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        self.verbs["delete"] += 1
        return await super().delete(handle, version)

    async def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes:
        self.verbs["enlist"] += 1
        return await super().enlist(owner, handle, expires_at)

    async def delist(self, owner: bytes, handles: Collection[bytes] | Mapping[bytes, int]) -> None:
        self.verbs["delist"] += 1
        await super().delist(owner, handles)


def show(what: str, value: object) -> None:
    sys.stdout.write(f"{what:<72} {value}\n")


# -- what a request asks of the store ---------------------------------------------------------------------------------


async def nothing(scope: Any) -> None:
    """Uses no session."""


async def read(session: Any) -> None:
    session.get("user")


async def fill(session: Any) -> None:
    session.update(VALUES)


async def write(session: Any) -> None:
    session["n"] = session.get("n", 0) + 1


async def log_in(session: Any) -> None:
    session.owner = "alice"


async def log_out(session: Any) -> None:
    session.invalidate()


async def take_turn(scope: Any) -> None:
    async with scope["sessions"].exclusive() as session:
        session["n"] += 1


STEPS: list[tuple[str, Handler, float]] = [
    ("no cookie, session not used", nothing, 0),
    ("no cookie, session read", read, 0),
    ("a new session is written", fill, 0),
    ("session not used", nothing, 0),
    ("session read", read, 0),
    ("session written", write, 0),
    ("session read, renewal due", read, 2 * DAY),
    ("session written, renewal due", write, 2 * DAY),
    ("exclusive section", take_turn, 0),
    ("login (new secret)", log_in, 0),
    ("session of an owner written", write, 0),
    ("session of an owner read, renewal due", read, 2 * DAY),
    ("logout", log_out, 0),
]


async def operations() -> bytes:
    """What each step asks of a store, and what goes over a connection to Valkey; returns a record."""
    sample = b""
    with server() as running:
        async with proxy(running) as between:
            stored = RedisStore(between.url)
            await each_script_once(stored)
            clock = Clock(time.time())
            counted, browser, twin = Recording(clock), Browser(None), Browser(None)
            for what, handler, later in STEPS:
                clock.now += later
                counted.verbs.clear()
                before = between.requests
                browser.app = application(handler, store=counted, clock=clock)
                twin.app = application(handler, store=stored, clock=clock)
                await browser.get()
                await twin.get()
                verbs = ", ".join(f"{verb} x{count}" for verb, count in counted.verbs.items()) or "nothing"
                show(what, f"{verbs}; round trips to Valkey: {between.requests - before}")
                if handler is write and not sample:
                    sample = counted.written
            await stored.close()
    return sample


async def each_script_once(store: RedisStore) -> None:
    """From then on the server knows them, as it does after the first requests of a deployment."""
    handle, version, deadline = os.urandom(16), os.urandom(8), time.time() + DAY
    await store.create(handle, version, b"data", deadline)
    await store.swap(handle, version, version, b"data", deadline)
    await store.touch(handle, version, deadline)
    await store.delete(handle, version)
    await store.delist(version, [handle])
    await store.enlist(version, handle, deadline)


# -- what they take ---------------------------------------------------------------------------------------------------


async def cookies() -> None:
    for what, store, encrypt in (
        ("signed cookie session", CookieStore(), False),
        ("encrypted cookie session", CookieStore(), True),
        ("server-side session", MemoryStore(), False),
    ):
        browser = Browser(application(fill, store=store, encrypt=encrypt))
        await browser.get()
        show(f"bytes of the cookie's name and value, {what}", sum(map(len, browser.jar.popitem())))


async def fill_store(store: Any, data: bytes, count: int = SESSIONS) -> float:
    """Create the sessions; seconds that it took."""
    begin, deadline = time.perf_counter(), time.time() + 14 * DAY

    async def create(numbers: Iterable[int]) -> None:
        for _ in numbers:
            await store.create(os.urandom(16), os.urandom(8), bytes(bytearray(data)), deadline)

    await asyncio.gather(*(create(range(start, count, AT_ONCE)) for start in range(AT_ONCE)))
    return time.perf_counter() - begin


async def memory(data: bytes) -> None:
    store = MemoryStore()
    gc.collect()
    tracemalloc.start()
    await fill_store(store, data)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    show("MemoryStore: bytes per session (tracemalloc)", used // SESSIONS)


async def redis(kind: str, data: bytes) -> None:
    with server(kind) as running:
        store = RedisStore(running.url)
        await store.open()
        empty = running.client.info("memory")["used_memory"]
        seconds = await fill_store(store, data)
        full = running.client.info("memory")["used_memory"]
        about = running.client.info("server")
        key = running.client.randomkey()
        version = about.get("valkey_version", about["redis_version"])
        name = f"{kind} {version} ({running.client.info('memory')['mem_allocator']})"
        show(f"{name}: MEMORY USAGE of one session", running.client.memory_usage(key))
        show(f"{name}: used_memory per session", (full - empty) // SESSIONS)
        show(f"{name}: creations per second, {AT_ONCE} at once", int(SESSIONS / seconds))
        await store.close()


async def fill_index(store: Any, owners: int, sessions: int) -> None:
    """Give each of some owners some sessions."""
    names, deadline = [os.urandom(32) for _ in range(owners)], time.time() + 28 * DAY
    for start in range(0, owners, AT_ONCE):
        for _ in range(sessions):
            await asyncio.gather(
                *(store.enlist(name, os.urandom(16), deadline) for name in names[start : start + AT_ONCE])
            )


async def index_in_memory() -> None:
    for sessions in (1, 10):
        store = MemoryStore()
        gc.collect()
        tracemalloc.start()
        await fill_index(store, OWNERS, sessions)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        show(f"MemoryStore: bytes of the index per owner of {sessions}", used // OWNERS)


async def index_in_redis(kind: str) -> None:
    with server(kind) as running:
        store = RedisStore(running.url, prefix="session:")
        for sessions in (1, 10):
            running.client.flushall()
            await store.read(bytes(16))  # the connection counts, too
            empty = running.client.info("memory")["used_memory"]
            await fill_index(store, OWNERS, sessions)
            full = running.client.info("memory")["used_memory"]
            usage = running.client.memory_usage(running.client.randomkey())
            show(f"{kind}: MEMORY USAGE of the index of an owner of {sessions}", usage)
            show(f"{kind}: used_memory of it", (full - empty) // OWNERS)
        await store.close()


async def files(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "sessions"
        store = FilesystemStore(path, timeout=60)
        seconds = await fill_store(store, data, FILES)
        found = [entry.stat() for entry in path.rglob("*")]
        show("FilesystemStore: bytes on disk per session", sum(stat.st_blocks for stat in found) * 512 // FILES)
        show("FilesystemStore: inodes, sessions", f"{len(found)} for {FILES}")
        show(f"FilesystemStore: creations per second, {AT_ONCE} at once", int(FILES / seconds))
        begin = time.perf_counter()
        await store.prune()
        show("FilesystemStore: seconds to look for expired ones", f"{time.perf_counter() - begin:.1f}")
        await store.close()
        later = FilesystemStore(path, clock=lambda: time.time() + 15 * DAY)
        begin = time.perf_counter()
        removed = await later.prune()
        show(f"FilesystemStore: seconds to remove {removed} expired ones", f"{time.perf_counter() - begin:.1f}")
        await later.close()


async def main() -> None:
    show("Python", platform.python_version())
    sample = await operations()
    await cookies()
    show("bytes of the values as JSON", len(json.dumps(VALUES, separators=(",", ":"))))
    show("bytes of the record", len(sample))
    await memory(sample)
    await index_in_memory()
    for kind in ("valkey", "redis-server"):
        await redis(kind, sample)
        await index_in_redis(kind)
    await files(sample)


if __name__ == "__main__":
    asyncio.run(main())
