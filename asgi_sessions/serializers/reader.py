"""Reads MessagePack, whatever the bytes are."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ..exceptions import MalformedSession
from .base import MAX_DEPTH, TooMuch, check_shape
from .extensions import READERS, Code, array
from .registered import Kind

__all__ = ["GuardedReader", "Reader", "containers", "may_collide", "may_extend", "nests"]

MAX_COLLISIONS = 100  # different values of one hash


class Reader:
    """Decodes what holds few extensions; see ``nests`` for the rest.

    Args:
        names: the registered types by name.
    """

    def __init__(self, names: Mapping[str, Kind]) -> None:
        self._names = names
        self._readers: dict[int, Callable[[memoryview], object]] = READERS | {
            Code.TUPLE: lambda payload: tuple(self._array(payload)),
            Code.SET: lambda payload: set(self._array(payload)),
            Code.FROZENSET: lambda payload: frozenset(self._array(payload)),
            Code.OBJECT: self._object,
        }
        self._decode = msgspec.msgpack.Decoder(ext_hook=self.extension).decode
        self._split = msgspec.msgpack.Decoder(dict[Any, Raw], ext_hook=self.extension).decode

    def load(self, data: bytes) -> object:
        """
        Raises:
            MalformedSession: the bytes can not be decoded.
        """
        try:
            return self._decode(data)
        except MalformedSession:
            raise
        except Exception as exc:  # also what registered decode functions raise
            raise MalformedSession("the stored value is not readable MessagePack") from exc

    def split(self, data: bytes) -> dict[Any, bytes]:
        """A dict's keys, each with its encoded value.

        Raises:
            MalformedSession: the bytes are not an encoded dict.
        """
        try:
            parts = self._split(data)
        except MalformedSession:
            raise
        except Exception as exc:
            raise MalformedSession("the stored value is not a dict in readable MessagePack") from exc
        return {key: bytes(part) for key, part in parts.items()}

    def extension(self, code: int, payload: memoryview) -> object:
        if reader := self._readers.get(code):
            return reader(payload)
        raise MalformedSession(f"extension code {code} is unknown")

    def _array(self, payload: memoryview) -> list[Any]:
        return array(self._decode(payload))

    def _object(self, payload: memoryview) -> object:
        name, state = self._array(payload)
        kind = self._names.get(name)
        if kind is None:
            raise MalformedSession(f"no type is registered as {name!r:.80}")
        check_shape(state)
        return kind.decode(state)


class GuardedReader(Reader):
    """For one value that may hold many extensions.

    Among a dict's keys, values of one hash are compared with each other. Python keeps the hashes of ``str`` and
    ``bytes`` from being guessed, but not those of large ints, UUIDs, tuples...: thousands of one hash would take
    minutes (CWE-407, https://cwe.mitre.org/data/definitions/407.html).
    """

    def __init__(self, names: Mapping[str, Kind]) -> None:
        super().__init__(names)
        self._spelled: dict[int, set[bytes]] = {}  # by hash

    def extension(self, code: int, payload: memoryview) -> object:
        value = super().extension(code, payload)
        try:
            same = self._spelled.setdefault(hash(value), set())
        except TypeError:  # no key then
            return value
        same.add(bytes(payload))
        if len(same) > MAX_COLLISIONS:
            raise TooMuch(f"more than {MAX_COLLISIONS} values have the same hash")
        return value


# Bytes that can not open an extension, and those that can not open a container with something in it either: not so many
# others, not so many levels.
_NOT_EXTENSION = bytes({*range(256)} - {*range(0xC7, 0xCA), *range(0xD4, 0xD9)})
_NOT_NESTING = bytes({*_NOT_EXTENSION} - {*range(0x81, 0x90), *range(0x91, 0xA0), *range(0xDC, 0xE0)})


def may_extend(data: bytes) -> bool:
    """Whether there could be an extension."""
    # Each of these looks at sixteen bytes at once; together they take half the time of one translate().
    return (
        0xC7 in data
        or 0xC8 in data
        or 0xC9 in data
        or 0xD4 in data
        or 0xD5 in data
        or 0xD6 in data
        or 0xD7 in data
        or 0xD8 in data
    )


def may_collide(data: bytes) -> bool:
    """Whether there could be so many extensions that they have to be watched."""
    return len(data.translate(None, _NOT_EXTENSION)) > MAX_COLLISIONS


def containers(data: bytes) -> int:
    """How many containers with something in them, and extensions, there are at the most."""
    return len(data.translate(None, _NOT_NESTING))


def nests(data: bytes) -> bool:
    """Whether there could be so many containers or extensions that a limit is exceeded."""
    return containers(data) > MAX_DEPTH
