"""The demo's data directory, and whose it is while a demo runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["CannotStart", "claim", "default_directory"]


class CannotStart(Exception):
    """Why the demo cannot run, in words for the person who started it."""


def default_directory() -> Path:
    """One in the user's cache directory (XDG Base Directory Specification)."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "asgi-sessions-demo"


@contextlib.contextmanager
def claim(directory: Path) -> Iterator[None]:
    """Make the directory, and keep other demos out of it meanwhile: two servers would spoil each other's files.

    Raises:
        CannotStart: another demo runs on it, or it cannot be made or written to.
    """
    import fcntl  # not on Windows, where the embedded server does not run either

    with contextlib.ExitStack() as opened:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = opened.enter_context(open(directory / "lock", "ab", opener=_private))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise CannotStart(f"Another demo is running on {directory}; name another directory with --data") from exc
        except OSError as exc:
            raise CannotStart(f"--data {directory}: {exc.strerror}") from exc
        yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
