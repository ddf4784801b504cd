"""Turns values into what msgspec writes without loss, or says where they can not be stored."""

import reprlib
from collections.abc import Callable, Collection
from typing import Any

from ..exceptions import SerializationError
from .base import MAX_DEPTH, MAX_KEYS

__all__ = ["Attribute", "Walker", "check_text"]

_BASES: dict[type, Callable[[Any], object]] = {
    # The conversions go past what a subclass may override: the value counts, not how it likes to be shown.
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes.__bytes__,
    list: list,
    dict: dict,
    tuple: tuple,
}
_KEY_REPR = reprlib.Repr()
_KEY_REPR.maxstring = _KEY_REPR.maxother = 80


class Attribute(str):
    """A step of a path that is written ``.name``."""

    __slots__ = ()


class Walker:
    """Turns one value into what msgspec writes without loss; knows where it is, for error messages."""

    __slots__ = ("keys", "limit", "room", "steps")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.room = limit
        self.keys = MAX_KEYS
        self.steps: list[object] = []

    def error(self, reason: str) -> SerializationError:
        path = "".join(f".{s}" if isinstance(s, Attribute) else f"[{_KEY_REPR.repr(s)}]" for s in self.steps)
        return SerializationError(path, reason)

    def enter(self, size: int, depth: int) -> None:
        """Guard against cycles, and against small structures that unfold into huge ones: an element takes a byte."""
        if depth >= MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} levels deep, or contains itself")
        self.room -= size
        if self.room < 0:
            raise self.error(f"takes more than the {self.limit} bytes that may be stored")

    def count(self, keys: int) -> None:
        self.keys -= keys
        if self.keys < 0:
            raise self.error(f"holds more than {MAX_KEYS} keys")

    def leaf(self, convert: Callable[[Any], object], value: object) -> object:
        try:
            return convert(value)
        except ValueError as exc:
            raise self.error(_reason(exc)) from exc

    def write(self, value: object, depth: int) -> object:
        raise NotImplementedError

    def items(self, value: Collection[object], depth: int) -> list[object]:
        self.enter(len(value), depth)
        written = []
        for index, item in enumerate(value):
            self.steps.append(index)
            written.append(self.write(item, depth + 1))
            self.steps.pop()
        return written

    def as_base(self, value: object, depth: int, hint: str) -> object:
        for base, convert in _BASES.items():
            if isinstance(value, base):
                return self.write(convert(value), depth)
        raise self.error(f"{type(value).__qualname__} objects can not be stored; {hint}")


def _reason(exc: ValueError) -> str:
    if isinstance(exc, UnicodeEncodeError):
        return "a str with lone surrogates can not be stored"
    return str(exc)


def check_text(value: str) -> str:
    if not value.isascii():
        value.encode()
    return value
