"""What a store is: the contract for everybody who writes one."""

import math
from abc import ABC, abstractmethod
from typing import Any

import msgspec

__all__ = ["RecordStore", "Store", "Stored"]

_WRITING_VERBS = "create", "swap", "touch", "delete"


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record as a store keeps it: ``Stored(version, data)``.

    Attributes:
        version: 8 bytes, chosen by the caller of ``create`` and ``swap``.
        data: the record; opaque to the store, any bytes, also none at all, a few hundred bytes as a rule.
    """

    version: bytes
    data: bytes


class Store:
    """Where sessions live between requests: a ``CookieStore`` or a ``RecordStore``."""

    async def open(self) -> None:
        """Get ready; called when the application starts up. A store that was not opened opens on first use."""

    async def close(self) -> None:
        """Let go of connections, threads and files. Closing twice, or unopened, is no error; it may be reopened."""


class RecordStore(Store, ABC):
    """Versioned records: five verbs are the whole contract for a custom store.

    A store keeps opaque bytes under a handle, with a version and a deadline. It knows nothing of cookies, keys or
    merging: all that is done elsewhere, once, for every store. Subclass it and implement ``read``, ``create``,
    ``swap``, ``touch`` and ``delete``; override ``open`` and ``close`` if there is something to open. Any other name
    is yours: nothing else of a store is ever called or looked at, but the optional ``quarantine``, ``deadline`` and
    ``write_timeout`` below, and the four methods of ``OwnerIndex``.

    Rules that hold for all five:

    * ``handle`` is 16 bytes, any bytes. Two handles that differ in any bit are two records.
    * ``version`` is 8 bytes, made by the caller, a new one for every commit. Compare it, never interpret it.
    * ``expires_at`` is a deadline in POSIX seconds (``time.time()``). A record past its deadline does not exist, for
      none of the five verbs; when it is erased is the store's own affair.
    * Each verb is atomic: of two that run at once, in any thread or process, one happens first as a whole.
    * **Every write is safe to repeat.** A caller who lost a reply calls again with the same arguments, and gets
      the answer that it would have got.
    * A write that returned has taken place, as durably as the store promises. One that raised or was cancelled has
      taken place as a whole or not at all.
    * What the system does wrong is raised as ``StoreUnavailable``, ``StoreTimeout`` or ``StoreFull``, ``from``
      its cause. "Not there" and "somebody was faster" are answers, not errors.
    * No verb waits without a bound.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        said = next(base for base in cls.__mro__ if "write_timeout" in vars(base))
        later = cls.__mro__[: cls.__mro__.index(said)]
        if any(verb in vars(base) for base in later for verb in _WRITING_VERBS):
            cls.write_timeout = RecordStore.write_timeout  # type: ignore[method-assign]  # what was said is not of this verb

    @property
    def write_timeout(self) -> float:
        """Seconds after which each writing verb has returned or raised by itself, whatever happens; optional.

        Most commits need no timer then. Whoever overrides a verb says it anew.
        """
        return math.inf

    @abstractmethod
    async def read(self, handle: bytes) -> Stored | None:
        """The record under ``handle``, or None if there is none or it is past its deadline. Never writes."""

    @abstractmethod
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        """Store a record where there is none.

        Returns:
            True if the record is there under version ``new``: stored now, or by an earlier call whose reply got
            lost. False if there is a record of another version, which stays as it is: ``create`` never overwrites.
        """

    @abstractmethod
    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        """Replace the record of version ``old`` by ``data`` under version ``new``.

        Args:
            expires_at: the new deadline; None keeps the one that the record has.

        Returns:
            What is kept when it is done. Its version is ``new`` if the swap took place, now or in an earlier call
            whose reply got lost. Any other version is somebody else's record, which stays as it is. None if
            there is no record: ``swap`` never creates, so that an update cannot bring a deleted session back.
        """

    @abstractmethod
    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        """Move the deadline, earlier or later, while the record still has ``version``; data and version stay.

        Returns:
            True if the deadline is ``expires_at`` now. False if there is no record or one of another version.
        """

    @abstractmethod
    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        """Delete the record under ``handle``; with ``version``, only if it has that version.

        Returns:
            None if there is no record now, whether this call deleted it or it was gone before. Otherwise the
            record of another version that stood in the way, and still does.
        """

    async def quarantine(self, handle: bytes, version: bytes) -> None:
        """Put a record aside that cannot be decoded; optional. Its visitor gets a new session either way."""

    async def deadline(self, handle: bytes) -> float | None:
        """When the record under ``handle`` ends, in POSIX seconds; optional, for lists of sessions. None: not known."""
        return None
