"""Records in the memory of one process."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any, TypeVar

from .base import RecordStore, Stored
from .owners import GENERATION_SIZE, barred, marks_of

K = TypeVar("K")

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
        self._marks = count(1)
        self._listed: dict[bytes, dict[bytes, int]] = {}  # owner -> handle -> mark
        self._entries: OrderedDict[tuple[bytes, bytes], tuple[None, float]] = OrderedDict()  # swept as records are
        self._generations: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    @property
    def write_timeout(self) -> float:
        """0 seconds: nothing is waited for."""
        return 0.0

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

    async def deadline(self, handle: bytes) -> float | None:
        with self._lock:
            return None if self._kept(handle) is None else self._records[handle][1]

    async def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes:
        """See ``OwnerIndex.enlist``."""
        with self._lock:
            self._listed.setdefault(owner, {})[handle] = next(self._marks)
            _, former = self._entries.get((owner, handle), (None, expires_at))
            self._entries[owner, handle] = (None, max(former, expires_at))
            now = self._clock()
            generations, until = self._generations.get(owner, (b"", now))
            self._sweep_owners(now)
            return generations[:GENERATION_SIZE] if until > now else b""

    async def delist(self, owner: bytes, handles: Collection[bytes] | Mapping[bytes, int]) -> None:
        """See ``OwnerIndex.delist``."""
        with self._lock:
            listed = self._listed.get(owner, {})
            for handle, mark in marks_of(handles).items():
                if mark is None or mark == listed.get(handle):
                    self._entries.pop((owner, handle), None)
                    self._forget(owner, handle)

    async def listed(self, owner: bytes) -> dict[bytes, int]:
        """See ``OwnerIndex.listed``."""
        with self._lock:
            return dict(self._listed.get(owner, {}))

    async def bar(self, owner: bytes, generation: bytes, until: float) -> None:
        """See ``OwnerIndex.bar``."""
        with self._lock:
            generations, former = self._generations.get(owner, (b"", until))
            self._generations[owner] = (barred(generations, generation), max(former, until))
            self._sweep_owners(self._clock())

    def __len__(self) -> int:
        """How many records are kept, expired ones that were not erased yet among them."""
        return len(self._records)

    # -- under the lock -----------------------------------------------------------------------------------------------

    def _kept(self, handle: bytes) -> Stored | None:
        stored, expires_at = self._records.get(handle, (None, 0.0))
        return stored if expires_at > self._clock() else None

    def _keep(self, handle: bytes, stored: Stored, expires_at: float) -> None:
        self._records[handle] = (stored, expires_at)
        _sweep(self._records, self._clock())

    def _sweep_owners(self, now: float) -> None:
        for owner, handle in _sweep(self._entries, now):
            self._forget(owner, handle)
        _sweep(self._generations, now)

    def _forget(self, owner: bytes, handle: bytes) -> None:
        listed = self._listed.get(owner, {})
        listed.pop(handle, None)
        if not listed:
            self._listed.pop(owner, None)


def _sweep(kept: OrderedDict[K, tuple[Any, float]], now: float) -> list[K]:
    """Look at the next few, and remove those that are past their deadlines; returns their keys."""
    removed = []
    for _ in range(min(SWEPT_PER_WRITE, len(kept))):
        key, (_, expires_at) = next(iter(kept.items()))
        if expires_at > now:
            kept.move_to_end(key)
        else:
            del kept[key]
            removed.append(key)
    return removed
