"""Record files: synchronous, one function for each operation, so that each is one hop to a thread.

A record's file holds a magic number, a checksum, the version and the data; its deadline is its modification time, so
that moving the deadline rewrites nothing. Writers hold a lock file (striped, never unlinked); readers take no lock,
because a file is only ever replaced as a whole.
"""

import contextlib
import errno
import logging
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from ..base import Stored
from .atomic import deadline, replace, sync
from .index import OWNERS, PRUNED_AT_ONCE, OwnerFiles
from .locks import BUSY, LOCKS, Locks

if sys.platform != "win32":  # where it can be imported, though not used
    _READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in a record's place must not block

__all__ = ["BUSY", "CORRUPT", "LOCKS", "RecordFiles"]

logger = logging.getLogger("asgi_sessions")

MAGIC = b"ASR1"
CHECKSUM_SIZE = 16  # bytes
VERSION_SIZE = 8  # bytes
HEADER_SIZE = len(MAGIC) + CHECKSUM_SIZE + VERSION_SIZE
ORPHANED_AFTER = 3600  # seconds until a temporary file was left behind by a process that died

FOLDER = re.compile("[0-9a-f]{2}")
RECORD = re.compile("[0-9a-f]{32}")

CORRUPT: Final = "corrupt"
Kept = tuple[Stored, float]  # with its deadline


class RecordFiles:
    """The files of one directory.

    Args:
        fsync: sync files and directories, so that a commit survives a power cut.
        max_bytes: larger records are refused (``OSError``, EFBIG), and larger files are no records.
    """

    def __init__(self, path: Path, *, fsync: bool, max_bytes: int, clock: Callable[[], float]) -> None:
        self.path = path
        self._folder = str(path)
        self._fsync = fsync
        self._max_bytes = max_bytes
        self._clock = clock
        self._locks = Locks(path)
        self._locked = self._locks.locked
        self.owners = OwnerFiles(path, self._locks, fsync=fsync, clock=clock)

    def make(self) -> None:
        """Make the directories; the record's own ones come with the first record in them."""
        self._locks.make()

    # -- the verbs, but for the waiting -------------------------------------------------------------------------------

    def read(self, handle: bytes) -> Stored | Literal["corrupt"] | None:
        kept = self._read(self._file(handle))
        return kept if kept is None or kept == CORRUPT else kept[0]

    def deadline(self, handle: bytes) -> float | None:
        kept = self._read(self._file(handle))
        return None if kept is None or kept == CORRUPT else kept[1]

    def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool | Literal["busy"]:
        with self._locked(handle) as locked:
            if not locked:
                return BUSY
            kept = self._sound(handle)
            if kept is not None:
                return kept[0].version == new
            self._write(self._file(handle), Stored(new, data), expires_at)
            return True

    def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None
    ) -> Stored | Literal["busy"] | None:
        with self._locked(handle) as locked:
            if not locked:
                return BUSY
            kept = self._sound(handle)
            if kept is None or kept[0].version != old:
                return kept and kept[0]
            ours = Stored(new, data)
            self._write(self._file(handle), ours, kept[1] if expires_at is None else expires_at)
            return ours

    def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool | Literal["busy"]:
        with self._locked(handle) as locked:
            if not locked:
                return BUSY
            kept = self._sound(handle)
            if kept is None or kept[0].version != version:
                return False
            modified = deadline(expires_at)
            os.utime(self._file(handle), ns=(modified, modified), follow_symlinks=False)
            return True

    def delete(self, handle: bytes, version: bytes | None) -> Stored | Literal["busy"] | None:
        with self._locked(handle) as locked:
            if not locked:
                return BUSY
            kept = self._sound(handle)
            if kept is None or version not in (None, kept[0].version):
                return kept and kept[0]
            self._unlink(self._file(handle))
            return None

    def quarantine(self, handle: bytes, version: bytes | None) -> bool | Literal["busy"]:
        """Put a file aside that is no record, or one that still has ``version``; True when neither is there."""
        with self._locked(handle) as locked:
            if not locked:
                return BUSY
            kept = self._sound(handle)
            if kept is not None and kept[0].version == version:
                self._set_aside(self._file(handle))
            return True

    # -- pruning ------------------------------------------------------------------------------------------------------

    def folders(self) -> list[str]:
        """The folders of records and of owners, at most 256 of each."""
        return self._folders() + self.owners.folders()

    def prune(self, folder: str) -> Iterator[int]:
        """Remove what is expired in a folder, and temporary files that nobody will finish.

        Yields:
            After each step, of at most ``PRUNED_AT_ONCE`` files, how many records it removed.
        """
        if folder.startswith(OWNERS):
            yield from self.owners.prune(folder)
            return
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path / folder) as entries:
            while step := list(islice(entries, PRUNED_AT_ONCE)):
                yield sum(map(self._prune, step))

    def _folders(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            return sorted(
                entry.name for entry in entries if FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            )
        return []

    def _prune(self, entry: "os.DirEntry[str]") -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self._prune_file(entry)
        return False

    def _prune_file(self, entry: "os.DirEntry[str]") -> bool:
        found = entry.stat(follow_symlinks=False)
        path = Path(entry.path)
        if not stat.S_ISREG(found.st_mode):
            return False
        if entry.name.endswith(".tmp"):
            # Its modification time is a deadline by then, or will be; its change time is when it was written.
            if found.st_ctime < self._clock() - ORPHANED_AFTER:
                path.unlink()
            return False
        if not RECORD.fullmatch(entry.name) or found.st_mtime > self._clock():
            return False
        with self._locked(bytes.fromhex(entry.name)) as locked:
            if not locked or path.stat(follow_symlinks=False).st_mtime > self._clock():
                return False
            path.unlink()
            return True

    # -- files --------------------------------------------------------------------------------------------------------

    def _file(self, handle: bytes) -> str:
        name = handle.hex()
        return f"{self._folder}/{name[:2]}/{name}"  # a Path would take longer to make than the file to open

    def _sound(self, handle: bytes) -> Kept | None:
        """The record, under the lock; what is no record is put out of the way first."""
        kept = self._read(self._file(handle))
        if kept == CORRUPT:
            self._set_aside(self._file(handle))
            logger.warning("session record %s is corrupt and was put aside in %s", handle.hex(), self.path)
            return None
        return kept

    def _read(self, path: str) -> Kept | Literal["corrupt"] | None:
        try:
            file = os.open(path, _READ)
        except FileNotFoundError:
            return None
        except OSError:
            if Path(path).is_symlink() or not Path(path).is_file():
                return CORRUPT
            raise
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or not HEADER_SIZE <= found.st_size <= self._max_bytes + HEADER_SIZE:
                return CORRUPT
            content = _read_all(file, found.st_size)
        finally:
            os.close(file)
        stored = _parse(content)
        if stored is None:
            return CORRUPT
        return (stored, found.st_mtime_ns / 1e9) if found.st_mtime > self._clock() else None

    def _write(self, path: str, stored: Stored, expires_at: float) -> None:
        if len(stored.data) > self._max_bytes:  # it would be put aside by the next who reads it
            raise OSError(errno.EFBIG, f"a record of {len(stored.data)} bytes; max_bytes is {self._max_bytes}")
        content = MAGIC + _checksum(stored) + stored.version + stored.data
        try:
            replace(path, content, deadline(expires_at), fsync=self._fsync)
        except FileNotFoundError:
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._fsync:
                sync(self.path)
            replace(path, content, deadline(expires_at), fsync=self._fsync)

    def _unlink(self, path: str) -> None:
        Path(path).unlink()
        sync(Path(path).parent)  # a logout is final, also after a power cut

    def _set_aside(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(path).rename(f"{path}.{os.urandom(4).hex()}.corrupt")


def _checksum(stored: Stored) -> bytes:
    return blake2b(stored.version + stored.data, digest_size=CHECKSUM_SIZE).digest()


def _parse(content: bytes) -> Stored | None:
    body = content[len(MAGIC) + CHECKSUM_SIZE :]
    stored = Stored(body[:VERSION_SIZE], body[VERSION_SIZE:])
    if len(stored.version) != VERSION_SIZE or content[: -len(body)] != MAGIC + _checksum(stored):
        return None
    return stored


def _read_all(file: int, size: int) -> bytes:
    content = os.read(file, size + 1)
    while len(content) < size and (more := os.read(file, size - len(content))):
        content += more
    return content
