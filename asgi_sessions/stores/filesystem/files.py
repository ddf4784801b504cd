"""Record files: synchronous, one function for each operation, so that each is one hop to a thread.

A record's file holds a magic number, a checksum, the version and the data; its deadline is its modification time, so
that moving the deadline rewrites nothing. Writers hold a lock file; readers take no lock, because a file is only ever
replaced as a whole.
"""

import errno
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from ..base import Stored
from .directory import READ, Directory, deadline, files_in, folders_in, set_aside, sync
from .index import OWNERS, OwnerFiles

logger = logging.getLogger("asgi_sessions")

MAGIC = b"ASR1"
CHECKSUM_SIZE = 16  # bytes
VERSION_SIZE = 8  # bytes
HEADER_SIZE = len(MAGIC) + CHECKSUM_SIZE + VERSION_SIZE
PRUNED_AT_ONCE = 100  # files that one step of pruning looks at: 10 to 100 ms where all of them have to be removed

RECORD = re.compile("[0-9a-f]{32}")

Kept = tuple[Stored | None, float]  # with its deadline


class Corrupt(Exception):
    """There is something in a record's place that is no record."""


class RecordFiles(Directory):
    """The records in a store's directory; ``owners`` are those of its owner index.

    Args:
        max_bytes: larger records are refused (``OSError``, EFBIG), and larger files are no records.
    """

    def __init__(self, path: Path, *, fsync: bool, max_bytes: int, clock: Callable[[], float]) -> None:
        super().__init__(path, fsync=fsync, clock=clock)
        self.owners = OwnerFiles(path, fsync=fsync, clock=clock)
        self._folder = str(path)
        self._max_bytes = max_bytes

    # -- the verbs: those that write are run under the record's lock, and put aside what is no record ------------------

    def read(self, handle: bytes) -> Stored | None:
        """Read a record; raise Corrupt for what is none."""
        return self._read(self._file(handle))[0]

    def deadline(self, handle: bytes) -> float | None:
        with suppress(Corrupt):
            kept, until = self._read(self._file(handle))
            return until if kept else None
        return None

    def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        kept, _ = self._sound(handle)
        if kept is None:
            self._write(self._file(handle), Stored(new, data), expires_at)
        return kept is None or kept.version == new

    def swap(self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None) -> Stored | None:
        kept, until = self._sound(handle)
        if kept is None or kept.version != old:
            return kept
        ours = Stored(new, data)
        self._write(self._file(handle), ours, until if expires_at is None else expires_at)
        return ours

    def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        kept, _ = self._sound(handle)
        if kept is None or kept.version != version:
            return False
        modified = deadline(expires_at)
        os.utime(self._file(handle), ns=(modified, modified), follow_symlinks=False)
        return True

    def delete(self, handle: bytes, version: bytes | None) -> Stored | None:
        kept, _ = self._sound(handle)
        if kept is None or version not in (None, kept.version):
            return kept
        path = Path(self._file(handle))
        path.unlink()
        sync(path.parent)  # a logout is final, also after a power cut
        return None

    def quarantine(self, handle: bytes, version: bytes) -> None:
        """Put a file aside that is no record, or one that still has ``version``."""
        kept, _ = self._sound(handle)
        if kept is not None and kept.version == version:
            set_aside(Path(self._file(handle)))

    # -- pruning ------------------------------------------------------------------------------------------------------

    def folders(self) -> list[str]:
        """The folders of records and of owners, at most 256 of each."""
        return [str(folder.relative_to(self.path)) for folder in folders_in(self.path, 2) + self.owners.folders()]

    def prune(self, folder: str) -> Iterator[int]:
        """Remove what is expired in a folder, and temporary files that nobody will finish.

        Yields:
            After each step, of at most ``PRUNED_AT_ONCE`` files, how many records it removed.
        """
        path = self.path / folder
        removed = self.owners.prune(path) if folder.startswith(OWNERS) else map(self._prune, files_in(path))
        while step := list(islice(removed, PRUNED_AT_ONCE)):
            yield sum(step)

    def _prune(self, path: Path) -> bool:
        return self.remove_expired(path, RECORD, path.name) and path.suffix != ".tmp"

    # -- files --------------------------------------------------------------------------------------------------------

    def _file(self, handle: bytes) -> str:
        name = handle.hex()
        return f"{self._folder}/{name[:2]}/{name}"  # a Path would take longer to make than the file to open

    def _sound(self, handle: bytes) -> Kept:
        """The record, under the lock; what is no record is put out of the way first."""
        try:
            return self._read(self._file(handle))
        except Corrupt:
            set_aside(Path(self._file(handle)))
            logger.warning("session record %s is corrupt and was put aside in %s", handle.hex(), self.path)
            return None, 0.0

    def _read(self, path: str) -> Kept:
        try:
            file = os.open(path, READ)
        except FileNotFoundError:
            return None, 0.0
        except OSError as exc:
            if Path(path).is_symlink() or not Path(path).is_file():
                raise Corrupt from exc
            raise
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or not HEADER_SIZE <= found.st_size <= self._max_bytes + HEADER_SIZE:
                raise Corrupt
            stored = _parse(_read_all(file, found.st_size))
        finally:
            os.close(file)
        return (stored if found.st_mtime > self.clock() else None), found.st_mtime_ns / 1e9

    def _write(self, path: str, stored: Stored, expires_at: float) -> None:
        if len(stored.data) > self._max_bytes:  # it would be put aside by the next who reads it
            raise OSError(errno.EFBIG, f"a record of {len(stored.data)} bytes; max_bytes is {self._max_bytes}")
        content = MAGIC + _checksum(stored) + stored.version + stored.data
        try:
            self.replace(path, content, deadline(expires_at))
        except FileNotFoundError:
            self.make_folder(Path(path).parent)
            self.replace(path, content, deadline(expires_at))


def _checksum(stored: Stored) -> bytes:
    return blake2b(stored.version + stored.data, digest_size=CHECKSUM_SIZE).digest()


def _parse(content: bytes) -> Stored:
    body = content[len(MAGIC) + CHECKSUM_SIZE :]
    stored = Stored(body[:VERSION_SIZE], body[VERSION_SIZE:])
    if len(stored.version) != VERSION_SIZE or content[: -len(body)] != MAGIC + _checksum(stored):
        raise Corrupt
    return stored


def _read_all(file: int, size: int) -> bytes:
    content = os.read(file, size + 1)
    while len(content) < size and (more := os.read(file, size - len(content))):
        content += more
    return content
