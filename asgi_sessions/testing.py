"""Tests for those who write a store. Needs pytest; anyio's plugin, which comes with anyio, runs the asynchronous ones.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self):
            store = MyStore(...)
            yield store
            await store.close()
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from .stores.base import RecordStore, Stored

__all__ = ["StoreContract"]

HANDLE = bytes(range(16))
OTHER = bytes(range(1, 17))
OLD, NEW, THIRD = b"version1", b"version2", b"version3"

ODD_HANDLES = {
    "zeros": bytes(16),
    "ones": b"\xff" * 16,
    "path": b"../../../../etc/",
    "lines": b"\r\n" * 8,
    "text": b"{a}*?[b]%s:\\'\"; ",
}
ODD_DATA = {"empty": b"", "binary": bytes(range(256)), "nul": b"\0" * 9, "large": b"0123456789abcdef" * 65536}

Verb = Callable[[RecordStore], Awaitable[object]]


def soon() -> float:
    """A deadline that no test reaches."""
    return time.time() + 3600


def past() -> float:
    return time.time() - 1


@pytest.mark.anyio
class StoreContract:
    """Subclass it with a fixture ``store`` that returns a fresh ``RecordStore``; each test proves one promise."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Override it if the store runs under trio."""
        return "asyncio"

    async def create(self, store: RecordStore, handle: bytes = HANDLE, data: bytes = b"data") -> None:
        assert await store.create(handle, OLD, data, soon())

    # -- create -----------------------------------------------------------------------------------------------------

    async def test_what_was_created_can_be_read(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_nothing_is_there_before(self, store: RecordStore) -> None:
        assert await store.read(HANDLE) is None
        assert await store.swap(HANDLE, OLD, NEW, b"new") is None
        assert await store.touch(HANDLE, OLD, soon()) is False
        assert await store.delete(HANDLE) is None
        assert await store.delete(HANDLE, OLD) is None

    async def test_create_never_overwrites(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.create(HANDLE, NEW, b"new", soon()) is False
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_create_repeated_after_a_lost_reply_is_true(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.create(HANDLE, OLD, b"data", soon()) is True
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_create_takes_the_place_of_an_expired_record(self, store: RecordStore) -> None:
        await store.create(HANDLE, OLD, b"data", past())
        assert await store.create(HANDLE, NEW, b"new", soon()) is True
        assert await store.read(HANDLE) == Stored(NEW, b"new")

    # -- swap -------------------------------------------------------------------------------------------------------

    async def test_swap_replaces_the_version_it_names(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.swap(HANDLE, OLD, NEW, b"new") == Stored(NEW, b"new")
        assert await store.read(HANDLE) == Stored(NEW, b"new")

    async def test_swap_leaves_another_version_and_returns_it(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.swap(HANDLE, THIRD, NEW, b"new") == Stored(OLD, b"data")
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_swap_repeated_after_a_lost_reply_returns_ours(self, store: RecordStore) -> None:
        await self.create(store)
        await store.swap(HANDLE, OLD, NEW, b"new")
        assert await store.swap(HANDLE, OLD, NEW, b"new") == Stored(NEW, b"new")

    async def test_swap_never_creates(self, store: RecordStore) -> None:
        await self.create(store)
        await store.delete(HANDLE)
        assert await store.swap(HANDLE, OLD, NEW, b"new", soon()) is None
        assert await store.read(HANDLE) is None

    async def test_swap_without_a_deadline_keeps_the_one_there_is(self, store: RecordStore) -> None:
        await self.create(store)
        await store.swap(HANDLE, OLD, NEW, b"new")
        assert await store.read(HANDLE) is not None

    async def test_swap_without_a_deadline_does_not_prolong_it(self, store: RecordStore) -> None:
        """The one test that waits, for a tenth of a second, because nothing else shows a deadline from outside."""
        for attempt in range(8):
            await store.create(HANDLE, OLD, b"data", time.time() + 0.1 * 2**attempt)
            if await store.swap(HANDLE, OLD, NEW, b"new") is not None:
                break  # otherwise the machine was so slow that the deadline passed first
        with anyio.fail_after(60):
            while await store.read(HANDLE) is not None:  # noqa: ASYNC110 - there is no event to wait for
                await anyio.sleep(0.005)

    async def test_swap_with_a_deadline_moves_it(self, store: RecordStore) -> None:
        await self.create(store)
        await store.swap(HANDLE, OLD, NEW, b"new", past())
        assert await store.read(HANDLE) is None

    # -- touch ------------------------------------------------------------------------------------------------------

    async def test_touch_moves_the_deadline_and_nothing_else(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.touch(HANDLE, OLD, soon() + 3600) is True
        assert await store.touch(HANDLE, OLD, soon() + 3600) is True
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_touch_can_end_a_record(self, store: RecordStore) -> None:
        await self.create(store)
        await store.touch(HANDLE, OLD, past())
        assert await store.read(HANDLE) is None

    async def test_touch_leaves_another_version_alone(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.touch(HANDLE, NEW, past()) is False
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    # -- delete -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("version", [None, OLD])
    async def test_delete_deletes_and_may_be_repeated(self, store: RecordStore, version: bytes | None) -> None:
        await self.create(store)
        assert await store.delete(HANDLE, version) is None
        assert await store.read(HANDLE) is None
        assert await store.delete(HANDLE, version) is None

    async def test_delete_of_another_version_returns_what_stands_in_the_way(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.delete(HANDLE, NEW) == Stored(OLD, b"data")
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_a_handle_can_be_used_again_after_delete(self, store: RecordStore) -> None:
        await self.create(store)
        await store.delete(HANDLE)
        assert await store.create(HANDLE, NEW, b"new", soon()) is True

    # -- deadlines --------------------------------------------------------------------------------------------------

    async def test_an_expired_record_exists_for_no_verb(self, store: RecordStore) -> None:
        await store.create(HANDLE, OLD, b"data", past())
        assert await store.read(HANDLE) is None
        assert await store.swap(HANDLE, OLD, NEW, b"new", soon()) is None
        assert await store.touch(HANDLE, OLD, soon()) is False
        assert await store.delete(HANDLE, NEW) is None
        assert await store.read(HANDLE) is None

    # -- what is kept -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("handle", ODD_HANDLES.values(), ids=ODD_HANDLES)
    async def test_any_sixteen_bytes_are_a_handle(self, store: RecordStore, handle: bytes) -> None:
        await self.create(store, handle)
        assert await store.swap(handle, OLD, NEW, b"new") == Stored(NEW, b"new")
        assert await store.read(handle) == Stored(NEW, b"new")
        assert await store.delete(handle, NEW) is None

    async def test_handles_that_differ_in_one_bit_are_two_records(self, store: RecordStore) -> None:
        number = int.from_bytes(HANDLE, "big")
        near = [(number ^ 1 << bit).to_bytes(16, "big") for bit in range(128)]
        await self.create(store, HANDLE, b"one")
        for handle in near:
            await self.create(store, handle, handle)
        await store.delete(HANDLE)
        for handle in near:
            assert await store.read(handle) == Stored(OLD, handle)

    @pytest.mark.parametrize("data", ODD_DATA.values(), ids=ODD_DATA)
    async def test_any_bytes_are_data(self, store: RecordStore, data: bytes) -> None:
        await self.create(store, data=data)
        assert await store.read(HANDLE) == Stored(OLD, data)
        assert await store.swap(HANDLE, OLD, NEW, data) == Stored(NEW, data)
        assert await store.swap(HANDLE, THIRD, OLD, b"") == Stored(NEW, data)

    async def test_any_eight_bytes_are_a_version(self, store: RecordStore) -> None:
        versions = [bytes(8), b"\xff" * 8, b"\r\n\0*?%s;"]
        await store.create(HANDLE, versions[0], b"0", soon())
        assert await store.swap(HANDLE, versions[0], versions[1], b"1") == Stored(versions[1], b"1")
        assert await store.swap(HANDLE, versions[1], versions[2], b"2") == Stored(versions[2], b"2")
        assert await store.delete(HANDLE, versions[2]) is None

    # -- concurrency ------------------------------------------------------------------------------------------------

    async def test_of_many_creators_exactly_one_wins(self, store: RecordStore) -> None:
        versions = [b"create%02d" % index for index in range(10)]
        won = await gather(*(creating(version) for version in versions), store=store)
        assert won.count(True) == 1
        kept = await store.read(HANDLE)
        assert kept is not None
        assert kept.version == versions[won.index(True)]

    async def test_of_many_swaps_from_one_version_exactly_one_wins(self, store: RecordStore) -> None:
        await self.create(store)
        versions = [b"swap__%02d" % index for index in range(10)]
        kept = await gather(*(swapping(version) for version in versions), store=store)
        winner = await store.read(HANDLE)
        assert set(kept) == {winner}
        assert winner is not None
        assert winner.version in versions

    async def test_a_counter_counts_every_swap(self, store: RecordStore) -> None:
        await self.create(store, data=b"0")

        async def increment(store: RecordStore) -> None:
            for _ in range(5):
                kept = await store.read(HANDLE)
                assert kept is not None
                while True:
                    version = time.perf_counter_ns().to_bytes(8, "big")
                    mine = await store.swap(HANDLE, kept.version, version, b"%d" % (int(kept.data) + 1))
                    assert mine is not None
                    if mine.version == version:
                        break
                    kept = mine
                    await anyio.lowlevel.checkpoint()

        await gather(*[increment] * 4, store=store)
        kept = await store.read(HANDLE)
        assert kept is not None
        assert kept.data == b"20"

    async def test_delete_wins_over_swaps_whichever_comes_first(self, store: RecordStore) -> None:
        for turn in range(5):
            await self.create(store)
            verbs = [swapping(b"swap__%02d" % index) for index in range(5)]
            verbs.insert(turn, deleting)
            await gather(*verbs, store=store)
            assert await store.read(HANDLE) is None

    @pytest.mark.parametrize("microseconds", [0, 20, 50, 100, 200, 300, 500, 1000, 3000])
    async def test_a_swap_that_ran_out_of_time_can_be_repeated(self, store: RecordStore, microseconds: int) -> None:
        data = b"0123456789abcdef" * 4096
        await self.create(store)
        with anyio.move_on_after(microseconds / 1e6):
            await store.swap(HANDLE, OLD, NEW, data)
        assert await store.read(HANDLE) in (Stored(OLD, b"data"), Stored(NEW, data))
        assert await store.swap(HANDLE, OLD, NEW, data) == Stored(NEW, data)
        assert await store.read(HANDLE) == Stored(NEW, data)

    async def test_a_cancelled_swap_took_place_as_a_whole_or_not_at_all(self, store: RecordStore) -> None:
        await self.create(store)
        for steps in range(6):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(store.swap, HANDLE, OLD, NEW, b"new")
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
            with anyio.fail_after(10):
                kept = await store.swap(HANDLE, OLD, NEW, b"new")
            assert kept == Stored(NEW, b"new")
            assert await store.swap(HANDLE, NEW, OLD, b"data") == Stored(OLD, b"data")

    # -- opening and closing ----------------------------------------------------------------------------------------

    async def test_it_can_be_opened_closed_and_opened_again(self, store: RecordStore) -> None:
        await store.open()
        await self.create(store)
        await store.close()
        await store.close()
        await store.open()
        await store.read(HANDLE)

    async def test_it_opens_on_first_use(self, store: RecordStore) -> None:
        await self.create(store)
        assert await store.read(OTHER) is None


def creating(version: bytes) -> Verb:
    async def create(store: RecordStore) -> bool:
        return await store.create(HANDLE, version, version, soon())

    return create


def swapping(version: bytes) -> Verb:
    async def swap(store: RecordStore) -> Stored | None:
        return await store.swap(HANDLE, OLD, version, version)

    return swap


async def deleting(store: RecordStore) -> Stored | None:
    return await store.delete(HANDLE)


async def gather(*verbs: Verb, store: RecordStore) -> list[object]:
    """What each of them returned, all of them running at once."""
    results: list[object] = [None] * len(verbs)

    async def run(index: int, verb: Verb) -> None:
        results[index] = await verb(store)

    async with anyio.create_task_group() as group:
        for index, verb in enumerate(verbs):
            group.start_soon(run, index, verb)
    return results
