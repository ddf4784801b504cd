from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..browser import Clock
from ..conftest import open_store
from .target import COOKIE_KINDS, KINDS, SERVER_KINDS, Target

STORES = {"signed": "cookie", "encrypted": "cookie"}


async def _targets(request: pytest.FixtureRequest, path: Path, clock: Clock) -> AsyncIterator[Target]:
    kind = request.param
    async with open_store(STORES.get(kind, kind), request, path) as store:
        url = request.getfixturevalue("redis_url") if kind == "redis" else ""
        yield Target(kind, store, path, url, clock)


@pytest.fixture(params=KINDS)
async def target(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Target]:
    """An application over each kind of session."""
    async for target in _targets(request, tmp_path, clock):
        yield target


@pytest.fixture(params=SERVER_KINDS)
async def server_target(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Target]:
    async for target in _targets(request, tmp_path, clock):
        yield target


@pytest.fixture(params=COOKIE_KINDS)
async def cookie_target(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Target]:
    async for target in _targets(request, tmp_path, clock):
        yield target
