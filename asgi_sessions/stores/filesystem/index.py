"""The owner index in files: a directory for each owner, and in it an empty file for each handle.

A file's modification time is the deadline of its entry and its mark at once; the file ``generation`` holds the owner's
last generations, newest first. Writers and pruning hold the owner's lock; who lists takes none.
"""

import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ..owners import GENERATION_SIZE, barred
from .directory import CREATE, READ, Busy, Directory, deadline, files_in, folders_in, opened, set_aside, sync

OWNERS = "owners"
GENERATION = "generation"
LARGEST = 1024  # bytes of a generation file that are looked at; it has at most 32
SECOND = 10**9  # nanoseconds

ENTRY = re.compile("[0-9a-f]{32}")
ENTRY_OR_GENERATION = re.compile(f"{ENTRY.pattern}|{GENERATION}")


class OwnerFiles(Directory):
    """The owner index in a store's directory."""

    # -- the index: what writes is run under the owner's lock ---------------------------------------------------------

    def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes:
        folder = self._folder(owner)
        self.make_folder(folder)
        self._note(folder / handle.hex(), deadline(expires_at))
        generations, until = _generations(folder)
        return generations[:GENERATION_SIZE] if until > self.clock() * SECOND else b""

    def delist(self, owner: bytes, marks: Mapping[bytes, int | None]) -> None:
        """Remove entries that still have their marks, those with None in any case."""
        folder = self._folder(owner)
        for handle, mark in marks.items():
            entry = folder / handle.hex()
            with suppress(FileNotFoundError):
                if mark is None or mark == entry.lstat().st_mtime_ns:
                    entry.unlink()

    def listed(self, owner: bytes) -> dict[bytes, int]:
        marks = {}
        for entry in files_in(self._folder(owner)):
            with suppress(FileNotFoundError):
                if ENTRY.fullmatch(entry.name) and stat.S_ISREG((found := entry.lstat()).st_mode):
                    marks[bytes.fromhex(entry.name)] = found.st_mtime_ns
        return marks

    def bar(self, owner: bytes, generation: bytes, until: float) -> None:
        folder = self._folder(owner)
        self.make_folder(folder)
        kept, former = _generations(folder)
        self.replace(f"{folder}/{GENERATION}", barred(kept, generation), max(former, deadline(until)))

    # -- pruning ------------------------------------------------------------------------------------------------------

    def folders(self) -> list[Path]:
        """The folders of owners, at most 256."""
        path = self.path / OWNERS
        return folders_in(path, 2) if path.is_dir() else []

    def prune(self, folder: Path) -> Iterator[int]:
        """Remove entries and generations past their deadlines, and the directories of owners that have none left.

        Yields:
            0 for each file: none of them is a record.
        """
        for owner in folders_in(folder, 64):
            left = False
            for path in files_in(owner):
                left = not self.remove_expired(path, ENTRY_OR_GENERATION, owner.name) or left
                yield 0
            if not left:
                with suppress(Busy), self.locked(bytes.fromhex(owner.name)), suppress(OSError):
                    owner.rmdir()  # fails as long as something is in it
            yield 0

    # -- files --------------------------------------------------------------------------------------------------------

    def _folder(self, owner: bytes) -> Path:
        name = owner.hex()
        return self.path / OWNERS / name[:2] / name

    def _note(self, entry: Path, expires: int) -> None:
        """Keep an entry at least so long, with a mark that it did not have before."""
        with suppress(FileNotFoundError):
            found = entry.lstat()
            if stat.S_ISREG(found.st_mode):
                expires = max(expires, found.st_mtime_ns)
            else:
                set_aside(entry)
        modified = expires + 1 + time.monotonic_ns() % SECOND  # no two times of enlisting leave the same mark
        with opened(entry, CREATE) as file:
            os.utime(file, ns=(modified, modified))
            if self.fsync:
                os.fsync(file)
        if self.fsync:
            sync(entry.parent)


def _generations(folder: Path) -> tuple[bytes, int]:
    """The last generations and the end of their time, in nanoseconds."""
    with suppress(FileNotFoundError), opened(folder / GENERATION, READ) as file:
        return os.read(file, LARGEST), os.fstat(file).st_mtime_ns
    return b"", 0
