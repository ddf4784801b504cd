"""What each verb does, alone."""

from __future__ import annotations

import time

import anyio
import pytest

from ...stores.base import RecordStore, Stored
from .values import FAR, HANDLE, NEW, ODD_DATA, ODD_HANDLES, OLD, OTHER, THIRD, create, past, reach, soon


class VerbContract:
    clock_skew = 5.0  # seconds that the store's clock may be behind ours; no correct store makes a test wait for them

    # -- create -----------------------------------------------------------------------------------------------------

    async def test_what_was_created_can_be_read(self, store: RecordStore) -> None:
        await create(store)
        kept = await store.read(HANDLE)
        assert kept == Stored(OLD, b"data")
        assert isinstance(kept, Stored)
        assert [type(kept.version), type(kept.data)] == [bytes, bytes]

    async def test_nothing_is_there_before(self, store: RecordStore) -> None:
        assert await store.read(HANDLE) is None
        assert await store.swap(HANDLE, OLD, NEW, b"new") is None
        assert await store.touch(HANDLE, OLD, soon()) is False
        assert await store.delete(HANDLE) is None
        assert await store.delete(HANDLE, OLD) is None

    async def test_create_never_overwrites(self, store: RecordStore) -> None:
        await create(store)
        assert await store.create(HANDLE, NEW, b"new", soon()) is False
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_create_repeated_after_a_lost_reply_is_true(self, store: RecordStore) -> None:
        await create(store)
        assert await store.create(HANDLE, OLD, b"data", soon()) is True
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_create_leaves_what_was_swapped_in_meanwhile(self, store: RecordStore) -> None:
        await create(store)
        await store.swap(HANDLE, OLD, NEW, b"new")
        assert await store.create(HANDLE, OLD, b"data", soon()) is False
        assert await store.read(HANDLE) == Stored(NEW, b"new")

    async def test_create_takes_the_place_of_an_expired_record(self, store: RecordStore) -> None:
        await store.create(HANDLE, OLD, b"data", past())
        assert await store.create(HANDLE, NEW, b"new", soon()) is True
        assert await store.read(HANDLE) == Stored(NEW, b"new")

    # -- swap -------------------------------------------------------------------------------------------------------

    async def test_swap_replaces_the_version_it_names(self, store: RecordStore) -> None:
        await create(store)
        assert await store.swap(HANDLE, OLD, NEW, b"new") == Stored(NEW, b"new")
        assert await store.read(HANDLE) == Stored(NEW, b"new")

    async def test_swap_leaves_another_version_and_returns_it(self, store: RecordStore) -> None:
        await create(store)
        assert await store.swap(HANDLE, THIRD, NEW, b"new") == Stored(OLD, b"data")
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_swap_repeated_after_a_lost_reply_returns_ours(self, store: RecordStore) -> None:
        await create(store)
        await store.swap(HANDLE, OLD, NEW, b"new")
        assert await store.swap(HANDLE, OLD, NEW, b"new") == Stored(NEW, b"new")

    async def test_swap_never_creates(self, store: RecordStore) -> None:
        await create(store)
        await store.delete(HANDLE)
        assert await store.swap(HANDLE, OLD, NEW, b"new", soon()) is None
        assert await store.read(HANDLE) is None

    async def test_swap_without_a_deadline_keeps_the_one_there_is(self, store: RecordStore) -> None:
        await create(store)
        await store.swap(HANDLE, OLD, NEW, b"new")
        assert await store.read(HANDLE) is not None

    async def test_swap_without_a_deadline_does_not_prolong_it(self, store: RecordStore) -> None:
        """It waits for a tenth of a second, because nothing else shows a deadline from outside."""
        for attempt in range(8):
            deadline = time.time() + 0.1 * 2**attempt
            await store.create(HANDLE, OLD, b"data", deadline)
            if await store.swap(HANDLE, OLD, NEW, b"new") is not None:
                break  # otherwise the machine was so slow that the deadline passed first
        while await store.read(HANDLE) is not None:
            assert time.time() < deadline + self.clock_skew
            await anyio.sleep(0.005)

    async def test_swap_and_touch_prolong_a_record(self, store: RecordStore) -> None:
        """It waits for a fifth of a second, too."""
        for attempt in range(8):
            deadline = time.time() + 0.2 * 2**attempt
            await store.create(HANDLE, OLD, b"data", deadline)
            await store.create(OTHER, OLD, b"data", deadline)
            swapped = await store.swap(HANDLE, OLD, NEW, b"new", soon())
            if swapped is not None and await store.touch(OTHER, OLD, soon()):
                break  # otherwise the machine was so slow that the deadline passed first
            await store.delete(HANDLE)
        await reach(deadline)
        assert await store.read(HANDLE) == Stored(NEW, b"new")
        assert await store.read(OTHER) == Stored(OLD, b"data")

    async def test_swap_with_a_deadline_moves_it(self, store: RecordStore) -> None:
        await create(store)
        await store.swap(HANDLE, OLD, NEW, b"new", past())
        assert await store.read(HANDLE) is None

    # -- touch ------------------------------------------------------------------------------------------------------

    async def test_touch_moves_the_deadline_and_nothing_else(self, store: RecordStore) -> None:
        await create(store)
        assert await store.touch(HANDLE, OLD, soon() + 3600) is True
        assert await store.touch(HANDLE, OLD, soon() + 3600) is True
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_touch_can_end_a_record(self, store: RecordStore) -> None:
        await create(store)
        await store.touch(HANDLE, OLD, past())
        assert await store.read(HANDLE) is None

    async def test_touch_leaves_another_version_alone(self, store: RecordStore) -> None:
        await create(store)
        assert await store.touch(HANDLE, NEW, past()) is False
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    # -- delete -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("version", [None, OLD])
    async def test_delete_deletes_and_may_be_repeated(self, store: RecordStore, version: bytes | None) -> None:
        await create(store)
        assert await store.delete(HANDLE, version) is None
        assert await store.read(HANDLE) is None
        assert await store.delete(HANDLE, version) is None

    async def test_delete_of_another_version_returns_what_stands_in_the_way(self, store: RecordStore) -> None:
        await create(store)
        assert await store.delete(HANDLE, NEW) == Stored(OLD, b"data")
        assert await store.read(HANDLE) == Stored(OLD, b"data")

    async def test_a_handle_can_be_used_again_after_delete(self, store: RecordStore) -> None:
        await create(store)
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

    @pytest.mark.parametrize("deadline", [0.0, -1.0, -1e10], ids=["1970", "before", "far before"])
    async def test_any_deadline_in_the_past_is_past(self, store: RecordStore, deadline: float) -> None:
        await create(store)
        await store.create(OTHER, OLD, b"data", deadline)
        assert await store.read(OTHER) is None
        await store.touch(HANDLE, OLD, deadline)
        assert await store.read(HANDLE) is None

    async def test_a_deadline_may_be_centuries_away(self, store: RecordStore) -> None:
        """``session.remember(seconds)`` takes up to 1e10."""
        assert await store.create(HANDLE, OLD, b"data", time.time() + FAR) is True
        assert await store.touch(HANDLE, OLD, time.time() + FAR) is True
        assert await store.swap(HANDLE, OLD, NEW, b"new", time.time() + FAR) == Stored(NEW, b"new")
        assert await store.read(HANDLE) == Stored(NEW, b"new")

    # -- what is kept -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("handle", ODD_HANDLES.values(), ids=ODD_HANDLES)
    async def test_any_sixteen_bytes_are_a_handle(self, store: RecordStore, handle: bytes) -> None:
        await create(store, handle)
        assert await store.swap(handle, OLD, NEW, b"new") == Stored(NEW, b"new")
        assert await store.read(handle) == Stored(NEW, b"new")
        assert await store.delete(handle, NEW) is None

    @pytest.mark.parametrize("handle", [HANDLE, b"Letters, spaces "], ids=["small", "letters"])
    async def test_handles_that_differ_in_one_bit_are_two_records(self, store: RecordStore, handle: bytes) -> None:
        number = int.from_bytes(handle, "big")
        others = [(number ^ 1 << bit).to_bytes(16, "big") for bit in range(128)]
        await create(store, handle, b"one")
        for other in others:
            await create(store, other, other)
        await store.delete(handle)
        for other in others:
            assert await store.read(other) == Stored(OLD, other)

    @pytest.mark.parametrize("data", ODD_DATA.values(), ids=ODD_DATA)
    async def test_any_bytes_are_data(self, store: RecordStore, data: bytes) -> None:
        await create(store, data=data)
        assert await store.read(HANDLE) == Stored(OLD, data)
        assert await store.swap(HANDLE, OLD, NEW, data) == Stored(NEW, data)
        assert await store.swap(HANDLE, THIRD, OLD, b"") == Stored(NEW, data)

    async def test_any_eight_bytes_are_a_version(self, store: RecordStore) -> None:
        versions = [bytes(8), b"\xff" * 8, b"\r\n\0*?%s;"]
        await store.create(HANDLE, versions[0], b"0", soon())
        assert await store.swap(HANDLE, versions[0], versions[1], b"1") == Stored(versions[1], b"1")
        assert await store.swap(HANDLE, versions[1], versions[2], b"2") == Stored(versions[2], b"2")
        assert await store.delete(HANDLE, versions[2]) is None

    async def test_putting_another_version_aside_leaves_the_record(self, store: RecordStore) -> None:
        await create(store)
        await store.quarantine(HANDLE, NEW)
        await store.quarantine(OTHER, NEW)
        assert await store.read(HANDLE) == Stored(OLD, b"data")
