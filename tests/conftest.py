from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asgi_sessions import CookieStore, FilesystemStore, MemoryStore, RedisStore, Store

from .browser import Clock
from .servers import server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real server for the tests that need no fault of it."""
    with server() as running:
        yield running.url


@asynccontextmanager
async def open_store(kind: str, request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Store]:
    if kind == "cookie":
        store: Store = CookieStore()
    elif kind == "memory":
        store = MemoryStore()
    elif kind == "filesystem":
        store = FilesystemStore(path / "sessions")
    else:
        store = RedisStore(request.getfixturevalue("redis_url"), prefix=f"{path}:")
    yield store
    await store.close()


@pytest.fixture(params=["cookie", "memory", "filesystem", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every store of the package."""
    async with open_store(request.param, request, tmp_path) as store:
        yield store


@pytest.fixture(params=["memory", "filesystem", "redis"])
async def server_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every store that keeps records."""
    async with open_store(request.param, request, tmp_path) as store:
        yield store


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", action="store_true", help="run the randomised and destructive tests at full counts")
