"""The bounded cache that the package uses wherever something is remembered."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(dict[K, V]):
    """A dict of at most ``limit`` entries, emptied when it is full.

    Threads may share one: each step is a single dict operation, and a lost entry costs time, never correctness.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __repr__(self) -> str:
        return f"<Cache: {len(self)} of {self.limit} entries>"  # its keys may be cookies, which are secrets

    def put(self, key: K, value: V) -> V:
        """Remember a value; the value."""
        if len(self) >= self.limit and key not in self:
            self.clear()
        self[key] = value
        return value
