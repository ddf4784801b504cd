"""Lock files: striped, never unlinked, tried once, because whoever waits should not hold a thread."""

import contextlib
import os
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

if sys.platform != "win32":  # where it can be imported, though not used
    import fcntl

    _LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

__all__ = ["BUSY", "LOCKS", "Locks"]

LOCKS = 64  # lock files; two keys share one in 64 cases

BUSY: Final = "busy"


class Locks:
    """The lock files of a store's directory, which is made with them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self) -> None:
        """Make the directories."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._path / "locks").mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def locked(self, key: bytes) -> Iterator[bool]:
        """Try the lock once. Each attempt opens the file anew, so that threads of one process exclude each other."""
        stripe = int.from_bytes(blake2b(key, digest_size=2).digest(), "big") % LOCKS
        path = self._path / "locks" / f"{stripe:02d}"
        try:
            lock = os.open(path, _LOCK, 0o600)
        except FileNotFoundError:
            self.make()
            lock = os.open(path, _LOCK, 0o600)
        try:
            yield _lock(lock)
        finally:
            _unlock(lock)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(file: int) -> None:
    # Closing alone does not unlock: a process that was forked meanwhile has the file open, too.
    try:
        fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)
