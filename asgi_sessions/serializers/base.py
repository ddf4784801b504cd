"""What a serializer is, and the limits that all of them keep."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import chain
from typing import Any, ClassVar

from ..exceptions import MalformedSession, SerializationError

__all__ = ["Serializer"]

MAX_BYTES = 1024 * 1024  # bytes of one encoded value
MAX_DEPTH = 64  # containers inside each other; the outermost is the first
MAX_KEYS = 100_000  # keys of dicts and elements of sets, all together
MAY_HAVE_MANY_KEYS = 2 * MAX_KEYS  # bytes; a key takes one, its value another one


class Serializer(ABC):
    """How values become bytes; subclass it for a format of your own: ``dumps`` and ``loads`` are enough.

    ``dumps`` must be deterministic, also across processes: a session counts as changed when its encoding has changed.

    Attributes:
        text: whether the encoding is JSON text, which can stand inside a JSON document.
    """

    text: ClassVar[bool] = False

    @abstractmethod
    def dumps(self, value: object) -> bytes:
        """Encode a value; the session itself is passed as a plain dict.

        Raises:
            SerializationError: it can not be stored; ``path`` starts at ``value``.
        """

    def dumps_again(self, value: dict[Any, Any], before: bytes) -> bytes:
        """``dumps`` for a session that was loaded from ``before``, and in which only scalars were set since.

        Override it where knowing that saves time. ``value`` is the session itself, a subclass of ``dict``.

        Raises:
            SerializationError: as ``dumps``.
        """
        return self.dumps(dict(dict.items(value)))

    @abstractmethod
    def loads(self, data: bytes) -> object:
        """Decode what ``dumps`` wrote.

        Raises:
            MalformedSession: these bytes can not be decoded. ``loads`` raises nothing else, whatever the bytes are.
        """

    def loads_again(self, data: bytes) -> object:
        """``loads`` for bytes that ``loads`` has decoded before, or that ``dumps`` has written just now.

        Override it where that spares a check.
        """
        return self.loads(data)

    def split(self, data: bytes) -> dict[Any, bytes]:
        """An encoded dict's top-level keys, in order, each with its encoded value, whose encoding is not changed.

        Override it where the format can cut without decoding.

        Raises:
            MalformedSession: this is not an encoded dict. Values may turn out malformed later, when they are loaded.
        """
        value = self.loads(data)
        if not isinstance(value, dict):
            raise MalformedSession("the stored value is not a dict")
        return {key: self.dumps(item) for key, item in value.items()}

    def join(self, parts: Mapping[Any, bytes]) -> bytes:
        """The reverse of ``split``: one encoded dict of keys and encoded values, in order.

        Raises:
            SerializationError: a key can not be stored, or the whole is too large or nested too deeply.
            MalformedSession: a part can not be decoded; not every serializer looks at them.
        """
        return self.dumps({key: self.loads(part) for key, part in parts.items()})


class TooMuch(MalformedSession):
    """It exceeds a limit; told from other faults because writing can be the cause."""


_SETS: frozenset[type] = frozenset({set, frozenset})
_SEQUENCES: frozenset[type] = frozenset({list, tuple}) | _SETS
_CONTAINERS: frozenset[type] = _SEQUENCES | {dict}


def check_shape(value: object, containers: int | None = None) -> None:
    """Refuse what is nested too deeply for others to recurse into it, or holds more keys than a session needs.

    Args:
        containers: at most so many are in there with anything in them, and not too many keys: it ends once the rest
            of them can not be too deep.

    Raises:
        TooMuch: says which limit was exceeded.
    """
    level: list[Any] = [value]
    keys = 0
    for depth in range(1, MAX_DEPTH + 2):
        if _CONTAINERS.isdisjoint(map(type, level)):
            return
        dicts = [item for item in level if type(item) is dict]
        others = [item for item in level if type(item) in _SEQUENCES]
        if containers is not None:
            containers -= sum(map(bool, dicts)) + sum(map(bool, others))
            if depth + containers <= MAX_DEPTH:
                return
        keys += sum(map(len, dicts)) + sum(len(item) for item in others if type(item) in _SETS)
        if keys > MAX_KEYS:
            raise TooMuch(f"holds more than {MAX_KEYS} keys")
        level = [*chain.from_iterable(others), *chain.from_iterable(map(dict.values, dicts))]
        level += [key for key in chain.from_iterable(dicts) if type(key) is not str]
    raise TooMuch(f"nested more than {MAX_DEPTH} levels deep")


def check_written(value: object, data: bytes, limit: int) -> bytes:
    """What was written must be readable.

    Raises:
        SerializationError: too large, or too many keys.
    """
    if len(data) > limit:
        raise too_large(data, limit)
    if len(data) > MAY_HAVE_MANY_KEYS:
        try:
            check_shape(value)
        except TooMuch as exc:
            raise SerializationError("", str(exc)) from exc
    return data


def too_large(data: bytes, limit: int) -> SerializationError:
    return SerializationError("", f"takes {len(data)} bytes, at most {limit} may be stored")


def check_readable(serializer: Serializer, data: bytes) -> None:
    """Refuse now what could not be loaded later.

    Raises:
        SerializationError: names the limit.
    """
    try:
        serializer.loads(data)
    except TooMuch as exc:
        raise SerializationError("", str(exc)) from exc


def refuse_large(data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise MalformedSession(f"the stored value takes {len(data)} bytes, at most {limit} are read")


def is_native(value: Any, scalars: frozenset[type], keys: frozenset[type], room: int) -> bool:
    """Whether nothing but ``scalars``, lists and dicts is in there, all of exactly these types, within the limits."""
    try:
        return _room_left(value, scalars, keys, room, MAX_DEPTH) >= 0
    except RecursionError:  # Python's stack was almost used up before
        return False


def _room_left(value: Any, scalars: frozenset[type], keys: frozenset[type], room: int, depth: int) -> int:
    """-1: not native. An element takes a byte of the room: small structures can unfold into huge ones."""
    cls = type(value)
    if cls is dict:
        if not keys.issuperset(map(type, value)):
            return -1
        room -= len(value)
        value = value.values()
    elif cls is list:
        room -= len(value)
    else:
        return room if cls in scalars else -1
    if not depth:
        return -1
    for item in value:
        if type(item) not in scalars:
            room = _room_left(item, scalars, keys, room, depth - 1)
        if room < 0:
            return -1
    return room
