"""What it costs to know whose sessions are these: a login that is listed, the list, one end, all ends."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from asgi_sessions import (
    FilesystemStore,
    MemoryStore,
    RecordStore,
    RedisStore,
    SessionManager,
    SessionMiddleware,
    generate_key,
)

from .applications import respond
from .bench import Workbench
from .contenders import OURS, Contender
from .redis_proxy import Tally, counting
from .times import spread

SESSIONS = 10  # of one owner
OPERATIONS = 20  # of one sample

Operation = Callable[[], Awaitable[Any]]

_owners = itertools.count(1)


class Site:
    """An application in which each request is a login, and the manager of its sessions."""

    def __init__(self, store: RecordStore) -> None:
        key = generate_key()
        self.app = SessionMiddleware(self._enter, key, store=store)
        self.manager = SessionManager(store, key)
        self.owner = 0
        self.revoked_in = 0.0  # seconds; without looking for the session

    async def _enter(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/owner":
            scope["session"].owner = self.owner
        else:
            scope["session"]["user"] = self.owner
        await respond(scope, receive, send)

    async def request(self, path: str) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            pass

        await self.app({"type": "http", "path": path, "headers": []}, receive, send)

    async def login(self) -> None:
        await self.request("/owner")

    async def plain(self) -> None:
        await self.request("/")

    async def list(self) -> None:
        found = [info async for info in self.manager.list(self.owner)]
        if len(found) != SESSIONS:
            raise RuntimeError(f"{len(found)} sessions are listed, not {SESSIONS}")

    async def revoke(self) -> None:
        async for info in self.manager.list(self.owner):
            start = time.perf_counter()
            await self.manager.revoke(info.handle)
            self.revoked_in = time.perf_counter() - start
            return

    async def revoke_all(self) -> None:
        await self.manager.revoke_all(self.owner)

    async def populate(self) -> None:
        self.owner = next(_owners)
        for _ in range(SESSIONS):
            await self.login()


def measure(bench: Workbench, contenders: Sequence[Contender], rounds: int) -> list[dict[str, Any]]:
    names = {each.name for each in contenders}
    rows: list[dict[str, Any]] = []
    with counting(bench.redis_url) as (url, tally):
        makers: dict[str, Callable[[], RecordStore]] = {
            "memory": MemoryStore,
            "files": lambda: FilesystemStore(bench.directory / "owners"),
            "Redis": lambda: RedisStore(bench.redis_url),
        }
        for kind, make in makers.items():
            if f"{OURS}, {kind}" in names:
                rows += asyncio.run(_measure(kind, make(), rounds))
        if f"{OURS}, Redis" in names:
            trips = asyncio.run(_count(RedisStore(url), tally))
            for row in rows:
                row["round trips"] = trips[row["operation"]]
    return rows


async def _measure(kind: str, store: RecordStore, rounds: int) -> list[dict[str, Any]]:
    site = Site(store)
    samples: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, operation in _operations(site).items():
            samples.setdefault(name, []).append(await _sample(site, operation, name))
    await store.close()
    return [{"store": kind, "operation": name, **spread(found)} for name, found in samples.items()]


async def _sample(site: Site, operation: Operation, name: str) -> float:
    total = 0.0
    for _ in range(OPERATIONS):
        await site.populate()
        start = time.perf_counter()
        await operation()
        total += site.revoked_in if name == "revoke one" else time.perf_counter() - start
    return total / OPERATIONS * 1e6


async def _count(store: RecordStore, tally: Tally) -> dict[str, int]:
    site, trips = Site(store), {}
    for name, operation in _operations(site).items():
        for _ in range(2):  # the second time the server knows the scripts
            await site.populate()
            before = tally.values()[1]
            await operation()
            trips[name] = tally.values()[1] - before
    await store.close()
    # Looking for a session to revoke took the list and its records.
    trips["revoke one"] -= trips["list 10"]
    return trips


def _operations(site: Site) -> dict[str, Operation]:
    return {
        "a new session": site.plain,
        "a new session with an owner": site.login,
        "list 10": site.list,
        "revoke one": site.revoke,
        "revoke all 10": site.revoke_all,
    }
