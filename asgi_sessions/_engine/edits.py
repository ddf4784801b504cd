"""What a request does to a session beside its values."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from .record import Flash, Loaded, Owner

__all__ = ["NOTHING", "Edits"]


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """What a request did to a session beside its values, since the last commit.

    Attributes:
        doomed: the record that ``invalidate()`` leaves behind, to be deleted.
        ended: ``invalidate()`` was called.
        cleared, regenerated: ``clear()`` or ``regenerate()`` was called.
        added, consumed: flashes added, and the ids of those consumed.
        owner, remember, cookie, label: the new one, or UNSET.
    """

    doomed: Loaded | None = None
    ended: bool = False
    cleared: bool = False
    regenerated: bool = False
    added: tuple[Flash, ...] = ()
    consumed: frozenset[bytes] = frozenset()
    owner: Owner | UnsetType | None = UNSET
    remember: int | UnsetType | None = UNSET
    cookie: dict[str, Any] | UnsetType = UNSET
    label: dict[str, str] | UnsetType = UNSET

    def since(self, earlier: Edits) -> Edits:
        """What came after ``earlier``; ``NOTHING`` if nothing did."""
        later = {name: value for name in EDITABLE if (value := getattr(self, name)) is not getattr(earlier, name)}
        later["added"] = tuple(flash for flash in self.added if flash not in earlier.added)
        taken_back = {flash.id for flash in earlier.added if flash not in self.added}
        later["consumed"] = self.consumed - earlier.consumed | taken_back
        edits = Edits(**later)
        return NOTHING if edits == NOTHING else edits


NOTHING = Edits()
EDITABLE = tuple(field.name for field in msgspec.structs.fields(Edits))
