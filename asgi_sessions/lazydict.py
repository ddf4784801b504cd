"""A dict that is filled at its first access, and knows whether it was accessed or modified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

from .exceptions import SessionError

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_keys, dict_values

__all__ = ["LazyDict"]

PLACEHOLDER = object()
_IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes})


class LazyDict(dict[Any, Any]):
    """A real ``dict`` whose methods note each access and each modification.

    Until it is filled it holds one private placeholder: C code that asks for its length or its items either goes
    through the methods below (``json.dumps``) or fails loudly at a key that is no string, and never takes it
    for an empty dict.

    Attributes:
        accessed: whether it was used in any way.
        modified: whether one of its own methods changed it; changes of nested values do not show here.
    """

    __slots__ = ("_shared", "_written", "accessed", "modified")

    def __init__(self) -> None:
        dict.__setitem__(self, PLACEHOLDER, None)
        self.accessed = False
        self.modified = False
        self._written: bool | bytes = False  # modified since the last commit; the encoded values: but not since then
        self._shared = False  # a value that can change unseen was handed out, or anything set but a scalar under a str

    def mark_accessed(self) -> None:
        """Note an access; called by every method, and by Starlette's ``request.session``."""
        self.accessed = True

    def mark_modified(self) -> None:
        """Note a modification; never needed for a change to be saved."""
        self.mark_accessed()
        self.modified = self._written = True

    def _mark_shared(self) -> None:
        """Note that from now on a value may change unseen."""
        self._shared = True

    def __getitem__(self, key: Any) -> Any:
        if not self.accessed:
            self.mark_accessed()
        value = dict.__getitem__(self, key)
        if type(value) not in _IMMUTABLE:
            self._mark_shared()
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        if not self.accessed:
            self.mark_accessed()
        value = dict.get(self, key, default)
        if type(value) not in _IMMUTABLE:
            self._mark_shared()
        return value

    def __contains__(self, key: object) -> bool:
        self.mark_accessed()
        return dict.__contains__(self, key)

    def __iter__(self) -> Iterator[Any]:
        self.mark_accessed()
        return dict.__iter__(self)

    def __reversed__(self) -> Iterator[Any]:
        self.mark_accessed()
        return dict.__reversed__(self)

    def __len__(self) -> int:
        self.mark_accessed()
        return dict.__len__(self)

    def keys(self) -> dict_keys[Any, Any]:
        self.mark_accessed()
        return dict.keys(self)

    def values(self) -> dict_values[Any, Any]:
        self.mark_accessed()
        self._mark_shared()
        return dict.values(self)

    def items(self) -> dict_items[Any, Any]:
        self.mark_accessed()
        self._mark_shared()
        return dict.items(self)

    def copy(self) -> dict[Any, Any]:
        """A plain dict with the same values."""
        self.mark_accessed()
        self._mark_shared()
        return dict.copy(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return dict, (self.copy(),)  # copy.deepcopy() and pickle get the values, never the connection

    def __eq__(self, other: object) -> bool:
        self.mark_accessed()
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        self.mark_accessed()
        return dict.__ne__(self, other)

    def __or__(self, other: Any) -> dict[Any, Any]:
        merged: dict[Any, Any] = self.copy() | other
        return merged

    def __ror__(self, other: Any) -> dict[Any, Any]:
        return other | self.copy()  # type: ignore[no-any-return]  # a dict, or NotImplemented raised by it

    def __repr__(self) -> str:
        try:
            self.mark_accessed()
        except SessionError as exc:
            return f"<{type(self).__name__}: {exc}>"
        return dict.__repr__(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.accessed:
            self.mark_accessed()
        if self._written is not True or not self.modified:
            self.mark_modified()
        if type(value) not in _IMMUTABLE or type(key) is not str:
            self._mark_shared()  # whoever wrote a list may still have it in hand
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: Any) -> None:
        self.mark_modified()
        dict.__delitem__(self, key)

    def __ior__(self, other: Any) -> Self:
        self.mark_modified()
        self._mark_shared()
        dict.update(self, other)
        return self

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.mark_modified()
        self._mark_shared()
        dict.update(self, *args, **kwargs)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        self.mark_accessed()
        self._mark_shared()
        if not dict.__contains__(self, key):
            self.mark_modified()
        return dict.setdefault(self, key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        self.mark_accessed()
        if dict.__contains__(self, key):
            self.mark_modified()
        return dict.pop(self, key, *default)

    def popitem(self) -> tuple[Any, Any]:
        self.mark_accessed()
        item = dict.popitem(self)
        self.mark_modified()
        return item

    def clear(self) -> None:
        self.mark_modified()
        dict.clear(self)
