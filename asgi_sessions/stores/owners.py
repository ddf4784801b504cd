"""Whose sessions are these: what a store may offer beside its records."""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Protocol, runtime_checkable

GENERATION_SIZE = 8  # bytes
GENERATIONS = 4  # that an owner's index remembers, the current one among them


@runtime_checkable
class OwnerIndex(Protocol):
    """Which records belong to an owner; optional. ``isinstance(store, OwnerIndex)`` tells whether a store has one.

    An index may list too much, but never too little: it is written before the record that it lists, and an entry whose
    record is gone is for the caller to remove. It knows nothing of records, and the five verbs know nothing of it.

    Rules that hold for all four:

    * ``owner`` is 32 bytes, any bytes: a keyed hash that the caller made, so that no store learns who it is.
    * ``handle`` is 16 bytes, any bytes.
    * An entry has a deadline, in POSIX seconds. Before it, the entry is there until it is delisted; afterwards it may
      be, or not. It has a mark, too, any number, and each ``enlist`` gives it another one.
    * What is done to one entry, and what is done to the generation, is atomic, in any thread or process.
    * **Whoever comes second sees the first.** ``enlist`` writes its entry before it reads the generation. So of a
      login (``enlist``) and a revocation (``bar``, then ``listed``) at least one learns of the other.
    * Every write is safe to repeat. One that returned has taken place, as durably as the store's records.
    * Errors are those of the five verbs, and no call waits without a bound.
    """

    async def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes:
        """Note that the record belongs to the owner, at least until ``expires_at``.

        For an entry that is there already the deadline moves later only, never earlier.

        Returns:
            The owner's generation, 8 bytes; ``b""`` if it has none, or one that has outlived its time.
        """
        ...

    async def delist(self, owner: bytes, handles: Collection[bytes] | Mapping[bytes, int]) -> None:
        """Remove entries; what is not there is no error.

        Args:
            handles: handles alone: whatever their marks are, for the end of one's own session. A mapping, as ``listed``
                returned it: only those that still have that mark, so that an entry whose record was not found is
                kept if a login, which was about to write that record, enlisted it again meanwhile.
        """
        ...

    async def listed(self, owner: bytes) -> dict[bytes, int]:
        """The owner's handles and their marks, in any order. Some may be without a record. Never writes.

        What was enlisted before the call, and not delisted since, is among them.
        """
        ...

    async def bar(self, owner: bytes, generation: bytes, until: float) -> None:
        """Give the owner a new generation, which is kept at least until ``until``, in POSIX seconds.

        A login that began under another generation learns so from its next ``enlist``. The generation lasts until the
        latest ``until`` of the owner's last few. One that was replaced does not come back when its ``bar`` is repeated.

        Args:
            generation: 8 random bytes, new ones each time.
        """
        ...


def barred(kept: bytes, new: bytes) -> bytes:
    """The owner's last generations, newest first, after ``bar``.

    The former ones are kept so that a ``bar`` that is repeated because its reply was lost does not undo a later one.
    """
    former = [kept[at : at + GENERATION_SIZE] for at in range(0, len(kept), GENERATION_SIZE)]
    return kept if new in former else b"".join([new, *former[: GENERATIONS - 1]])


def marks_of(handles: Collection[bytes] | Mapping[bytes, int]) -> Mapping[bytes, int | None]:
    """Return what ``delist`` was given with the mark that each entry must have; None: any."""
    return handles if isinstance(handles, Mapping) else dict.fromkeys(handles)


def portions(handles: Collection[bytes] | Mapping[bytes, int], size: int) -> Iterator[dict[bytes, int | None]]:
    """Split ``marks_of`` into parts of a limited size."""
    entries = iter(marks_of(handles).items())
    while part := dict(islice(entries, size)):
        yield part
