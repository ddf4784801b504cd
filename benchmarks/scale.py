"""How the cost of one operation, and of pruning, grows with the number of stored sessions."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from os import urandom
from pathlib import Path
from typing import Any

import msgspec

from asgi_sessions import FilesystemStore, RecordStore, RedisStore

from .applications import SMALL
from .bench import Workbench
from .contenders import OURS, Contender
from .counting import hops
from .times import spread

NUMBERS = (10, 1_000, 100_000, 1_000_000)
OPERATIONS = 300  # of one sample
AT_ONCE = 256  # records that are created together
EXPIRING = 10  # one of so many is expired when it comes to pruning
BYTES_PER_FILE = 8192  # that must be free before so many files are written, twice what they take
SOON, LATE = 3600, 14 * 24 * 3600  # seconds

Operation = Callable[[RecordStore, bytes], Awaitable[Any]]


class Population:
    """The records of one store: some are going to expire soon."""

    def __init__(self, store: RecordStore) -> None:
        self.store = store
        self.alive: list[bytes] = []
        self._data = msgspec.msgpack.encode(SMALL)

    async def grow(self, number: int) -> None:
        """Create records until there are so many."""
        soon = number // EXPIRING
        await self._create(soon, SOON)
        self.alive += await self._create(number - soon - len(self.alive), LATE)

    async def measure(self, operation: Operation, rounds: int) -> dict[str, float]:
        """Microseconds for records chosen at random, one after the other."""
        samples = []
        for _ in range(rounds):
            handles = random.choices(self.alive, k=OPERATIONS)
            start = time.perf_counter()
            for handle in handles:
                await operation(self.store, handle)
            samples.append((time.perf_counter() - start) / OPERATIONS * 1e6)
        return spread(samples)

    async def write(self, store: RecordStore, handle: bytes) -> None:
        """What a commit needs: the version that is there, known to whoever read the record."""
        version = self._version(handle)
        if (kept := await store.swap(handle, version, version, self._data)) is None or kept.version != version:
            raise RuntimeError("a record is not there as it was written")

    async def _create(self, number: int, seconds: float) -> list[bytes]:
        handles = [urandom(16) for _ in range(number)]
        deadline = time.time() + seconds
        for start in range(0, number, AT_ONCE):
            batch = handles[start : start + AT_ONCE]
            creating = (self.store.create(each, self._version(each), self._data, deadline) for each in batch)
            if not all(await asyncio.gather(*creating)):
                raise RuntimeError("a record was not created")
        return handles

    @staticmethod
    def _version(handle: bytes) -> bytes:
        return handle[:8]


def measure(bench: Workbench, contenders: Sequence[Contender], rounds: int, most: int) -> list[dict[str, Any]]:
    """
    Args:
        most: sessions that are stored at once; more are not tried.
    """
    names = {each.name for each in contenders}
    rows: list[dict[str, Any]] = []
    if f"{OURS}, files" in names:
        rows += asyncio.run(_files(bench.directory / "scale", rounds, most))
    if f"{OURS}, Redis" in names:
        rows += asyncio.run(_redis(bench.redis_url, rounds, most))
    return rows


async def _files(directory: Path, rounds: int, most: int) -> list[dict[str, Any]]:
    store, rows = FilesystemStore(directory, timeout=60), []
    population = Population(store)
    for number in [number for number in NUMBERS if number <= most]:
        if shutil.disk_usage(directory.parent).free < number * BYTES_PER_FILE:
            print(f"files: no room for {number:,} sessions", file=sys.stderr)
            break
        row = await _row("files", population, number, rounds)
        rows.append({**row, "prune": await _prune(directory, number // EXPIRING)})
    await store.close()
    return rows


async def _redis(url: str, rounds: int, most: int) -> list[dict[str, Any]]:
    store = RedisStore(url, timeout=60)
    population = Population(store)
    rows = [await _row("Redis", population, number, rounds) for number in NUMBERS if number <= most]
    await store.close()
    return rows


async def _row(kind: str, population: Population, number: int, rounds: int) -> dict[str, Any]:
    await population.grow(number)
    return {
        "store": kind,
        "sessions": number,
        "read": await population.measure(_read, rounds),
        "write": await population.measure(population.write, rounds),
    }


async def _read(store: RecordStore, handle: bytes) -> None:
    if await store.read(handle) is None:
        raise RuntimeError("a record is not there")


async def _prune(directory: Path, expired: int) -> dict[str, float]:
    """What it takes to look at all records and remove those that expired; a step is what one hop does."""
    store = FilesystemStore(directory, timeout=60, clock=lambda: time.time() + 2 * SOON)
    with hops() as ended:
        start = time.perf_counter()
        removed = await store.prune()
        seconds = time.perf_counter() - start
    await store.close()
    if removed != expired:
        raise RuntimeError(f"{removed} records were removed instead of {expired}")
    steps = sorted(after - before for before, after in pairwise([start, *ended]))
    return {
        "seconds": round(seconds, 4),
        "steps": len(steps),
        "step_ms": round(steps[len(steps) // 2] * 1000, 3),
        "longest_ms": round(steps[-1] * 1000, 3),
    }
