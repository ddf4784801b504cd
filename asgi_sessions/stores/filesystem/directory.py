"""A store's directory: lock files, files that are replaced as a whole, and their deadlines.

A file's deadline is its modification time. Lock files are striped, never unlinked, and tried once, because whoever
waits should not hold a thread.
"""

import ctypes
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

if sys.platform == "win32":  # where it can be imported, though not used
    READ = CREATE = LOCK = 0
else:
    import fcntl

    READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in a file's place must not block
    CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

LOCKS = 64  # lock files; two keys share one in 64 cases
LATEST = 2**33  # POSIX seconds; file systems know no modification time much later (year 2242)
ORPHANED_AFTER = 3600  # seconds until a temporary file was left behind by a process that died

# Linux, glibc: renameat2(directory, path, directory, path, flags); None elsewhere.
_renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Busy(Exception):
    """Somebody else holds the lock."""


class Directory:
    """The directory of a store.

    Args:
        fsync: sync files and directories, so that what is written survives a power cut.
        clock: POSIX seconds.
    """

    def __init__(self, path: Path, *, fsync: bool, clock: Callable[[], float]) -> None:
        self.path = path
        self.fsync = fsync
        self.clock = clock
        self._locks = [f"{path}/locks/{stripe:02d}" for stripe in range(LOCKS)]

    def make(self) -> None:
        """Make the directory and that of its locks; the others come with the first file in them."""
        for folder in (self.path, self.path / "locks"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make_folder(self, folder: Path) -> None:
        """Make a folder in the directory, and those in between."""
        if not folder.is_dir():
            if folder.parent != self.path:
                self.make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)
            if self.fsync:
                sync(folder.parent)

    @contextmanager
    def locked(self, key: bytes) -> Iterator[None]:
        """Hold the lock file of a key, opened anew each time, so that threads of one process exclude each other.

        Raises:
            Busy: somebody else holds it.
        """
        path = self._locks[int.from_bytes(blake2b(key, digest_size=2).digest(), "big") % LOCKS]
        try:
            file = os.open(path, LOCK, 0o600)
        except FileNotFoundError:
            self.make()
            file = os.open(path, LOCK, 0o600)
        try:
            _lock(file)
            yield
        finally:
            # Closing alone does not unlock: a process that was forked meanwhile has the file open, too.
            try:
                fcntl.flock(file, fcntl.LOCK_UN)
            finally:
                os.close(file)

    def run_locked(self, function: Callable[..., T], key: bytes, *arguments: object) -> T:
        """Call ``function(key, *arguments)`` under the lock of ``key``."""
        with self.locked(key):
            return function(key, *arguments)

    def replace(self, path: str, content: bytes, modified: int) -> None:
        """Write a file beside ``path``, then put it there; what was there before is there until then.

        Args:
            modified: its modification time, in nanoseconds.
        """
        temporary = f"{path}.{os.urandom(8).hex()}.tmp"
        try:
            with opened(temporary, CREATE | os.O_EXCL) as file:
                _write_all(file, content)
                os.utime(file, ns=(modified, modified))
                if self.fsync:
                    os.fsync(file)
            if self.fsync or not _exchanged(temporary, path):
                Path(temporary).replace(path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108 - the file from before, or a partial one; a Path takes longer
        if self.fsync:
            sync(Path(path).parent)

    def remove_expired(self, path: Path, names: re.Pattern[str], key: str) -> bool:
        """Remove a file of such a name, under the lock of ``key``, if it is past its deadline.

        A temporary file that nobody will finish is removed, too; nobody locks that.
        """
        with suppress(FileNotFoundError, Busy):
            if self._is_expired(path, names):
                with nullcontext() if path.suffix == ".tmp" else self.locked(bytes.fromhex(key)):
                    if self._is_expired(path, names):
                        path.unlink()
                        return True
        return False

    def _is_expired(self, path: Path, names: re.Pattern[str]) -> bool:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            return False
        if path.suffix == ".tmp":
            # Its modification time is a deadline by then, or will be; its change time is when it was written.
            return found.st_ctime < self.clock() - ORPHANED_AFTER
        return names.fullmatch(path.name) is not None and found.st_mtime <= self.clock()


def deadline(expires_at: float) -> int:
    """The modification time, in nanoseconds, for a deadline in POSIX seconds."""
    return int(max(0.0, min(expires_at, LATEST)) * 1e9)


@contextmanager
def opened(path: str | Path, flags: int) -> Iterator[int]:
    """Open a file by its descriptor."""
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def files_in(folder: Path) -> Iterator[Path]:
    """Everything in a folder, in no order; nothing if the folder is gone."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        yield from map(Path, entries)


def folders_in(path: Path, length: int) -> list[Path]:
    """The folders in ``path`` whose names have so many hexadecimal digits, sorted."""
    with suppress(FileNotFoundError), os.scandir(path) as entries:
        found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [path / name for name in sorted(found) if re.fullmatch(f"[0-9a-f]{{{length}}}", name)]
    return []


def set_aside(path: Path) -> None:
    """Rename what is in the place of a file and is none of ours."""
    with suppress(FileNotFoundError):
        path.rename(f"{path}.{os.urandom(4).hex()}.corrupt")


def sync(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    with opened(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as directory:
        os.fsync(directory)


def _lock(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise Busy from exc


def _exchanged(one: str, other: str) -> bool:
    """Exchange two files in one step; False if one is not there, or the system cannot do that.

    Half a commit's time would go into renaming over a file: ext4 sends the data to the disk first, which helps only in
    a power cut, and who wants to survive that has ``fsync``.
    """
    if _renameat2 is None:
        return False
    done: int = _renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


def _write_all(file: int, content: bytes) -> None:
    """Write until all is written: a write may be short, on a full disk above all, and the next one says why."""
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
