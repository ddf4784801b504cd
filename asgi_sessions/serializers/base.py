"""The contract of a serializer, the limits that all of them keep, and the walker that both formats share."""

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import Any, ClassVar

from ..exceptions import MalformedSession, SerializationError

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
            SerializationError: it cannot be stored; ``path`` starts at ``value``.
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
            MalformedSession: these bytes cannot be decoded. ``loads`` raises nothing else, whatever the bytes are.
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
            SerializationError: a key cannot be stored, or the whole is too large or nested too deeply.
            MalformedSession: a part cannot be decoded; not every serializer looks at them.
        """
        return self.dumps({key: self.loads(part) for key, part in parts.items()})


class TooMuch(MalformedSession):
    """A limit is exceeded; told from other faults because writing can be the cause."""


class LimitedSerializer(Serializer):
    """A serializer of this package; writes and reads at most ``max_bytes``."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes={max_bytes!r} must be at least 1")
        self.max_bytes = max_bytes

    @abstractmethod
    def _read(self, data: bytes) -> object:
        """Decode, whatever a subclass makes of ``loads``."""

    def _check_read(self, data: bytes) -> None:
        if len(data) > self.max_bytes:
            raise MalformedSession(f"the stored value takes {len(data)} bytes, at most {self.max_bytes} are read")

    def _check_written(self, data: bytes, trial: bool) -> bytes:
        """Refuse now what could not be loaded later; with ``trial``, by loading it."""
        if len(data) > self.max_bytes:
            raise SerializationError("", f"takes {len(data)} bytes, at most {self.max_bytes} may be stored")
        if trial:
            try:
                self._read(data)
            except TooMuch as exc:
                raise SerializationError("", str(exc)) from exc
        return data


_SETS: frozenset[type] = frozenset({set, frozenset})
_SEQUENCES: frozenset[type] = frozenset({list, tuple}) | _SETS
_CONTAINERS: frozenset[type] = _SEQUENCES | {dict}


def check_shape(value: object, containers: int | None = None) -> None:
    """Refuse what is nested too deeply for others to recurse into it, or holds more keys than a session needs.

    With ``containers``, the most that can be in there with anything in them, stop once the rest cannot be too deep.
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


class Walker(ABC):
    """Converts one value into what msgspec writes without loss; knows where it is, for error messages."""

    __slots__ = ("keys", "limit", "room", "steps")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.room = limit
        self.keys = MAX_KEYS
        self.steps: list[object] = []

    def dumps(self, value: object, encode: Callable[[object], bytes]) -> bytes:
        try:
            return encode(self.write(value, 0))
        except RecursionError as exc:
            raise SerializationError("", "nested too deeply for what is left of Python's stack") from exc

    @abstractmethod
    def write(self, value: object, depth: int) -> object: ...

    def error(self, reason: str) -> SerializationError:
        path = "".join(f".{s}" if isinstance(s, Attribute) else f"[{_KEY_REPR.repr(s)}]" for s in self.steps)
        return SerializationError(path, reason)

    def enter(self, size: int, depth: int, keys: int = 0) -> None:
        """Guard against cycles, and against small structures that unfold into huge ones: an element takes a byte."""
        if depth >= MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} levels deep, or contains itself")
        self.room -= size
        if self.room < 0:
            raise self.error(f"takes more than the {self.limit} bytes that may be stored")
        self.keys -= keys
        if self.keys < 0:
            raise self.error(f"holds more than {MAX_KEYS} keys")

    def leaf(self, convert: Callable[[Any], object], value: object) -> object:
        try:
            return convert(value)
        except ValueError as exc:
            raise self.error(str(exc)) from exc

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
        raise self.error(f"{type(value).__qualname__} objects cannot be stored; {hint}")


def check_text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("a str with lone surrogates cannot be stored") from exc
    return value
