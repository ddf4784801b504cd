"""MessagePack, with every Python type kept."""

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from msgspec import Raw
from msgspec.msgpack import Ext

from ..exceptions import SerializationError
from .again import DecodedDicts
from .base import (
    MAX_BYTES,
    MAY_HAVE_MANY_KEYS,
    Serializer,
    check_readable,
    check_shape,
    check_written,
    is_native,
    refuse_large,
    too_large,
)
from .extensions import LEAVES, PLAIN, SCALARS, Code
from .reader import GuardedReader, Reader, containers, may_collide, may_extend, nests
from .registered import Kind, describe, hint
from .walker import Attribute, Walker

__all__ = ["MessagePackSerializer"]

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


class _PackWalker(Walker):
    __slots__ = ("kinds",)

    def __init__(self, limit: int, kinds: Mapping[type, Kind]) -> None:
        super().__init__(limit)
        self.kinds = kinds

    def write(self, value: object, depth: int) -> object:
        cls = type(value)
        if cls in PLAIN:
            return value
        if convert := LEAVES.get(cls):
            return self.leaf(convert, value)
        if write := _CONTAINERS.get(cls):
            return write(self, value, depth)
        if kind := self.kinds.get(cls):
            return self.registered(kind, value, depth)
        return self.as_base(value, depth, hint(cls))

    def mapping(self, value: dict[Any, object], depth: int, step: Callable[[Any], object] | None = None) -> object:
        self.enter(len(value), depth)
        self.count(len(value))
        pairs = []
        plain = True
        for key, item in value.items():
            self.steps.append(step(key) if step else key)
            written = key if type(key) is str and key.isascii() else self.write(key, depth + 1)
            plain = plain and written is key
            pairs.append((written, item if type(item) in PLAIN else self.write(item, depth + 1)))
            self.steps.pop()
        if plain:
            return dict(pairs)
        return Raw(_join([(_encode(key), _encode(item)) for key, item in pairs]))

    def tuple(self, value: Collection[object], depth: int) -> Ext:
        return Ext(Code.TUPLE, _encode(self.items(value, depth)))

    def set(self, value: Collection[object], depth: int) -> Ext:
        self.enter(len(value), depth)
        self.count(len(value))
        elements = sorted(_encode(self.write(item, depth + 1)) for item in value)
        code = Code.SET if type(value) is set else Code.FROZENSET
        return Ext(code, _encode([Raw(element) for element in elements]))

    def registered(self, kind: Kind, value: object, depth: int) -> Ext:
        self.enter(1, depth)
        try:
            state = kind.encode(value)
        except Exception as exc:
            raise self.error(f"{type(value).__qualname__} objects: encoding failed") from exc
        if kind.fields and isinstance(state, dict):
            written = self.mapping(state, depth + 1, Attribute)
        else:
            written = self.write(state, depth + 1)
        return Ext(Code.OBJECT, _encode([kind.name, written]))


_CONTAINERS: dict[type, Callable[[_PackWalker, Any, int], object]] = {
    list: _PackWalker.items,
    dict: _PackWalker.mapping,
    tuple: _PackWalker.tuple,
    set: _PackWalker.set,
    frozenset: _PackWalker.set,
}


def _join(pairs: Collection[tuple[bytes, bytes]]) -> bytes:
    return _map_head(len(pairs)) + b"".join([key + item for key, item in pairs])


def _map_head(size: int) -> bytes:
    if size < 16:
        return bytes((0x80 | size,))
    if size < 2**16:
        return struct.pack(">BH", 0xDE, size)
    return struct.pack(">BI", 0xDF, size)


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
        self._unchecked = min(max_bytes, MAY_HAVE_MANY_KEYS)  # bytes up to which no limit can be exceeded but the depth
        self._kinds: dict[type, Kind] = {}
        self._names: dict[str, Kind] = {}
        self._reader = Reader(self._names)
        self._decoded = DecodedDicts()
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
        if type in PLAIN or type in LEAVES or type in _CONTAINERS or type in self._kinds:
            raise ValueError(f"{type.__qualname__} can be stored already")
        if encode is None or decode is None:
            kind = describe(type, name)
        else:
            kind = Kind(name=name, encode=encode, decode=decode)
        self._kinds[type] = self._names[name] = kind

    def dumps(self, value: object) -> bytes:
        data = self._encode(value)
        return data if len(data) <= self._unchecked else check_written(value, data, self.max_bytes)

    def dumps_again(self, value: dict[Any, Any], before: bytes) -> bytes:
        known = self._decoded.get(before)
        # Without an extension before there is no value of a type that msgspec would write as another one.
        if not (may_extend(before) if known is None else known.extends):
            try:
                data = _encode(value)  # a subclass of dict is written by what it holds, whatever its methods say
            except (OverflowError, UnicodeEncodeError):
                data = b""
            if data and len(data) <= self._unchecked:
                return data
        return super().dumps_again(value, before)

    def loads(self, data: bytes) -> object:
        if len(data) <= self._unchecked and not nests(data):
            return self._reader.load(data)
        value = self._careful(data).load(data)
        check_shape(value, self._bound(data))
        return value

    def loads_again(self, data: bytes) -> object:
        known = self._decoded.get(data)
        if known is not None:
            return {**known.scalars, **self._reader.load(known.others)} if known.others else known.scalars.copy()  # type: ignore[dict-item]
        if len(data) > self._unchecked:
            return self.loads(data)
        value = self._reader.load(data)  # no limit but the depth, which was looked at
        self._decoded.meet(data, value, self)
        return value

    def split(self, data: bytes) -> dict[Any, bytes]:
        if len(data) <= self._unchecked and not nests(data):
            return self._reader.split(data)
        parts = self._careful(data).split(data)
        check_shape(parts, self._bound(data))
        return parts

    def _bound(self, data: bytes) -> int | None:
        return containers(data) if len(data) <= self._unchecked else None

    def _careful(self, data: bytes) -> Reader:
        refuse_large(data, self.max_bytes)
        return GuardedReader(self._names) if may_collide(data) else self._reader

    def join(self, parts: Mapping[Any, bytes]) -> bytes:
        data = self._join(parts)
        if len(data) > self.max_bytes:
            raise too_large(data, self.max_bytes)
        if len(data) > self._unchecked or nests(data):
            check_readable(self, data)
        return data

    def _join(self, parts: Mapping[Any, bytes]) -> bytes:
        if SCALARS.issuperset(map(type, parts)):
            with suppress(OverflowError, UnicodeEncodeError):
                return _encode({key: Raw(part) for key, part in parts.items()})
        return _join([(self.dumps(key), part) for key, part in parts.items()])

    def _encode(self, value: object) -> bytes:
        try:
            # msgspec alone would write tuples, sets, datetimes, dataclasses... and lose their types.
            if is_native(value, SCALARS, SCALARS, self.max_bytes):
                return _encode(value)
        except (OverflowError, UnicodeEncodeError):
            pass  # a large int, or a str that the walker will point at
        try:
            data = _encode(_PackWalker(self.max_bytes, self._kinds).write(value, 0))
        except RecursionError as exc:
            raise SerializationError("", "nested too deeply for what is left of Python's stack") from exc
        if len(data) <= self.max_bytes and nests(data):
            check_readable(self, data)
        return data
