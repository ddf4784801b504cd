"""MessagePack for values of the types that it has no word for.

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

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID

from msgspec.msgpack import Ext

from ..exceptions import MalformedSession
from .walker import check_text

__all__ = ["LEAVES", "PLAIN", "READERS", "SCALARS", "Code", "array"]

MAX_INT_BYTES = 1024  # bytes of an int's magnitude


class Code:
    """Of the extensions."""

    TUPLE, SET, FROZENSET, INT, DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID, BYTEARRAY, OBJECT = range(1, 13)


_EPOCH = datetime(1970, 1, 1)  # wall clock: the offset, if any, is written beside it
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1) // _MICROSECOND


def _write_int(value: int) -> object:
    if -(2**63) <= value < 2**64:
        return value
    if value.bit_length() > 8 * MAX_INT_BYTES:
        raise ValueError(f"an int of more than {MAX_INT_BYTES} bytes can not be stored")
    return Ext(Code.INT, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def _read_int(payload: memoryview) -> int:
    if len(payload) > MAX_INT_BYTES + 1:
        raise MalformedSession("an int is too large")
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
    return Ext(Code.DATETIME, _pack_clock(value.replace(tzinfo=None) - _EPOCH, value))


def _read_datetime(payload: memoryview) -> datetime:
    wall, zone = _unpack_clock(payload)
    return (_EPOCH + timedelta(microseconds=wall)).replace(tzinfo=zone)


def _write_time(value: time) -> Ext:
    wall = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    return Ext(Code.TIME, _pack_clock(wall, value))


def _read_time(payload: memoryview) -> time:
    wall, zone = _unpack_clock(payload)
    if not 0 <= wall < _DAY:
        raise MalformedSession("a time is out of range")
    return (_EPOCH + timedelta(microseconds=wall)).time().replace(tzinfo=zone)


def _write_timedelta(value: timedelta) -> Ext:
    return Ext(Code.TIMEDELTA, struct.pack(">iII", value.days, value.seconds, value.microseconds))


def array(decoded: object) -> list[Any]:
    if type(decoded) is not list:
        raise MalformedSession("an extension does not hold an array")
    return decoded


SCALARS: frozenset[type] = frozenset({str, int, float, bool, NoneType, bytes})
PLAIN = SCALARS - {str, int}  # these are written as they are, whatever their value
LEAVES: dict[type, Callable[[Any], object]] = {
    str: check_text,
    int: _write_int,
    datetime: _write_datetime,
    date: lambda value: Ext(Code.DATE, struct.pack(">I", value.toordinal())),
    time: _write_time,
    timedelta: _write_timedelta,
    Decimal: lambda value: Ext(Code.DECIMAL, str(value).encode("ascii")),
    UUID: lambda value: Ext(Code.UUID, value.bytes),
    bytearray: lambda value: Ext(Code.BYTEARRAY, bytes(value)),
}
READERS: dict[int, Callable[[memoryview], object]] = {
    Code.INT: _read_int,
    Code.DATETIME: _read_datetime,
    Code.DATE: lambda payload: date.fromordinal(struct.unpack(">I", payload)[0]),
    Code.TIME: _read_time,
    Code.TIMEDELTA: lambda payload: timedelta(*struct.unpack(">iII", payload)),
    Code.DECIMAL: lambda payload: Decimal(str(payload, "ascii")),
    Code.UUID: lambda payload: UUID(bytes=bytes(payload)),
    Code.BYTEARRAY: bytearray,
}
