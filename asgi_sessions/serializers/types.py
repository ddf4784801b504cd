"""Python's types in MessagePack: extensions for what the format has no type for, and the application's own types.

MessagePack has types for ``str``, ``int`` of 64 bits, ``float``, ``bool``, ``None``, ``bytes``, ``list`` and ``dict``.
The others are extensions. The format is persistent, so a code is never given another meaning:

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
import struct
from collections.abc import Callable, Collection
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import NoneType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from ..exceptions import MalformedSession
from .base import check_text

TUPLE, SET, FROZENSET, INT, REGISTERED = 1, 2, 3, 4, 12  # codes; the others stand in _EXTENSIONS
MAX_INT_BYTES = 1024  # bytes of an int's magnitude

_EPOCH = datetime(1970, 1, 1)  # wall clock: the offset, if any, is written beside it
_MICROSECOND = timedelta(microseconds=1)
_DATE = struct.Struct(">I")


def _write_int(value: int) -> object:
    if -(2**63) <= value < 2**64:
        return value
    if value.bit_length() > 8 * MAX_INT_BYTES:
        raise ValueError(f"an int of more than {MAX_INT_BYTES} bytes cannot be stored")
    return Ext(INT, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def _unpack_int(payload: memoryview) -> int:
    if len(payload) > MAX_INT_BYTES + 1:
        raise MalformedSession("an int is too large")
    return int.from_bytes(payload, signed=True)


def _pack_clock(value: datetime | time) -> bytes:
    wall = value if isinstance(value, datetime) else datetime.combine(_EPOCH, value)
    microseconds = (wall.replace(tzinfo=None) - _EPOCH) // _MICROSECOND
    offset = value.utcoffset()
    if offset is not None:
        return struct.pack(">qq", microseconds, offset // _MICROSECOND)
    if value.tzinfo is not None:
        raise ValueError(f"a {type(value).__name__} whose time zone has no fixed offset cannot be stored")
    return struct.pack(">q", microseconds)


def _unpack_datetime(payload: memoryview) -> datetime:
    wall, *offset = struct.unpack(">q" if len(payload) == 8 else ">qq", payload)
    zone = timezone(timedelta(microseconds=offset[0])) if offset else None
    return (_EPOCH + timedelta(microseconds=wall)).replace(tzinfo=zone)


def _unpack_time(payload: memoryview) -> time:
    value = _unpack_datetime(payload)
    if value.date() != _EPOCH.date():
        raise MalformedSession("a time is out of range")
    return value.timetz()


def _writer(code: int, pack: Callable[[Any], bytes]) -> Callable[[Any], Ext]:
    return lambda value: Ext(code, pack(value))


_EXTENSIONS: list[tuple[int, type, Callable[[Any], bytes], Callable[[memoryview], object]]] = [
    (5, datetime, _pack_clock, _unpack_datetime),
    (6, date, lambda value: _DATE.pack(value.toordinal()), lambda payload: date.fromordinal(*_DATE.unpack(payload))),
    (7, time, _pack_clock, _unpack_time),
    (
        8,
        timedelta,
        lambda value: struct.pack(">iII", value.days, value.seconds, value.microseconds),
        lambda payload: timedelta(*struct.unpack(">iII", payload)),
    ),
    (9, Decimal, lambda value: str(value).encode("ascii"), lambda payload: Decimal(str(payload, "ascii"))),
    (10, UUID, lambda value: value.bytes, lambda payload: UUID(bytes=bytes(payload))),
    (11, bytearray, bytes, bytearray),
]
SCALARS: frozenset[type] = frozenset({str, int, float, bool, NoneType, bytes})
PLAIN = SCALARS - {str, int}  # these are written as they are, whatever their value
LEAVES: dict[type, Callable[[Any], object]] = {
    str: check_text,
    int: _write_int,
    **{cls: _writer(code, pack) for code, cls, pack, _ in _EXTENSIONS},
}
READERS = {INT: _unpack_int, **{code: unpack for code, _, _, unpack in _EXTENSIONS}}


class Registered(NamedTuple):
    """A type of the application's own; with ``fields``, its state is a dict of the object's attributes."""

    name: str
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]
    fields: bool = False


def describe(cls: type, name: str) -> Registered:
    if issubclass(cls, enum.Flag):
        return Registered(name, lambda member: member.value, cls)
    if issubclass(cls, enum.Enum):
        return Registered(name, lambda member: member.name, lambda member: cls[member])
    if issubclass(cls, msgspec.Struct):
        return _describe_fields(cls, name, cls.__struct_fields__, cls.__struct_fields__)
    if hasattr(cls, "model_dump") and hasattr(cls, "model_validate"):
        return _describe_model(cls, name)
    if dataclasses.is_dataclass(cls):
        every = dataclasses.fields(cls)
        return _describe_fields(cls, name, [f.name for f in every], [f.name for f in every if f.init])
    raise ValueError(f"{cls.__qualname__} needs encode and decode functions to be registered")


def _describe_model(cls: Any, name: str) -> Registered:
    # By field name both ways: an alias need not be the same for reading and for writing.
    by_name = "by_name" in inspect.signature(cls.model_validate).parameters  # pydantic 2.11
    options = {"by_alias": False, "by_name": True} if by_name else {}
    return Registered(
        name,
        lambda model: model.model_dump(round_trip=True, by_alias=False),
        lambda state: cls.model_validate(state, **options),
        fields=True,
    )


def _describe_fields(cls: type, name: str, fields: Collection[str], init: Collection[str]) -> Registered:
    """Keep fields by name, so that a class may gain fields with defaults, and lose fields."""
    if extra := inspect.signature(cls).parameters.keys() - set(init):
        raise ValueError(f"{cls.__qualname__} needs encode and decode functions: {sorted(extra)} are no fields")
    init = frozenset(init)
    later = frozenset(fields) - init

    def decode(state: dict[str, object]) -> object:
        value = cls(**{field: state[field] for field in state if field in init})
        for field in later & state.keys():
            object.__setattr__(value, field, state[field])  # also in frozen ones
        return value

    return Registered(name, lambda value: {f: getattr(value, f) for f in fields}, decode, fields=True)


def hint(cls: type) -> str:
    try:
        describe(cls, cls.__qualname__)
    except (ValueError, TypeError):
        return "convert it, or register the type: serializer.register(type, name, encode, decode)"
    return f"register the type: MessagePackSerializer(types=[{cls.__qualname__}])"
