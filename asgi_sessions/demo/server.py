"""Starts the demo with embedded defaults: keys, files and a Valkey server in one directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from ..keyring import generate_key
from .app import create_app
from .valkey import Valkey

__all__ = ["serve"]


def serve(host: str, port: int, data: Path | None) -> int:
    """Serve until interrupted.

    Args:
        data: where keys and sessions are kept; None: a directory in the user's cache.

    Returns:
        The exit code.
    """
    data = data or _default_directory()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        listener = _listen(host, port)
    except OSError as exc:
        print(f"Port {port} of {host} can not be used ({exc.strerror}); try another one with --port", file=sys.stderr)
        return 1
    host, port = listener.getsockname()[:2]
    # uvicorn ends orderly at a signal, then raises it again: the embedded server must be stopped first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), listener, Valkey(data / "valkey") as valkey:
        app = create_app(secret_key=_kept_key(data / "secret_key"), carts=data / "carts", redis_url=valkey.url)
        server = _Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        server.greeting = f"Open http://{host}:{port}/ in your browser (Ctrl+C stops the demo)"
        server.run(sockets=[listener])
    return 0


class _Server(uvicorn.Server):
    """Says where it is once it is there."""

    greeting = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self.greeting, flush=True)


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def _default_directory() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "asgi-sessions-demo"


def _kept_key(path: Path) -> str:
    """The key of an earlier start, so that sessions survive a restart; a new one the first time."""
    if not path.exists():
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="ascii") as opened:
            opened.write(generate_key())
    return path.read_text(encoding="ascii")
