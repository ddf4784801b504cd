"""What the memory store adds to the contract: threads, and memory that does not grow for ever."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from asgi_sessions import MemoryStore, Stored
from tests.browser import Clock

HANDLE = bytes(16)
OLD, NEW = b"version1", b"version2"


def numbered(index: int) -> bytes:
    return index.to_bytes(16, "big")


async def test_expired_records_are_erased_while_others_are_written(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    for index in range(2000):
        clock.now += 1
        await store.create(numbered(index), OLD, b"", clock.now + 100)
    assert 100 <= len(store) <= 135  # a third more than are alive


async def test_records_that_were_deleted_or_prolonged_leave_nothing_behind() -> None:
    store = MemoryStore()
    for index in range(1000):
        await store.create(HANDLE, OLD, b"", time.time() + 3600)
        await store.touch(HANDLE, OLD, time.time() + 3600 + index)
        await store.delete(HANDLE)
    assert len(store) == 0
    assert not [value for value in vars(store).values() if isinstance(value, list | dict) and value]


async def test_one_write_erases_only_a_few(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    for index in range(100):
        await store.create(numbered(index), OLD, b"", clock.now + 10)
    clock.now += 10
    await store.create(HANDLE[:-1] + b"\xff", OLD, b"", clock.now + 10)
    assert 90 < len(store) < 100


async def test_a_swap_to_a_deadline_in_the_past_says_that_it_took_place() -> None:
    store = MemoryStore()
    await store.create(HANDLE, OLD, b"", time.time() + 3600)
    assert await store.swap(HANDLE, OLD, NEW, b"new", 1.0) == Stored(NEW, b"new")
    assert await store.read(HANDLE) is None


@pytest.mark.parametrize("threads", [4])
def test_a_counter_counts_every_swap_from_several_threads(threads: int) -> None:
    store = MemoryStore()
    asyncio.run(store.create(HANDLE, bytes(8), b"0", time.time() + 3600))

    async def count(thread: int) -> None:
        for index in range(500):
            new = bytes([thread + 1, *index.to_bytes(7, "big")])
            while True:
                kept = await store.read(HANDLE)
                assert kept is not None
                mine = await store.swap(HANDLE, kept.version, new, b"%d" % (int(kept.data) + 1))
                assert mine is not None
                if mine.version == new:
                    break

    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda thread: asyncio.run(count(thread)), range(threads)))
    kept = asyncio.run(store.read(HANDLE))
    assert kept is not None
    assert kept.data == b"%d" % (threads * 500)
