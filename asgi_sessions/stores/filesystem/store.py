"""Records in files, for one host."""

import asyncio
import errno
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from random import random
from typing import Any, TypeVar

import aiofiles.os

from ..._engine.queue import KeyedLock
from ...exceptions import NotSupported, StoreFull, StoreTimeout, StoreUnavailable
from ..base import RecordStore, Stored
from ..owners import portions
from .directory import Busy
from .files import Corrupt, RecordFiles
from .workers import Workers

logger = logging.getLogger("asgi_sessions")

T = TypeVar("T")

THREADS = 4
DELISTED_AT_ONCE = 1000  # entries that are removed under the lock before others get their turn
LONGEST_PAUSE = 0.05  # seconds between two tries of a lock that is held
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FilesystemStore(RecordStore):
    """For one host; its processes share the directory. Needs asyncio.

    A commit survives ``kill -9`` at any moment, with ``fsync=True`` a power cut, too. Directories are made with mode
    0700, files with 0600. A file that is no record is renamed to ``*.corrupt``, which is never pruned; its visitor
    gets a new session. Not for network file systems whose ``flock`` is local to the host.

    Args:
        path: the directory; made if it is not there.
        fsync: sync each commit to the disk. Without it a power cut may take a session of the last half minute as a
            whole. A deletion always syncs its directory.
        timeout: seconds that one operation may take in all, waiting for a lock included.
        threads: how many operations run at once.
        prune_interval: seconds between two rounds of removing expired records, while the application is up; None: one
            round when it starts up. Both need the server's lifespan; ``python -m asgi_sessions prune PATH``
            does it from outside.
        max_bytes: of one record; larger ones are refused with ``StoreFull``.
        clock: POSIX seconds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fsync: bool = False,
        timeout: float = 5.0,
        threads: int = THREADS,
        prune_interval: float | None = None,
        max_bytes: int = 2**21,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        if sys.platform == "win32":
            raise NotImplementedError("FilesystemStore needs flock, which Windows has not; use another store")
        if not timeout > 0 or threads < 1:
            raise ValueError(f"timeout={timeout!r}, threads={threads!r}: must be more than 0")
        if prune_interval is not None and not prune_interval > 0:
            raise ValueError(f"prune_interval={prune_interval!r}: must be more than 0 seconds, or None")
        self._files = RecordFiles(Path(path).absolute(), fsync=fsync, max_bytes=max_bytes, clock=clock)
        self._timeout = timeout
        self._threads = threads
        self._prune_interval = prune_interval
        self._workers: Workers | None = None
        self._process = 0  # whose threads they are
        self._pruning: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._hop(self._files.make)
        if self._pruning is None or self._pruning.done():
            self._pruning = asyncio.get_running_loop().create_task(self._prune_regularly())

    async def close(self) -> None:
        pruning, self._pruning = self._pruning, None
        if pruning is not None and not pruning.done():
            pruning.cancel()
            await asyncio.wait([pruning])
        workers, self._workers = self._workers, None
        if workers is not None:
            await asyncio.to_thread(workers.dismiss, self._timeout)

    async def read(self, handle: bytes) -> Stored | None:
        try:
            return await self._hop(self._files.read, handle)
        except Corrupt:
            await self._put_aside(handle, b"")  # no version: a record that is there by now stays
            return None

    async def deadline(self, handle: bytes) -> float | None:
        return await self._hop(self._files.deadline, handle)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return await self._alone(self._files.create, handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        return await self._alone(self._files.swap, handle, old, new, data, expires_at)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        return await self._alone(self._files.touch, handle, version, expires_at)

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        return await self._alone(self._files.delete, handle, version)

    async def quarantine(self, handle: bytes, version: bytes) -> None:
        await self._put_aside(handle, version)

    async def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes:
        """See ``OwnerIndex.enlist``."""
        return await self._in_turn(self._files.owners.enlist, owner, handle, expires_at)

    async def delist(self, owner: bytes, handles: Collection[bytes] | Mapping[bytes, int]) -> None:
        """See ``OwnerIndex.delist``. Of very many, others get their turn in between."""
        for part in portions(handles, DELISTED_AT_ONCE):
            await self._in_turn(self._files.owners.delist, owner, part)

    async def listed(self, owner: bytes) -> dict[bytes, int]:
        """See ``OwnerIndex.listed``."""
        return await self._hop(self._files.owners.listed, owner)

    async def bar(self, owner: bytes, generation: bytes, until: float) -> None:
        """See ``OwnerIndex.bar``."""
        await self._in_turn(self._files.owners.bar, owner, generation, until)

    async def prune(self) -> int:
        """Remove the expired records and what is expired of the owner index, in steps of about a hundred files.

        Returns:
            How many records were removed.

        Raises:
            StoreError: a directory cannot be read or written.
        """
        removed = 0
        for folder in await self._aside(self._files.folders):
            steps = self._files.prune(folder)
            while (step := await self._aside(next, steps, None)) is not None:
                removed += step
        return removed

    async def _prune_regularly(self) -> None:
        while True:
            try:
                await self.prune()
            except StoreUnavailable as exc:
                logger.warning("expired sessions in %s were not removed: %s", self._files.path, exc)
            if self._prune_interval is None:
                return
            await asyncio.sleep(self._prune_interval)

    async def _put_aside(self, handle: bytes, version: bytes) -> None:
        """Try once. The visitor gets a new session anyway; what cannot be renamed now is met again."""
        try:
            with suppress(Busy):
                await self._hop(self._files.run_locked, self._files.quarantine, handle, version)
        except StoreUnavailable as exc:
            logger.warning("session record %s cannot be read, nor put aside: %s", handle.hex(), exc)

    async def _in_turn(self, function: Callable[..., T], owner: bytes, *arguments: Any) -> T:
        """Run under the owner's lock. Inside this process callers queue up, rather than try it all at once."""
        end = _loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(end), KeyedLock(self, owner):
                return await self._alone(function, owner, *arguments)
        except TimeoutError as exc:
            raise StoreTimeout(f"the owner's index was busy for more than {self._timeout} s") from exc

    async def _alone(self, function: Callable[..., T], key: bytes, *arguments: Any) -> T:
        """Run under the key's lock. A hop tries it once; the waiting is done here, where it holds no thread."""
        end = _loop().time() + self._timeout
        pause = 0.001
        while True:
            try:
                return await self._hop(self._files.run_locked, function, key, *arguments, end=end)
            except Busy as exc:
                if _loop().time() + pause > end:
                    raise StoreTimeout(f"the record was locked for more than {self._timeout} s") from exc
            await asyncio.sleep(pause * (0.5 + random() / 2))  # noqa: S311 - jitter is no secret
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _hop(self, function: Callable[..., T], *arguments: Any, end: float | None = None) -> T:
        """Run in a thread of the store's own, with a bound; a hop that was given up ends by itself, as a whole.

        Args:
            end: the deadline in the event loop's time; None: a hop of its own, with the whole timeout.
        """
        loop = _loop()
        try:
            if self._workers is None or self._process != os.getpid():  # a fork leaves the threads behind
                self._process = os.getpid()
                self._workers = Workers(self._threads)
            return await self._workers.run(loop.time() + self._timeout if end is None else end, function, *arguments)
        except OSError as exc:
            raise self._typed(exc) from exc

    async def _aside(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run in a thread of the event loop's: pruning leaves those of the store to requests."""
        _loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await aiofiles.os.wrap(function)(*arguments)
        except OSError as exc:
            raise self._typed(exc) from exc

    def _typed(self, exc: OSError) -> StoreUnavailable:
        if isinstance(exc, TimeoutError):
            return StoreTimeout(f"the file system did not answer within {self._timeout} s")
        kind = StoreFull if exc.errno in _FULL else StoreUnavailable
        return kind(f"sessions in {self._files.path}: {exc.strerror or type(exc).__name__}")


def _loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as exc:
        raise NotSupported("FilesystemStore needs asyncio; under trio use a CookieStore or a MemoryStore") from exc
