"""Lock files: striped, never unlinked, tried once, because whoever waits should not hold a thread."""

import os
import sys
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
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
        self._files = [f"{path}/locks/{stripe:02d}" for stripe in range(LOCKS)]

    def make(self) -> None:
        """Make the directories."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._path / "locks").mkdir(mode=0o700, exist_ok=True)

    def locked(self, key: bytes) -> "_Attempt":
        """``with locks.locked(key) as locked:`` tries the lock once."""
        return _Attempt(self, self._files[int.from_bytes(blake2b(key, digest_size=2).digest(), "big") % LOCKS])


class _Attempt:
    """Each one opens the file anew, so that threads of one process exclude each other."""

    __slots__ = ("_file", "_locks", "_path")

    def __init__(self, locks: Locks, path: str) -> None:
        self._locks = locks
        self._path = path

    def __enter__(self) -> bool:
        try:
            self._file = os.open(self._path, _LOCK, 0o600)
        except FileNotFoundError:
            self._locks.make()
            self._file = os.open(self._path, _LOCK, 0o600)
        try:
            return _lock(self._file)
        except BaseException:
            os.close(self._file)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing alone does not unlock: a process that was forked meanwhile has the file open, too.
        try:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            os.close(self._file)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
