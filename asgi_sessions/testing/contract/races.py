"""What the verbs do when several run at once, and when they are cancelled."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel
import pytest

from ...stores.base import RecordStore, Stored
from .values import (
    HANDLE,
    NEW,
    OLD,
    OTHER,
    create,
    creating,
    cut_short,
    deleting,
    deleting_version,
    gather,
    reading,
    soon,
    swapping,
    touching,
)

STEPS = range(6)  # turns of the event loop until a verb is cancelled


class RaceContract:
    # -- concurrency ------------------------------------------------------------------------------------------------

    async def test_of_many_creators_exactly_one_wins(self, store: RecordStore) -> None:
        versions = [b"create%02d" % index for index in range(10)]
        won = await gather(*(creating(version) for version in versions), store=store)
        assert won.count(True) == 1
        kept = await store.read(HANDLE)
        assert kept is not None
        assert kept.version == versions[won.index(True)]

    async def test_of_many_swaps_from_one_version_exactly_one_wins(self, store: RecordStore) -> None:
        await create(store)
        versions = [b"swap__%02d" % index for index in range(10)]
        kept = await gather(*(swapping(version) for version in versions), store=store)
        winner = await store.read(HANDLE)
        assert set(kept) == {winner}
        assert winner is not None
        assert winner.version in versions

    async def test_a_counter_counts_every_swap(self, store: RecordStore) -> None:
        await create(store, data=b"0")

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
            await create(store)
            verbs = [swapping(b"swap__%02d" % index) for index in range(5)]
            verbs.insert(turn, deleting)
            await gather(*verbs, store=store)
            assert await store.read(HANDLE) is None

    async def test_of_a_swap_and_a_delete_of_one_version_exactly_one_wins(self, store: RecordStore) -> None:
        for turn in range(6):
            await create(store)
            verbs = [swapping(NEW), deleting_version(OLD)]
            results = await gather(*(verbs if turn % 2 else verbs[::-1]), store=store)
            ours = Stored(NEW, NEW)
            assert results in ([ours, ours], [None, None])  # both say the same about who won
            assert await store.read(HANDLE) == results[0]
            await store.delete(HANDLE)

    async def test_a_touch_undoes_no_swap(self, store: RecordStore) -> None:
        for turn in range(6):
            await create(store)
            verbs = [touching(OLD)] * 3
            verbs.insert(turn % 4, swapping(NEW))
            await gather(*verbs, store=store)
            assert await store.read(HANDLE) == Stored(NEW, NEW)
            await store.delete(HANDLE)

    async def test_each_of_many_readers_gets_its_own_record(self, store: RecordStore) -> None:
        handles = [bytes([index] * 16) for index in range(20)]
        for handle in handles:
            await create(store, handle, handle)
        kept = await gather(*map(reading, handles), store=store)
        assert kept == [Stored(OLD, handle) for handle in handles]

    # -- cancellation -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("microseconds", [0, 20, 50, 100, 200, 300, 500, 1000, 3000])
    async def test_a_swap_that_ran_out_of_time_can_be_repeated(self, store: RecordStore, microseconds: int) -> None:
        data = b"0123456789abcdef" * 4096
        await create(store)
        with anyio.move_on_after(microseconds / 1e6):
            await store.swap(HANDLE, OLD, NEW, data)
        assert await store.read(HANDLE) in (Stored(OLD, b"data"), Stored(NEW, data))
        assert await store.swap(HANDLE, OLD, NEW, data) == Stored(NEW, data)
        assert await store.read(HANDLE) == Stored(NEW, data)

    @pytest.mark.parametrize("steps", STEPS)
    async def test_a_cancelled_swap_took_place_as_a_whole_or_not_at_all(self, store: RecordStore, steps: int) -> None:
        await create(store)
        await cut_short(swapping(NEW), store, steps)
        with anyio.fail_after(10):
            assert await store.read(HANDLE) in (Stored(OLD, b"data"), Stored(NEW, NEW))
            assert await store.swap(HANDLE, OLD, NEW, NEW) == Stored(NEW, NEW)
            assert await store.read(HANDLE) == Stored(NEW, NEW)

    @pytest.mark.parametrize("steps", STEPS)
    async def test_a_cancelled_create_and_delete_can_be_repeated(self, store: RecordStore, steps: int) -> None:
        await cut_short(creating(OLD), store, steps)
        with anyio.fail_after(10):
            assert await store.read(HANDLE) in (None, Stored(OLD, OLD))
            assert await store.create(HANDLE, OLD, OLD, soon()) is True
            await cut_short(deleting, store, steps)
            assert await store.read(HANDLE) in (None, Stored(OLD, OLD))
            assert await store.delete(HANDLE) is None
            assert await store.read(HANDLE) is None

    @pytest.mark.parametrize("steps", STEPS)
    async def test_the_answer_to_a_cancelled_read_reaches_nobody_else(self, store: RecordStore, steps: int) -> None:
        await create(store)
        await create(store, OTHER, b"other")
        await cut_short(reading(HANDLE), store, steps)
        with anyio.fail_after(10):
            assert await store.read(OTHER) == Stored(OLD, b"other")
            assert await store.read(HANDLE) == Stored(OLD, b"data")
