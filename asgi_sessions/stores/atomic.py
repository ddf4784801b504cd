"""Files that are replaced as a whole, with a deadline as their modification time."""

import os
from pathlib import Path

__all__ = ["deadline", "replace", "sync"]

LATEST = 2**33  # POSIX seconds; file systems know no modification time much later (year 2242)


def deadline(expires_at: float) -> int:
    """The modification time, in nanoseconds, for a deadline in POSIX seconds."""
    return int(max(0.0, min(expires_at, LATEST)) * 1e9)


def replace(path: Path, content: bytes, modified: int, *, fsync: bool) -> None:
    """Write a file beside ``path``, then rename it; what was there before is there until then.

    Args:
        modified: its modification time, in nanoseconds.
        fsync: sync the file and its directory.
    """
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            _write_all(file, content)
            os.utime(file, ns=(modified, modified))
            if fsync:
                os.fsync(file)
        finally:
            os.close(file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if fsync:
        sync(path.parent)


def sync(folder: Path) -> None:
    """Have the names in a directory survive a power cut."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write_all(file: int, content: bytes) -> None:
    """A write may be short, on a full disk above all; the next one says why."""
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
