"""Every record store of the package keeps the contract."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asgi_sessions import FilesystemStore, MemoryStore, RecordStore, RedisStore
from asgi_sessions.testing import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def store(self) -> RecordStore:
        return MemoryStore()


class TestFilesystemStore(StoreContract):
    @pytest.fixture(params=[False, True], ids=["", "fsync"])
    async def store(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RecordStore]:
        store = FilesystemStore(tmp_path / "sessions", fsync=request.param)
        yield store
        await store.close()


class TestRedisStore(StoreContract):
    @pytest.fixture
    async def store(self, redis_url: str, tmp_path: Path) -> AsyncIterator[RecordStore]:
        store = RedisStore(redis_url, prefix=f"{tmp_path}:")
        yield store
        await store.close()
