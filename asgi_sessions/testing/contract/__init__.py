"""The promises of a store, as tests."""

from __future__ import annotations

import pytest

from ...stores.base import RecordStore, Stored
from .races import RaceContract
from .values import HANDLE, OLD, OTHER, create
from .verbs import VerbContract

__all__ = ["StoreContract"]


@pytest.mark.anyio
class StoreContract(VerbContract, RaceContract):
    """Subclass it with a fixture ``store`` that returns a fresh ``RecordStore``; each test proves one promise.

    It proves that ``create`` never overwrites and ``swap`` never creates, what versions and deadlines mean, that writes
    may be repeated, that of parallel verbs one happens first as a whole, also when some are cancelled, that any bytes
    are handle, version and data, and that the store opens and closes. It cannot prove what takes another
    process, a broken connection or a power cut: those tests are the store's own.

    ::

        class TestMyStore(StoreContract):
            @pytest.fixture
            async def store(self):
                store = MyStore(...)
                yield store
                await store.close()

    The tests are asynchronous; anyio's pytest plugin runs them, which comes with anyio.
    """

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Override it if the store runs under trio."""
        return "asyncio"

    async def test_it_can_be_opened_closed_and_opened_again(self, store: RecordStore) -> None:
        await store.open()
        await create(store)
        await store.close()
        await store.close()
        await store.open()
        await store.read(HANDLE)

    async def test_it_opens_on_first_use(self, store: RecordStore) -> None:
        await create(store)
        assert await store.read(OTHER) is None

    async def test_it_opens_on_first_use_after_it_was_closed(self, store: RecordStore) -> None:
        await store.close()
        await create(store)
        await store.close()
        await store.delete(HANDLE)
        await create(store)
        assert await store.read(HANDLE) == Stored(OLD, b"data")
