"""JSON, for those who read the store with other tools."""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from ..exceptions import MalformedSession, SerializationError
from .base import (
    MAX_BYTES,
    MAX_DEPTH,
    MAY_HAVE_MANY_KEYS,
    Serializer,
    check_readable,
    check_shape,
    check_written,
    is_native,
    refuse_large,
    too_large,
)
from .walker import Walker, check_text

__all__ = ["JSONSerializer"]

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
    str: check_text,
    int: _write_json_int,
    float: _write_json_float,
    bool: bool,
    NoneType: lambda value: value,
}


class _JSONWalker(Walker):
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
        self.count(len(value))
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


def _needs_check(data: bytes) -> bool:
    return data.count(b"[") + data.count(b"{") > MAX_DEPTH or len(data) > MAY_HAVE_MANY_KEYS


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
        return check_written(value, self._encode(value), self.max_bytes)

    def loads(self, data: bytes) -> object:
        return self._read(_decode_json, data)

    def split(self, data: bytes) -> dict[Any, bytes]:
        return {key: bytes(part) for key, part in self._read(_split_json, data).items()}

    def join(self, parts: Mapping[Any, bytes]) -> bytes:
        walker = _JSONWalker(self.max_bytes)
        data = _encode_json({walker.key(key): Raw(part) for key, part in parts.items()})
        if len(data) > self.max_bytes:
            raise too_large(data, self.max_bytes)
        if _needs_check(data):
            check_readable(self, data)
        return data

    def _encode(self, value: object) -> bytes:
        if is_native(value, _JSON_SCALARS, _JSON_KEYS, self.max_bytes):
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
        refuse_large(data, self.max_bytes)
        try:
            value = decode(data)
        except Exception as exc:
            raise MalformedSession("the stored value is not readable JSON") from exc
        if _needs_check(data):
            check_shape(value)
        return value
