"""Values <-> bytes: what a session can hold, and how it is written.

Data only: loading imports nothing, and runs no code but the decode functions of types that were registered.

The MessagePack format is persistent, so the codes below are never given another meaning. Python's ``str``, ``int`` of
64 bits, ``float``, ``bool``, ``None``, ``bytes``, ``list`` and ``dict`` are MessagePack's own types. The others are
extensions:

====  =============  ====================================================================================
code  type           payload (integers big-endian)
====  =============  ====================================================================================
1     tuple          an array
2     set            an array, sorted by its encoded elements
3     frozenset      an array, sorted by its encoded elements
4     int            beyond 64 bits: two's complement, at most 1 KiB of magnitude
5     datetime       microseconds of the wall clock since 1970 (int64); if aware, UTC offset in microseconds (int64)
6     date           proleptic Gregorian ordinal (uint32)
7     time           microseconds since midnight (int64); if aware, UTC offset in microseconds (int64)
8     timedelta      days (int32), seconds (uint32), microseconds (uint32)
9     Decimal        its text
10    UUID           16 bytes
11    bytearray      the bytes
12    registered     an array of two: the registered name, the state
====  =============  ====================================================================================
"""

import dataclasses
import enum
import inspect
import reprlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import chain
from types import NoneType
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import msgspec
from msgspec import Raw
from msgspec.msgpack import Ext

from .exceptions import Malformed, SerializationError

__all__ = ["JSONSerializer", "MessagePackSerializer", "Serializer"]

MAX_BYTES = 1024 * 1024  # bytes of one encoded value
MAX_DEPTH = 64  # containers inside each other; the outermost is the first
MAX_INT_BYTES = 1024  # bytes of an int's magnitude

T = TypeVar("T")


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

    @abstractmethod
    def loads(self, data: bytes) -> object:
        """Decode what ``dumps`` wrote.

        Raises:
            Malformed: these bytes can not be decoded. ``loads`` raises nothing else, whatever the bytes are.
        """

    def split(self, data: bytes) -> dict[Any, bytes]:
        """An encoded dict's top-level keys, in order, each with its encoded value, whose encoding is not changed.

        Override it where the format can cut without decoding.

        Raises:
            Malformed: this is not an encoded dict. Values may turn out malformed later, when they are loaded.
        """
        value = self.loads(data)
        if not isinstance(value, dict):
            raise Malformed("the stored value is not a dict")
        return {key: self.dumps(item) for key, item in value.items()}

    def join(self, parts: Mapping[Any, bytes]) -> bytes:
        """The reverse of ``split``: one encoded dict of keys and encoded values, in order.

        Raises:
            SerializationError: a key can not be stored, or the whole is too large or nested too deeply.
            Malformed: a part can not be decoded; not every serializer looks at them.
        """
        return self.dumps({key: self.loads(part) for key, part in parts.items()})


# -- walking values ------------------------------------------------------------------------------------------

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


class _Attribute(str):
    """A step of a path that is written ``.name``."""

    __slots__ = ()


class _Walker:
    """Turns one value into what msgspec writes without loss; knows where it is, for error messages."""

    __slots__ = ("limit", "room", "steps")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.room = limit
        self.steps: list[object] = []

    def error(self, reason: str) -> SerializationError:
        path = "".join(f".{s}" if isinstance(s, _Attribute) else f"[{_KEY_REPR.repr(s)}]" for s in self.steps)
        return SerializationError(path, reason)

    def enter(self, size: int, depth: int) -> None:
        """Guard against cycles, and against small structures that unfold into huge ones: an element takes a byte."""
        if depth >= MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} levels deep, or contains itself")
        self.room -= size
        if self.room < 0:
            raise self.error(f"takes more than the {self.limit} bytes that may be stored")

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


def _check_text(value: str) -> str:
    if not value.isascii():
        value.encode()
    return value


def _is_native(value: object, scalars: frozenset[type], keys: frozenset[type], room: int) -> bool:
    """Whether nothing but ``scalars``, lists and dicts is in there, all of exactly these types, within the limits."""
    if type(value) is dict and scalars.issuperset(map(type, value.values())):
        return keys.issuperset(map(type, value))
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        if scalars.issuperset(map(type, level)):
            return True
        level = [item for item in level if type(item) not in scalars]
        dicts = [item for item in level if type(item) is dict]
        lists = [item for item in level if type(item) is list]
        if len(dicts) + len(lists) < len(level) or not keys.issuperset(map(type, chain.from_iterable(dicts))):
            return False
        room -= sum(map(len, level))  # an element takes a byte: small structures can unfold into huge ones
        if room < 0:
            return False
        level = [*chain.from_iterable(lists), *chain.from_iterable(map(dict.values, dicts))]
    return False


def _check_size(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise SerializationError("", f"takes {len(data)} bytes, at most {limit} may be stored")
    return data


def _check_joined(serializer: Serializer, data: bytes) -> None:
    """``join`` adds a level; refuse now what could not be loaded later."""
    try:
        serializer.loads(data)
    except _TooDeep as exc:
        raise SerializationError("", f"nested more than {MAX_DEPTH} levels deep") from exc


def _refuse_large(data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise Malformed(f"the stored value takes {len(data)} bytes, at most {limit} are read")


class _TooDeep(Malformed):
    """Told from other faults, because ``join`` can cause it."""


def _check_depth(value: object) -> None:
    """Before others recurse into it. The decoder itself stops where Python's stack ends."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        if _NESTABLE.isdisjoint(map(type, level)):
            return
        level = [item for item in level if type(item) in _NESTABLE]
        dicts = [item for item in level if type(item) is dict]
        level = [*chain.from_iterable(level), *chain.from_iterable(map(dict.values, dicts))]
    raise _TooDeep(f"the stored value is nested more than {MAX_DEPTH} levels deep")


_NESTABLE: frozenset[type] = frozenset({dict, list, tuple, set, frozenset})


# -- MessagePack: values of the types that it has no word for ------------------------------------------------

_TUPLE, _SET, _FROZENSET, _INT, _DATETIME, _DATE, _TIME, _TIMEDELTA, _DECIMAL, _UUID, _BYTEARRAY, _OBJECT = range(1, 13)

_EPOCH = datetime(1970, 1, 1)  # wall clock: the offset, if any, is written beside it
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1) // _MICROSECOND

_encode = msgspec.msgpack.Encoder().encode


def _write_int(value: int) -> object:
    if -(2**63) <= value < 2**64:
        return value
    if value.bit_length() > 8 * MAX_INT_BYTES:
        raise ValueError(f"an int of more than {MAX_INT_BYTES} bytes can not be stored")
    return Ext(_INT, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def _read_int(payload: memoryview) -> int:
    if len(payload) > MAX_INT_BYTES + 1:
        raise Malformed("an int is too large")
    return int.from_bytes(payload, signed=True)


def _pack_clock(wall: timedelta, value: datetime | time) -> bytes:
    offset = value.utcoffset()
    if offset is not None:
        return struct.pack(">qq", wall // _MICROSECOND, offset // _MICROSECOND)
    if value.tzinfo is not None:
        raise ValueError(f"a {type(value).__name__} whose time zone has no fixed offset can not be stored")
    return struct.pack(">q", wall // _MICROSECOND)


def _unpack_clock(payload: memoryview) -> tuple[int, timezone | None]:
    if len(payload) == 8:
        return struct.unpack(">q", payload)[0], None
    wall, offset = struct.unpack(">qq", payload)
    return wall, timezone(timedelta(microseconds=offset)) if offset else UTC


def _write_datetime(value: datetime) -> Ext:
    return Ext(_DATETIME, _pack_clock(value.replace(tzinfo=None) - _EPOCH, value))


def _read_datetime(payload: memoryview) -> datetime:
    wall, zone = _unpack_clock(payload)
    return (_EPOCH + timedelta(microseconds=wall)).replace(tzinfo=zone)


def _write_time(value: time) -> Ext:
    wall = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    return Ext(_TIME, _pack_clock(wall, value))


def _read_time(payload: memoryview) -> time:
    wall, zone = _unpack_clock(payload)
    if not 0 <= wall < _DAY:
        raise Malformed("a time is out of range")
    return (_EPOCH + timedelta(microseconds=wall)).time().replace(tzinfo=zone)


def _write_timedelta(value: timedelta) -> Ext:
    return Ext(_TIMEDELTA, struct.pack(">iII", value.days, value.seconds, value.microseconds))


def _array(decoded: object) -> list[Any]:
    if type(decoded) is not list:
        raise Malformed("an extension does not hold an array")
    return decoded


_SCALARS: frozenset[type] = frozenset({str, int, float, bool, NoneType, bytes})
_PLAIN = _SCALARS - {str, int}  # these are written as they are, whatever their value
_LEAVES: dict[type, Callable[[Any], object]] = {
    str: _check_text,
    int: _write_int,
    datetime: _write_datetime,
    date: lambda value: Ext(_DATE, struct.pack(">I", value.toordinal())),
    time: _write_time,
    timedelta: _write_timedelta,
    Decimal: lambda value: Ext(_DECIMAL, str(value).encode("ascii")),
    UUID: lambda value: Ext(_UUID, value.bytes),
    bytearray: lambda value: Ext(_BYTEARRAY, bytes(value)),
}
_READERS: dict[int, Callable[[memoryview], object]] = {
    _INT: _read_int,
    _DATETIME: _read_datetime,
    _DATE: lambda payload: date.fromordinal(struct.unpack(">I", payload)[0]),
    _TIME: _read_time,
    _TIMEDELTA: lambda payload: timedelta(*struct.unpack(">iII", payload)),
    _DECIMAL: lambda payload: Decimal(str(payload, "ascii")),
    _UUID: lambda payload: UUID(bytes=bytes(payload)),
    _BYTEARRAY: bytearray,
}


# -- MessagePack: registered types ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    name: str
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]
    fields: bool = False  # whether the state is a dict of the object's attributes


def _describe(cls: type, name: str) -> _Kind:
    if issubclass(cls, enum.Flag):
        return _Kind(name=name, encode=lambda member: member.value, decode=cls)
    if issubclass(cls, enum.Enum):
        return _Kind(name=name, encode=lambda member: member.name, decode=lambda member: cls[member])
    if issubclass(cls, msgspec.Struct):
        return _describe_fields(cls, name, cls.__struct_fields__, cls.__struct_fields__)
    if hasattr(cls, "model_dump") and hasattr(cls, "model_validate"):
        return _describe_model(cls, name)
    if dataclasses.is_dataclass(cls):
        every = dataclasses.fields(cls)
        return _describe_fields(cls, name, [f.name for f in every], [f.name for f in every if f.init])
    raise ValueError(f"{cls.__qualname__} needs encode and decode functions to be registered")


def _describe_model(cls: Any, name: str) -> _Kind:
    # By field name both ways: an alias need not be the same for reading and for writing.
    by_name = "by_name" in inspect.signature(cls.model_validate).parameters  # pydantic 2.11
    options = {"by_alias": False, "by_name": True} if by_name else {}
    return _Kind(
        name=name,
        encode=lambda model: model.model_dump(round_trip=True, by_alias=False),
        decode=lambda state: cls.model_validate(state, **options),
        fields=True,
    )


def _describe_fields(cls: type, name: str, fields: Collection[str], init: Collection[str]) -> _Kind:
    """Fields are kept by name, so that a class may gain fields with defaults, and lose fields."""
    if extra := inspect.signature(cls).parameters.keys() - set(init):
        raise ValueError(f"{cls.__qualname__} needs encode and decode functions: {sorted(extra)} are no fields")
    init = frozenset(init)
    later = frozenset(fields) - init

    def decode(state: dict[str, object]) -> object:
        value = cls(**{field: state[field] for field in state if field in init})
        for field in later & state.keys():
            object.__setattr__(value, field, state[field])  # also in frozen ones
        return value

    return _Kind(name=name, encode=lambda value: {f: getattr(value, f) for f in fields}, decode=decode, fields=True)


# -- MessagePack: writing and guarding -----------------------------------------------------------------------


class _PackWalker(_Walker):
    __slots__ = ("kinds",)

    def __init__(self, limit: int, kinds: Mapping[type, _Kind]) -> None:
        super().__init__(limit)
        self.kinds = kinds

    def write(self, value: object, depth: int) -> object:
        cls = type(value)
        if cls in _PLAIN:
            return value
        if convert := _LEAVES.get(cls):
            return self.leaf(convert, value)
        if write := _CONTAINERS.get(cls):
            return write(self, value, depth)
        if kind := self.kinds.get(cls):
            return self.registered(kind, value, depth)
        return self.as_base(value, depth, _hint(cls))

    def mapping(self, value: dict[Any, object], depth: int, step: Callable[[Any], object] | None = None) -> object:
        self.enter(len(value), depth)
        pairs = []
        plain = True
        for key, item in value.items():
            self.steps.append(step(key) if step else key)
            written = key if type(key) is str and key.isascii() else self.write(key, depth + 1)
            plain = plain and written is key
            pairs.append((written, item if type(item) in _PLAIN else self.write(item, depth + 1)))
            self.steps.pop()
        if plain:
            return dict(pairs)
        return Raw(_join([(_encode(key), _encode(item)) for key, item in pairs]))

    def tuple(self, value: Collection[object], depth: int) -> Ext:
        return Ext(_TUPLE, _encode(self.items(value, depth)))

    def set(self, value: Collection[object], depth: int) -> Ext:
        self.enter(len(value), depth)
        elements = sorted(_encode(self.write(item, depth + 1)) for item in value)
        code = _SET if type(value) is set else _FROZENSET
        return Ext(code, _encode([Raw(element) for element in elements]))

    def registered(self, kind: _Kind, value: object, depth: int) -> Ext:
        self.enter(1, depth)
        try:
            state = kind.encode(value)
        except Exception as exc:
            raise self.error(f"{type(value).__qualname__} objects: encoding failed") from exc
        if kind.fields and isinstance(state, dict):
            written = self.mapping(state, depth + 1, _Attribute)
        else:
            written = self.write(state, depth + 1)
        return Ext(_OBJECT, _encode([kind.name, written]))


_CONTAINERS: dict[type, Callable[[_PackWalker, Any, int], object]] = {
    list: _PackWalker.items,
    dict: _PackWalker.mapping,
    tuple: _PackWalker.tuple,
    set: _PackWalker.set,
    frozenset: _PackWalker.set,
}


def _hint(cls: type) -> str:
    try:
        _describe(cls, cls.__qualname__)
    except (ValueError, TypeError):
        return "convert it, or register the type: serializer.register(type, name, encode, decode)"
    return f"register the type: MessagePackSerializer(types=[{cls.__qualname__}])"


def _join(pairs: Collection[tuple[bytes, bytes]]) -> bytes:
    return _map_head(len(pairs)) + b"".join([key + item for key, item in pairs])


def _map_head(size: int) -> bytes:
    if size < 16:
        return bytes((0x80 | size,))
    if size < 2**16:
        return struct.pack(">BH", 0xDE, size)
    return struct.pack(">BI", 0xDF, size)


# Bytes that can not open a container with something in it, nor an extension: not so many others, not so many levels.
_NOT_NESTING = bytes(
    {*range(256)} - {*range(0x81, 0x90), *range(0x91, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)}
)


def _may_be_deep(data: bytes) -> bool:
    return len(data.translate(None, _NOT_NESTING)) > MAX_DEPTH


class MessagePackSerializer(Serializer):
    """The default: compact, fast, and every value comes back with its type.

    Stored are ``None``, ``bool``, ``int`` (up to 1 KiB), ``float``, ``str``, ``bytes``, ``bytearray``, ``list``,
    ``tuple``, ``dict`` (keys of any hashable type of this list), ``set``, ``frozenset``, ``datetime``, ``date``,
    ``time``, ``timedelta``, ``Decimal``, ``UUID`` and registered types. A time zone comes back as its UTC offset;
    ``fold`` is not kept. Subclasses of ``str``, ``int``, ``float``, ``bytes``, ``list``, ``tuple`` and ``dict`` that
    are not registered are stored as what they are derived from.

    Args:
        types: dataclasses, msgspec structs, pydantic models and enums to register under their ``__qualname__``.
        max_bytes: the largest encoding that is written and read, in bytes.
    """

    def __init__(self, types: Iterable[type] = (), *, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes={max_bytes!r} must be at least 1")
        self.max_bytes = max_bytes
        self._kinds: dict[type, _Kind] = {}
        self._names: dict[str, _Kind] = {}
        self._decode = msgspec.msgpack.Decoder(ext_hook=self._read_extension).decode
        self._split = msgspec.msgpack.Decoder(dict[Any, Raw], ext_hook=self._read_extension).decode
        self._readers = _READERS | {
            _TUPLE: lambda payload: tuple(self._read_array(payload)),
            _SET: lambda payload: set(self._read_array(payload)),
            _FROZENSET: lambda payload: frozenset(self._read_array(payload)),
            _OBJECT: self._read_object,
        }
        for cls in types:
            self.register(cls, cls.__qualname__)

    def register(
        self,
        type: type[T],  # noqa: A002 - what the caller would call it
        name: str,
        encode: Callable[[T], object] | None = None,
        decode: Callable[[Any], T] | None = None,
    ) -> None:
        """Let values of exactly this type be stored; call it before the first session is served.

        Args:
            name: written into every record: keep it when the class is renamed or moved, or older records can not be
                read any more.
            encode: makes a value that can be stored of an object; a new object of another type.
            decode: the reverse. Both may be left out for dataclasses, structs, pydantic models (written as a dict
                of their fields: fields may come with a default, and go) and enums (written by name, flags by value).

        Raises:
            ValueError: the name or the type is taken, or it takes an encode and a decode function.
        """
        if (encode is None) != (decode is None):
            raise ValueError(f"encode and decode of {name!r} belong together: give both or none")
        if not name or name in self._names:
            raise ValueError(f"the name {name!r} is " + ("taken by another type" if name else "empty"))
        if type in _PLAIN or type in _LEAVES or type in _CONTAINERS or type in self._kinds:
            raise ValueError(f"{type.__qualname__} can be stored already")
        if encode is None or decode is None:
            kind = _describe(type, name)
        else:
            kind = _Kind(name=name, encode=encode, decode=decode)
        self._kinds[type] = self._names[name] = kind

    def dumps(self, value: object) -> bytes:
        return _check_size(self._encode(value), self.max_bytes)

    def loads(self, data: bytes) -> object:
        return self._read(self._decode, data)

    def split(self, data: bytes) -> dict[Any, bytes]:
        return {key: bytes(part) for key, part in self._read(self._split, data).items()}

    def join(self, parts: Mapping[Any, bytes]) -> bytes:
        data = _check_size(self._join(parts), self.max_bytes)
        if _may_be_deep(data):
            _check_joined(self, data)
        return data

    def _join(self, parts: Mapping[Any, bytes]) -> bytes:
        if _SCALARS.issuperset(map(type, parts)):
            with suppress(OverflowError, UnicodeEncodeError):
                return _encode({key: Raw(part) for key, part in parts.items()})
        return _join([(self.dumps(key), part) for key, part in parts.items()])

    def _encode(self, value: object) -> bytes:
        try:
            # msgspec alone would write tuples, sets, datetimes, dataclasses... and lose their types.
            if _is_native(value, _SCALARS, _SCALARS, self.max_bytes):
                return _encode(value)
        except (OverflowError, UnicodeEncodeError):
            pass  # a large int, or a str that the walker will point at
        try:
            return _encode(_PackWalker(self.max_bytes, self._kinds).write(value, 0))
        except RecursionError as exc:
            raise SerializationError("", "nested too deeply for what is left of Python's stack") from exc

    def _read(self, decode: Callable[[bytes], Any], data: bytes) -> Any:
        _refuse_large(data, self.max_bytes)
        try:
            value = decode(data)
        except Malformed:
            raise
        except Exception as exc:  # also what registered decode functions raise
            raise Malformed("the stored value is not readable MessagePack") from exc
        if _may_be_deep(data):
            _check_depth(value)
        return value

    def _read_extension(self, code: int, payload: memoryview) -> object:
        if reader := self._readers.get(code):
            return reader(payload)
        raise Malformed(f"extension code {code} is unknown")

    def _read_array(self, payload: memoryview) -> list[Any]:
        return _array(self._decode(payload))

    def _read_object(self, payload: memoryview) -> object:
        name, state = self._read_array(payload)
        kind = self._names.get(name)
        if kind is None:
            raise Malformed(f"no type is registered as {name!r:.80}")
        _check_depth(state)
        return kind.decode(state)


# -- JSON ----------------------------------------------------------------------------------------------------

_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode
_split_json = msgspec.json.Decoder(dict[str, Raw]).decode

_JSON_SCALARS: frozenset[type] = frozenset({str, int, float, bool, NoneType})
_JSON_KEYS: frozenset[type] = frozenset({str})
_JSON_HINT = "JSON has no such type: use the default MessagePack serializer, or convert it"


def _write_json_int(value: int) -> int:
    try:
        _encode_json(value)
    except ValueError as exc:
        raise ValueError("an int of more than 4300 digits can not be stored as JSON") from exc
    return value


def _write_json_float(value: float) -> float:
    if value - value != 0:
        raise ValueError(f"{value!r} can not be stored; {_JSON_HINT}")
    return value


_JSON_LEAVES: dict[type, Callable[[Any], object]] = {
    str: _check_text,
    int: _write_json_int,
    float: _write_json_float,
    bool: bool,
    NoneType: lambda value: value,
}


class _JSONWalker(_Walker):
    __slots__ = ()

    def write(self, value: object, depth: int) -> object:
        cls = type(value)
        if convert := _JSON_LEAVES.get(cls):
            return self.leaf(convert, value)
        if isinstance(value, dict):
            return self.mapping(value, depth)
        if isinstance(value, list | tuple):
            return self.items(value, depth)
        if isinstance(value, bytes):
            raise self.error(f"{cls.__qualname__} objects can not be stored; {_JSON_HINT}")
        return self.as_base(value, depth, _JSON_HINT)

    def mapping(self, value: dict[Any, object], depth: int) -> object:
        self.enter(len(value), depth)
        written: dict[str, object] = {}
        for key, item in value.items():
            self.steps.append(key)
            name = self.key(key)
            if name in written:
                raise self.error(f"another key is {name!r} in JSON, too")
            written[name] = self.write(item, depth + 1)
            self.steps.pop()
        return written

    def key(self, key: object) -> str:
        if not isinstance(key, str | int | float | None):
            raise self.error(f"{type(key).__qualname__} objects can not be stored as keys; {_JSON_HINT}")
        written = self.write(key, 0)
        return written if isinstance(written, str) else _encode_json(written).decode()


def _may_be_deep_json(data: bytes) -> bool:
    return data.count(b"[") + data.count(b"{") > MAX_DEPTH


class JSONSerializer(Serializer):
    """JSON, for those who read the store with other tools; types are lost as with ``json.dumps``.

    Stored are ``str``, ``int`` (up to 4300 digits), finite ``float``, ``bool``, ``None``, ``list``, ``dict``, and their
    subclasses; a ``tuple`` comes back as a list, a key that is a number, a bool or None comes back as a str.

    Args:
        max_bytes: the largest encoding that is written and read, in bytes.
    """

    text: ClassVar[bool] = True

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes={max_bytes!r} must be at least 1")
        self.max_bytes = max_bytes

    def dumps(self, value: object) -> bytes:
        return _check_size(self._encode(value), self.max_bytes)

    def loads(self, data: bytes) -> object:
        return self._read(_decode_json, data)

    def split(self, data: bytes) -> dict[Any, bytes]:
        return {key: bytes(part) for key, part in self._read(_split_json, data).items()}

    def join(self, parts: Mapping[Any, bytes]) -> bytes:
        walker = _JSONWalker(self.max_bytes)
        data = _encode_json({walker.key(key): Raw(part) for key, part in parts.items()})
        _check_size(data, self.max_bytes)
        if _may_be_deep_json(data):
            _check_joined(self, data)
        return data

    def _encode(self, value: object) -> bytes:
        if _is_native(value, _JSON_SCALARS, _JSON_KEYS, self.max_bytes):
            try:
                data = _encode_json(value)
            except ValueError:
                pass  # a large int, or a str that the walker will point at
            else:
                if b"null" not in data or _decode_json(data) == value:  # msgspec writes null for NaN and infinity, too
                    return data
        try:
            return _encode_json(_JSONWalker(self.max_bytes).write(value, 0))
        except RecursionError as exc:
            raise SerializationError("", "nested too deeply for what is left of Python's stack") from exc

    def _read(self, decode: Callable[[bytes], Any], data: bytes) -> Any:
        _refuse_large(data, self.max_bytes)
        try:
            value = decode(data)
        except Exception as exc:
            raise Malformed("the stored value is not readable JSON") from exc
        if _may_be_deep_json(data):
            _check_depth(value)
        return value
