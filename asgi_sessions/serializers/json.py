"""JSON, for those who read the store with other tools."""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from ..exceptions import MalformedSession
from .base import MAX_DEPTH, MAY_HAVE_MANY_KEYS, LimitedSerializer, Walker, check_shape, check_text, is_native

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
        raise ValueError("an int of more than 4300 digits cannot be stored as JSON") from exc
    return value


def _write_json_float(value: float) -> float:
    if value - value != 0:
        raise ValueError(f"{value!r} cannot be stored; {_JSON_HINT}")
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
            raise self.error(f"{cls.__qualname__} objects cannot be stored; {_JSON_HINT}")
        return self.as_base(value, depth, _JSON_HINT)

    def mapping(self, value: dict[Any, object], depth: int) -> object:
        self.enter(len(value), depth, keys=len(value))
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
            raise self.error(f"{type(key).__qualname__} objects cannot be stored as keys; {_JSON_HINT}")
        written = self.write(key, 0)
        return written if isinstance(written, str) else _encode_json(written).decode()


def _may_exceed(data: bytes) -> bool:
    return data.count(b"[") + data.count(b"{") > MAX_DEPTH or len(data) > MAY_HAVE_MANY_KEYS


class JSONSerializer(LimitedSerializer):
    """JSON, for those who read the store with other tools; types are lost as with ``json.dumps``.

    Stored are ``str``, ``int`` (up to 4300 digits), finite ``float``, ``bool``, ``None``, ``list``, ``dict``, and their
    subclasses; a ``tuple`` comes back as a list, a key that is a number, a bool or None comes back as a str.

    Args:
        max_bytes: the largest encoding that is written and read, in bytes.
    """

    text: ClassVar[bool] = True

    def dumps(self, value: object) -> bytes:
        data = self._encode(value)
        return self._check_written(data, len(data) > MAY_HAVE_MANY_KEYS)

    def loads(self, data: bytes) -> object:
        return self._read(data)

    def split(self, data: bytes) -> dict[Any, bytes]:
        return {key: bytes(part) for key, part in self._read(data, _split_json).items()}

    def join(self, parts: Mapping[Any, bytes]) -> bytes:
        walker = _JSONWalker(self.max_bytes)
        data = _encode_json({walker.key(key): Raw(part) for key, part in parts.items()})
        return self._check_written(data, _may_exceed(data))

    def _encode(self, value: object) -> bytes:
        if is_native(value, _JSON_SCALARS, _JSON_KEYS, self.max_bytes):
            try:
                data = _encode_json(value)
            except ValueError:
                pass  # a large int, or a str that the walker will point at
            else:
                if b"null" not in data or _decode_json(data) == value:  # msgspec writes null for NaN and infinity, too
                    return data
        return _JSONWalker(self.max_bytes).dumps(value, _encode_json)

    def _read(self, data: bytes, decode: Callable[[bytes], Any] = _decode_json) -> Any:
        self._check_read(data)
        try:
            value = decode(data)
        except Exception as exc:
            raise MalformedSession("the stored value is not readable JSON") from exc
        if _may_exceed(data):
            check_shape(value)
        return value
