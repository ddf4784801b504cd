"""MessagePack, with every Python type kept."""

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from msgspec import Raw
from msgspec.msgpack import Ext

from .._engine.cache import Cache
from ..exceptions import MalformedSession
from .base import (
    MAX_BYTES,
    MAX_DEPTH,
    MAY_HAVE_MANY_KEYS,
    Attribute,
    LimitedSerializer,
    TooMuch,
    Walker,
    check_shape,
    is_native,
)
from .types import FROZENSET, LEAVES, PLAIN, READERS, REGISTERED, SCALARS, SET, TUPLE, Registered, describe, hint

T = TypeVar("T")

MAX_COLLISIONS = 100  # different values of one hash
MOST_KNOWN = 512  # dicts that one serializer remembers: 5 MB of the longest, a few hundred kB of those of a usual size
LONGEST_KNOWN = 2048  # bytes
PARTS = dict[Any, Raw]

# Bytes that cannot open an extension, and those that cannot open a container with something in it either. There are at
# most as many extensions, and as many levels, as other bytes.
_NOT_EXTENSION = bytes({*range(256)} - {*range(0xC7, 0xCA), *range(0xD4, 0xD9)})
_NOT_NESTING = bytes({*_NOT_EXTENSION} - {*range(0x81, 0x90), *range(0x91, 0xA0), *range(0xDC, 0xE0)})
_STR = frozenset({str})

_encode = msgspec.msgpack.Encoder().encode


class _PackWalker(Walker):
    __slots__ = ("kinds",)

    def __init__(self, limit: int, kinds: Mapping[type, Registered]) -> None:
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
        self.enter(len(value), depth, keys=len(value))
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
        return Ext(TUPLE, _encode(self.items(value, depth)))

    def set(self, value: Collection[object], depth: int) -> Ext:
        self.enter(len(value), depth, keys=len(value))
        elements = sorted(_encode(self.write(item, depth + 1)) for item in value)
        code = SET if type(value) is set else FROZENSET
        return Ext(code, _encode([Raw(element) for element in elements]))

    def registered(self, kind: Registered, value: object, depth: int) -> Ext:
        self.enter(1, depth)
        try:
            state = kind.encode(value)
        except Exception as exc:
            raise self.error(f"{type(value).__qualname__} objects: encoding failed") from exc
        if kind.fields and isinstance(state, dict):
            written = self.mapping(state, depth + 1, Attribute)
        else:
            written = self.write(state, depth + 1)
        return Ext(REGISTERED, _encode([kind.name, written]))


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
    return struct.pack(">BH", 0xDE, size) if size < 2**16 else struct.pack(">BI", 0xDF, size)


class Reader:
    """Decoder of what holds few extensions, with the registered types by name."""

    def __init__(self, names: Mapping[str, Registered]) -> None:
        self._names = names
        self._readers: dict[int, Callable[[memoryview], object]] = READERS | {
            TUPLE: lambda payload: tuple(self._array(payload)),
            SET: lambda payload: set(self._array(payload)),
            FROZENSET: lambda payload: frozenset(self._array(payload)),
            REGISTERED: self._registered,
        }
        self._decoders: dict[Any, Callable[[bytes | memoryview], Any]] = {
            form: msgspec.msgpack.Decoder(form, ext_hook=self.extension).decode for form in (Any, PARTS)
        }

    def load(self, data: bytes, form: Any = Any) -> Any:
        """Decode, or raise MalformedSession; the form ``PARTS`` leaves the values of a dict encoded."""
        try:
            return self._decoders[form](data)
        except MalformedSession:
            raise
        except Exception as exc:  # also what registered decode functions raise
            raise MalformedSession("the stored value is not readable MessagePack") from exc

    def extension(self, code: int, payload: memoryview) -> object:
        if reader := self._readers.get(code):
            return reader(payload)
        raise MalformedSession(f"extension code {code} is unknown")

    def _array(self, payload: memoryview) -> list[Any]:
        decoded = self._decoders[Any](payload)
        if type(decoded) is not list:
            raise MalformedSession("an extension does not hold an array")
        return decoded

    def _registered(self, payload: memoryview) -> object:
        name, state = self._array(payload)
        kind = self._names.get(name)
        if kind is None:
            raise MalformedSession(f"no type is registered as {name!r:.80}")
        check_shape(state)
        return kind.decode(state)


class GuardedReader(Reader):
    """Decoder of one value that may hold many extensions; refuses many of one hash."""

    # Among a dict's keys, values of one hash are compared with each other. Python keeps the hashes of str and bytes
    # from being guessed, but not those of large ints, UUIDs, tuples...: thousands of one hash would take minutes
    # (CWE-407, https://cwe.mitre.org/data/definitions/407.html).

    def __init__(self, names: Mapping[str, Registered]) -> None:
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


class DecodedDict(msgspec.Struct, frozen=True, gc=False):
    """A dict that was decoded more than once.

    Attributes:
        scalars: all keys, in order; None stands for a value that can be changed.
        others: the encoded dict of those values; empty if there are none.
        extends: whether it may hold an extension.
    """

    scalars: dict[Any, Any]
    others: bytes
    extends: bool


class MessagePackSerializer(LimitedSerializer):
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
        super().__init__(max_bytes=max_bytes)
        self._unchecked = min(max_bytes, MAY_HAVE_MANY_KEYS)  # bytes up to which no limit can be exceeded but the depth
        self._kinds: dict[type, Registered] = {}
        self._names: dict[str, Registered] = {}
        self._reader = Reader(self._names)
        self._decoded: Cache[bytes, DecodedDict | None] = Cache(MOST_KNOWN)  # None: it was met once
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
            name: written into every record: keep it when the class is renamed or moved, or older records cannot be
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
        kind = Registered(name, encode, decode) if encode and decode else describe(type, name)
        self._kinds[type] = self._names[name] = kind

    def dumps(self, value: object) -> bytes:
        try:
            # msgspec alone would write tuples, sets, datetimes, dataclasses... and lose their types.
            data = _encode(value) if is_native(value, SCALARS, SCALARS, self.max_bytes) else None
        except (OverflowError, UnicodeEncodeError):
            data = None  # a large int, or a str that the walker will point at
        if data is None:
            data = _PackWalker(self.max_bytes, self._kinds).dumps(value, _encode)
        elif len(data) <= self._unchecked:
            return data
        return self._check_written(data, self._may_exceed(data))

    def dumps_again(self, value: dict[Any, Any], before: bytes) -> bytes:
        known = self._decoded.get(before)
        if known is None:
            # Each of these looks at sixteen bytes at once; together they take half the time of one translate().
            extends = (
                0xC7 in before or 0xC8 in before or 0xC9 in before or 0xD4 in before
                or 0xD5 in before or 0xD6 in before or 0xD7 in before or 0xD8 in before
            )  # fmt: skip
        else:
            extends = known.extends
        # Without an extension before there is no value of a type that msgspec would write as another one.
        if not extends:
            try:
                data = _encode(value)  # a subclass of dict is written by what it holds, whatever its methods say
                if len(data) <= self._unchecked:
                    return data
            except (OverflowError, UnicodeEncodeError):
                pass  # a large int, or a str that the walker will point at
        return super().dumps_again(value, before)

    def loads(self, data: bytes) -> object:
        return self._read(data)

    def loads_again(self, data: bytes) -> object:
        known = self._decoded.get(data)
        if known is not None:
            return known.scalars | self._reader.load(known.others) if known.others else known.scalars.copy()
        if len(data) > self._unchecked:
            return self.loads(data)
        value = self._reader.load(data)  # no limit but the depth, which was looked at
        if len(data) <= LONGEST_KNOWN and type(value) is dict and _STR.issuperset(map(type, value)):
            if data not in self._decoded:
                self._decoded.put(data, None)
            else:  # only what comes again is worth taking apart
                self._decoded[data] = self._take_apart(data, value)
        return value

    def _take_apart(self, data: bytes, values: dict[str, Any]) -> DecodedDict:
        others, scalars = b"", values.copy()
        if not SCALARS.issuperset(map(type, values.values())):
            mutable = {key: None for key, value in values.items() if type(value) not in SCALARS}
            parts = self._reader.load(data, PARTS)
            others, scalars = self._join({key: bytes(parts[key]) for key in mutable}), values | mutable
        return DecodedDict(scalars, others, bool(data.translate(None, _NOT_EXTENSION)))

    def split(self, data: bytes) -> dict[Any, bytes]:
        return {key: bytes(part) for key, part in self._read(data, PARTS).items()}

    def join(self, parts: Mapping[Any, bytes]) -> bytes:
        data = self._join(parts)
        return self._check_written(data, self._may_exceed(data))

    def _read(self, data: bytes, form: Any = Any) -> Any:
        """Decode, and check only those limits that so many bytes, containers and extensions can exceed."""
        containers = None
        if len(data) > self._unchecked:
            self._check_read(data)
        else:
            containers = len(data.translate(None, _NOT_NESTING))
            if containers <= MAX_DEPTH:
                return self._reader.load(data, form)
        collide = len(data.translate(None, _NOT_EXTENSION)) > MAX_COLLISIONS
        value = (GuardedReader(self._names) if collide else self._reader).load(data, form)
        check_shape(value, containers)
        return value

    def _join(self, parts: Mapping[Any, bytes]) -> bytes:
        if SCALARS.issuperset(map(type, parts)):
            with suppress(OverflowError, UnicodeEncodeError):
                return _encode({key: Raw(part) for key, part in parts.items()})
        return _join([(self.dumps(key), part) for key, part in parts.items()])

    def _may_exceed(self, data: bytes) -> bool:
        return len(data) > self._unchecked or len(data.translate(None, _NOT_NESTING)) > MAX_DEPTH
