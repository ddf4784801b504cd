"""uvicorn as users run it: in a process of its own, on a socket."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 20.0  # seconds until a server that does not end fails the test


class Uvicorn:
    """A server process. The socket stays with the tests: clients wait at it until the server is there."""

    def __init__(self, application: str, directory: Path, redis_url: str, loop: str) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self._log = directory / "log"
        self._environment = {**os.environ, "TEST_DIRECTORY": str(directory), "TEST_REDIS": redis_url}
        self._command = [
            *(sys.executable, "-m", "uvicorn", "--factory", f"tests.integration.app:{application}"),
            *("--loop", loop, "--fd", str(self._socket.fileno()), "--timeout-graceful-shutdown", "5"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, pass_fds=[self._socket.fileno()], stdout=log, stderr=log
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def log(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        self.stop()
        self._socket.close()


@contextlib.contextmanager
def uvicorn(application: str, directory: Path, redis_url: str, loop: str) -> Iterator[Uvicorn]:
    server = Uvicorn(application, directory, redis_url, loop)
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def site(request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uvicorn]:
    """Three sessions of one visitor, in three stores."""
    with uvicorn("create", tmp_path_factory.mktemp("site"), redis_url, request.param) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture
def plain(redis_url: str, tmp_path: Path) -> Iterator[Uvicorn]:
    """An application without a framework, which knows no lifespan."""
    with uvicorn("create_plain", tmp_path, redis_url, "asyncio") as server:
        yield server
