"""Starts the demo with embedded defaults: keys, files and a Valkey server in one directory."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import jinja2  # noqa: F401 - Starlette would not miss it as a module, but as an ImportError of its own
import python_multipart  # noqa: F401 - FastAPI would miss it only when the application is made
import uvicorn

from .app import create_app
from .directory import CannotStart, claim, default_directory
from .keys import Keys
from .valkey import find_program, valkey

__all__ = ["serve"]

GRACE = 5  # seconds that requests under way have to finish
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what nobody can type into a browser


def serve(host: str, port: int, data: Path | None) -> int:
    """Serve until interrupted: Ctrl+C, SIGTERM, or the terminal is closed.

    Args:
        port: 0 picks a free one.
        data: where keys and sessions are kept; None: a directory in the user's cache.

    Returns:
        The exit code: 0 interrupted, 1 it could not start; stderr says why.
    """
    try:
        with contextlib.suppress(KeyboardInterrupt), _interrupted_by_signals():
            _serve(host, port, (data or default_directory()).absolute())
    except CannotStart as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


def _serve(host: str, port: int, data: Path) -> None:
    program = find_program()
    with _listen(host, port) as listener, claim(data), valkey(program, data / "valkey") as redis_url:
        app = create_app(keys=Keys(data / "secret_key"), carts=data / "carts", redis_url=redis_url)
        config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=GRACE)
        _Server(config, _address(host, listener.getsockname()[1])).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says where it is once it is there."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"Open {self._address} in your browser (Ctrl+C stops the demo)", flush=True)


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Every polite end is a KeyboardInterrupt, so that the embedded server is stopped on the way out.

    uvicorn has handlers of its own while it serves, finishes what is under way, and raises the signal again.
    """
    former = {signal.SIGTERM: signal.signal(signal.SIGTERM, signal.default_int_handler)}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        # uvicorn does not know SIGHUP, what a terminal sends when it is closed.
        former[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise CannotStart(f"--port {port}: must be from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as exc:
        raise CannotStart(f"--host {host}: {getattr(exc, 'strerror', None) or exc}") from exc
    try:
        return socket.create_server(address, family=family)
    except OSError as exc:
        if exc.errno == errno.EADDRNOTAVAIL:
            raise CannotStart(f"--host {host}: not an address of this machine") from exc
        reason = os.strerror(exc.errno or 0)
        raise CannotStart(f"Port {port} of {host} cannot be used ({reason}); try another one with --port") from exc


def _address(host: str, port: int) -> str:
    name = EVERYWHERE.get(host, host)
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"
