"""What can not change is decoded once."""

from __future__ import annotations

from typing import Any

import msgspec

from .base import Serializer
from .extensions import SCALARS
from .reader import may_extend

__all__ = ["LONGEST_KNOWN", "MOST_KNOWN", "DecodedDicts"]

MOST_KNOWN = 512  # dicts that one serializer remembers: 5 MB of the longest, a few hundred kB of those of a usual size
LONGEST_KNOWN = 2048  # bytes

_STR = frozenset({str})


class Known(msgspec.Struct, frozen=True, gc=False):
    """A dict that was decoded.

    Attributes:
        scalars: all its keys, in order; None where whoever gets the value could change it.
        others: the encoded dict of the latter; empty if there are none.
        extends: see ``may_extend``.
    """

    scalars: dict[Any, Any]
    others: bytes
    extends: bool


class DecodedDicts(dict[bytes, Known | None]):
    """By what they were decoded from; None: it was met once."""

    __slots__ = ()

    def meet(self, data: bytes, values: object, serializer: Serializer) -> None:
        """Take note of what was decoded; only what comes again is worth remembering."""
        if len(data) > LONGEST_KNOWN or type(values) is not dict or not _STR.issuperset(map(type, values)):
            return
        known = None
        if data in self:
            others = [key for key, value in values.items() if type(value) not in SCALARS]
            parts = serializer.split(data)
            encoded = serializer.join({key: parts[key] for key in others}) if others else b""
            known = Known({**values, **dict.fromkeys(others)}, encoded, may_extend(data))
        elif len(self) >= MOST_KNOWN:
            self.clear()  # one atomic step: threads may share a serializer
        self[data] = known
