"""Records in the memory of one process."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from .base import RecordStore, Stored

__all__ = ["MemoryStore"]

SWEPT_PER_WRITE = 4  # records that one write looks at, so that in the long run a quarter of them are expired at most


class MemoryStore(RecordStore):
    """For tests, and for programs of one process: the records are gone when it ends.

    Works under asyncio and trio, and from several threads.

    Args:
        clock: POSIX seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._records: OrderedDict[bytes, tuple[Stored, float]] = OrderedDict()  # first the one to look at next

    async def read(self, handle: bytes) -> Stored | None:
        with self._lock:
            return self._kept(handle)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        with self._lock:
            kept = self._kept(handle)
            if kept is None:
                self._keep(handle, Stored(new, data), expires_at)
            return kept is None or kept.version == new

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        with self._lock:
            kept = self._kept(handle)
            if kept is None or kept.version != old:
                return kept
            ours = Stored(new, data)
            self._keep(handle, ours, self._records[handle][1] if expires_at is None else expires_at)
            return ours

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        with self._lock:
            kept = self._kept(handle)
            if kept is None or kept.version != version:
                return False
            self._keep(handle, kept, expires_at)
            return True

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        with self._lock:
            kept = self._kept(handle)
            if kept is not None and version in (None, kept.version):
                del self._records[handle]
                return None
            return kept

    def __len__(self) -> int:
        """How many records are kept, expired ones that were not erased yet among them."""
        return len(self._records)

    def _kept(self, handle: bytes) -> Stored | None:
        stored, expires_at = self._records.get(handle, (None, 0.0))
        return stored if expires_at > self._clock() else None

    def _keep(self, handle: bytes, stored: Stored, expires_at: float) -> None:
        self._records[handle] = (stored, expires_at)
        self._sweep()

    def _sweep(self) -> None:
        now = self._clock()
        for _ in range(min(SWEPT_PER_WRITE, len(self._records))):
            handle, (_, expires_at) = next(iter(self._records.items()))
            if expires_at > now:
                self._records.move_to_end(handle)
            else:
                del self._records[handle]
