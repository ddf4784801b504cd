"""Several server processes, one directory or one Redis; and servers that go away."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from tests.servers import Server, free_port, server

PROCESSES = 4
PATIENCE = 30.0  # seconds until a server must answer


@contextlib.contextmanager
def applications(place: str, *, count: int = PROCESSES) -> Iterator[list[str]]:
    """Addresses of uvicorn processes with the same store, each with a hash seed of its own."""
    ports = [free_port() for _ in range(count)]
    command = [sys.executable, "-m", "uvicorn", "tests.consistency.app:app", "--log-level", "warning", "--port"]
    processes = [
        subprocess.Popen(
            [*command, str(port)], env={**os.environ, "SESSION_STORE": place, "PYTHONHASHSEED": str(index + 1)}
        )
        for index, port in enumerate(ports)
    ]
    try:
        for port in ports:
            wait_for(port)
        yield [f"http://127.0.0.1:{port}" for port in ports]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(PATIENCE)


def wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < end, "the application did not start"
        time.sleep(0.02)


@pytest.fixture(params=["filesystem", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "filesystem":
        yield str(tmp_path / "sessions")
        return
    with server() as running:
        yield running.url


@pytest.fixture
def redis() -> Iterator[Server]:
    with server() as running:
        yield running


async def test_parallel_requests_over_four_processes_lose_nothing(place: str) -> None:
    with applications(place) as addresses:
        async with httpx.AsyncClient(timeout=60) as browser:
            await browser.get(f"{addresses[0]}/write", params={"key": "first"})

            async def request(index: int, path: str) -> None:
                response = await browser.get(addresses[index % PROCESSES] + path)
                assert response.status_code == 200

            async with anyio.create_task_group() as group:
                for index in range(50):
                    group.start_soon(request, index, f"/write?key=k{index}")
            keys = (await browser.get(addresses[0])).json()
            assert sorted(keys) == sorted(["first", *(f"k{index}" for index in range(50))])

            async with anyio.create_task_group() as group:
                for index in range(64):
                    group.start_soon(request, index, "/increment")
            assert (await browser.get(addresses[1])).json()["n"] == "64"


async def test_a_reader_with_another_hash_seed_writes_nothing(redis: Server) -> None:
    with applications(redis.url, count=2) as addresses:
        async with httpx.AsyncClient() as browser:
            await browser.get(f"{addresses[0]}/fill-sets")
            before = redis.calls()
            for address in addresses:
                assert "red" in (await browser.get(address)).json()["tags"]
            after = redis.calls()
    written = {name: count - before.get(name, 0) for name, count in after.items() if name.startswith(("eval", "set"))}
    assert not any(written.values()), written


async def test_a_server_that_is_killed_stopped_or_restarted_empty(redis: Server) -> None:
    with applications(redis.url, count=1) as (address,):
        async with httpx.AsyncClient(timeout=20) as browser:
            assert (await browser.get(f"{address}/count")).json() == 1
            cookie = browser.cookies["session"]

            redis.suspend()
            start = time.monotonic()
            response = await browser.get(f"{address}/count")
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            assert "set-cookie" not in response.headers
            assert time.monotonic() - start < 5
            redis.resume()
            assert (await browser.get(f"{address}/count")).json() in (2, 3)

            redis.kill()
            assert (await browser.get(f"{address}/count")).status_code == 503
            redis.start()
            assert (await browser.get(f"{address}/")).json() == {}
            assert browser.cookies["session"] == cookie
            assert (await browser.get(f"{address}/count")).json() == 1
            assert browser.cookies["session"] != cookie
