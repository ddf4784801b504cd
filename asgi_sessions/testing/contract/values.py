"""What the tests of the contract store, and how they run verbs at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel

from ...stores.base import RecordStore, Stored

HANDLE = bytes(range(16))
OTHER = bytes(range(1, 17))
OLD, NEW, THIRD = b"version1", b"version2", b"version3"
FAR = 1e10  # seconds

ODD_HANDLES = {
    "zeros": bytes(16),
    "ones": b"\xff" * 16,
    "path": b"../../../../etc/",
    "lines": b"\r\n" * 8,
    "text": b"{a}*?[b]%s:\\'\"; ",
}
ODD_DATA = {"empty": b"", "binary": bytes(range(256)), "nul": b"\0" * 9, "large": b"0123456789abcdef" * 65536}

Verb = Callable[[RecordStore], Coroutine[Any, Any, object]]


def soon() -> float:
    """A deadline that no test reaches."""
    return time.time() + 3600


def past() -> float:
    return time.time() - 1


async def reach(deadline: float) -> None:
    """Wait until a moment, in POSIX seconds, has passed."""
    while time.time() <= deadline:  # noqa: ASYNC110 - there is no event to wait for
        await anyio.sleep(0.005)


async def create(store: RecordStore, handle: bytes = HANDLE, data: bytes = b"data") -> None:
    assert await store.create(handle, OLD, data, soon()) is True


def creating(version: bytes) -> Verb:
    async def create_it(store: RecordStore) -> bool:
        return await store.create(HANDLE, version, version, soon())

    return create_it


def swapping(version: bytes) -> Verb:
    async def swap(store: RecordStore) -> Stored | None:
        return await store.swap(HANDLE, OLD, version, version)

    return swap


def touching(version: bytes) -> Verb:
    async def touch(store: RecordStore) -> bool:
        return await store.touch(HANDLE, version, soon())

    return touch


def deleting_version(version: bytes) -> Verb:
    async def delete(store: RecordStore) -> Stored | None:
        return await store.delete(HANDLE, version)

    return delete


def reading(handle: bytes) -> Verb:
    async def read(store: RecordStore) -> Stored | None:
        return await store.read(handle)

    return read


async def deleting(store: RecordStore) -> Stored | None:
    return await store.delete(HANDLE)


async def gather(*verbs: Verb, store: RecordStore) -> list[Any]:
    """What each of them returned, all of them running at once."""
    results: list[Any] = [None] * len(verbs)

    async def run(index: int, verb: Verb) -> None:
        results[index] = await verb(store)

    async with anyio.create_task_group() as group:
        for index, verb in enumerate(verbs):
            group.start_soon(run, index, verb)
    return results


async def cut_short(verb: Verb, store: RecordStore, steps: int) -> None:
    """Cancel the verb after ``steps`` turns of the event loop, if it is not done by then."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(verb, store)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
