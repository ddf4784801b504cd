"""Files that are replaced as a whole, with a deadline as their modification time."""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["deadline", "replace", "sync"]

LATEST = 2**33  # POSIX seconds; file systems know no modification time much later (year 2242)

# Linux, glibc: renameat2(directory, path, directory, path, flags); None elsewhere.
_renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def deadline(expires_at: float) -> int:
    """The modification time, in nanoseconds, for a deadline in POSIX seconds."""
    return int(max(0.0, min(expires_at, LATEST)) * 1e9)


def replace(path: str, content: bytes, modified: int, *, fsync: bool) -> None:
    """Write a file beside ``path``, then put it there; what was there before is there until then.

    Args:
        modified: its modification time, in nanoseconds.
        fsync: sync the file and its directory.
    """
    temporary = f"{path}.{os.urandom(8).hex()}.tmp"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            _write_all(file, content)
            os.utime(file, ns=(modified, modified))
            if fsync:
                os.fsync(file)
        finally:
            os.close(file)
        if fsync or not _exchanged(temporary, path):
            Path(temporary).replace(path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108 - what was there before, or could not be finished; a Path takes longer
    if fsync:
        sync(Path(path).parent)


def sync(folder: Path) -> None:
    """Have the names in a directory survive a power cut."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _exchanged(one: str, other: str) -> bool:
    """Exchange two files in one step; False if one is not there, or the system can not do that.

    Half a commit's time would go into renaming over a file: ext4 sends the data to the disk first, which helps only in
    a power cut, and who wants to survive that has ``fsync``.
    """
    if _renameat2 is None:
        return False
    done: int = _renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


def _write_all(file: int, content: bytes) -> None:
    """A write may be short, on a full disk above all; the next one says why."""
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
