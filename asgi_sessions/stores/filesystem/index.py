"""The owner index in files: a directory for each owner, and in it an empty file for each handle.

A file's modification time is the deadline of its entry and its mark at once; the file ``generation`` holds the owner's
last generations, newest first. Writers and pruning hold the owner's lock; who lists takes none.
"""

import contextlib
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

from ..owners import GENERATION_SIZE, barred
from .atomic import deadline, replace, sync
from .locks import BUSY, Locks

if sys.platform != "win32":  # where it can be imported, though not used
    _READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    _WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in an entry's place must not block
    _CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

__all__ = ["DELISTED_AT_ONCE", "OWNERS", "PRUNED_AT_ONCE", "OwnerFiles"]

OWNERS = "owners"
GENERATION = "generation"
LARGEST = 1024  # bytes of a generation file that are looked at; it has at most 32
DELISTED_AT_ONCE = 1000  # entries that are removed under the lock before others get their turn
PRUNED_AT_ONCE = 100  # files that one step of pruning looks at: 10 to 100 ms where all of them have to be removed
ORPHANED_AFTER = 3600  # seconds until a temporary file was left behind by a process that died
SECOND = 10**9  # nanoseconds

FOLDER = re.compile("[0-9a-f]{2}")
OWNER = re.compile("[0-9a-f]{64}")
ENTRY = re.compile("[0-9a-f]{32}")


class OwnerFiles:
    """The index in the directory of a store.

    Args:
        path: the store's directory.
        fsync: sync what is enlisted or barred, so that it survives a power cut.
    """

    def __init__(self, path: Path, locks: Locks, *, fsync: bool, clock: Callable[[], float]) -> None:
        self._path = path
        self._locks = locks
        self._fsync = fsync
        self._clock = clock

    # -- the index, but for the waiting -------------------------------------------------------------------------------

    def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes | Literal["busy"]:
        with self._locks.locked(owner) as locked:
            if not locked:
                return BUSY
            folder = self._folder(owner)
            self._make(folder)
            self._note(folder / handle.hex(), deadline(expires_at))
            generations, until = _generations(folder)
            return generations[:GENERATION_SIZE] if until > self._clock() * SECOND else b""

    def delist(self, owner: bytes, handles: Collection[bytes] | Mapping[bytes, int]) -> Literal["busy"] | None:
        with self._locks.locked(owner) as locked:
            if not locked:
                return BUSY
            folder = self._folder(owner)
            for handle in handles:
                with contextlib.suppress(FileNotFoundError):
                    entry = folder / handle.hex()
                    if not isinstance(handles, Mapping) or _lstat(entry).st_mtime_ns == handles[handle]:
                        entry.unlink()
            return None

    def listed(self, owner: bytes) -> dict[bytes, int]:
        found = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder(owner)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if ENTRY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        found[bytes.fromhex(entry.name)] = entry.stat(follow_symlinks=False).st_mtime_ns
        return found

    def bar(self, owner: bytes, generation: bytes, until: float) -> Literal["busy"] | None:
        with self._locks.locked(owner) as locked:
            if not locked:
                return BUSY
            folder = self._folder(owner)
            self._make(folder)
            kept, former = _generations(folder)
            latest = max(former, deadline(until))
            replace(f"{folder}/{GENERATION}", barred(kept, generation), latest, fsync=self._fsync)
            return None

    # -- pruning ------------------------------------------------------------------------------------------------------

    def folders(self) -> list[str]:
        """The folders of owners, at most 256."""
        return [f"{OWNERS}/{entry.name}" for entry in _directories(self._path / OWNERS, FOLDER)]

    def prune(self, folder: str) -> Iterator[int]:
        """Remove entries and generations past their deadlines, and the directories of owners that have none left.

        Yields:
            0 after each step, of about ``PRUNED_AT_ONCE`` files.
        """
        looked_at = 0
        for entry in _directories(self._path / folder, OWNER):
            with contextlib.suppress(FileNotFoundError):
                for files in self._prune(Path(entry.path)):
                    looked_at += files
                    if looked_at >= PRUNED_AT_ONCE:
                        looked_at = 0
                        yield 0

    def _prune(self, folder: Path) -> Iterator[int]:
        left = False
        with os.scandir(folder) as entries:
            while step := [Path(entry.path) for entry in islice(entries, PRUNED_AT_ONCE)]:
                expired = [path for path in step if self._is_expired(path)]
                left = left or len(expired) < len(step)
                if expired:
                    self._remove(folder, expired)
                yield len(step)
        if not left:
            self._remove(folder, [])
        yield 1

    def _remove(self, folder: Path, expired: list[Path]) -> None:
        with self._locks.locked(bytes.fromhex(folder.name)) as locked:
            if not locked:
                return  # the next round gets it
            for path in expired:
                if self._is_expired(path):
                    path.unlink()
            with contextlib.suppress(OSError):  # as long as something is in it
                folder.rmdir()

    def _is_expired(self, path: Path) -> bool:
        try:
            found = _lstat(path)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode):
            return False
        if path.name.endswith(".tmp"):
            return found.st_ctime < self._clock() - ORPHANED_AFTER
        ours = path.name == GENERATION or ENTRY.fullmatch(path.name) is not None
        return ours and found.st_mtime <= self._clock()

    # -- files --------------------------------------------------------------------------------------------------------

    def _folder(self, owner: bytes) -> Path:
        name = owner.hex()
        return self._path / OWNERS / name[:2] / name

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        for directory in (folder.parent.parent, folder.parent, folder):
            directory.mkdir(mode=0o700, exist_ok=True)
            if self._fsync:
                sync(directory.parent)

    def _note(self, entry: Path, expires: int) -> None:
        file, former = _open(entry)
        try:
            modified = _marked(max(expires, former))
            os.utime(file, ns=(modified, modified))
            if self._fsync:
                os.fsync(file)
        finally:
            os.close(file)
        if self._fsync:
            sync(entry.parent)


def _open(entry: Path) -> tuple[int, int]:
    """An entry's file, made if it is not there, and the deadline that it has already."""
    try:
        return os.open(entry, _CREATE, 0o600), 0
    except FileExistsError:
        if not stat.S_ISREG(_lstat(entry).st_mode):
            entry.rename(entry.with_name(f"{entry.name}.{os.urandom(4).hex()}.corrupt"))
            return os.open(entry, _CREATE, 0o600), 0
    file = os.open(entry, _WRITE)
    return file, os.fstat(file).st_mtime_ns


def _marked(expires: int) -> int:
    """A deadline up to a second later, so that no two times of enlisting leave the same mark."""
    return expires + 1 + time.monotonic_ns() % SECOND


def _generations(folder: Path) -> tuple[bytes, int]:
    """The last generations and the end of their time, in nanoseconds."""
    try:
        file = os.open(folder / GENERATION, _READ)
    except FileNotFoundError:
        return b"", 0
    try:
        return os.read(file, LARGEST), os.fstat(file).st_mtime_ns
    finally:
        os.close(file)


def _directories(path: Path, names: "re.Pattern[str]") -> "Iterator[os.DirEntry[str]]":
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if names.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                yield entry


def _lstat(path: Path) -> os.stat_result:
    return path.stat(follow_symlinks=False)
