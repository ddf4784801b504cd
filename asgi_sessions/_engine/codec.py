"""Records <-> the bytes that a store keeps."""

from collections.abc import Callable
from typing import Any

import msgspec

from ..crypto.seal import RecordSealer
from ..exceptions import MalformedSession, NewerFormat
from ..serializers import Serializer
from .record import Flash, Record

FORMAT = 1  # of records in a store; raised when an older version of this package could not read, or would lose, a field


class _Numbered(msgspec.Struct):
    """A record of any format, as far as its number."""

    format: int = msgspec.field(name="z", default=0)


class RecordCodec:
    """Records <-> the bytes that a store keeps, for one configured session.

    MessagePack; a JSON object where the serializer writes text, for those who read the store with other tools;
    encrypted where the configuration says so, bound to the record's handle.

    Attributes:
        pack: Record -> bytes, neither numbered nor encrypted: the token of a cookie session.
    """

    __slots__ = ("_decoders", "pack", "readable", "sealer", "serializer")

    def __init__(self, serializer: Serializer, sealer: RecordSealer | None = None, *, readable: bool = True) -> None:
        self.serializer = serializer
        self.sealer = sealer
        self.readable = readable and serializer.text
        self.pack: Callable[[Record], bytes] = _encode_json if self.readable else _encode
        self._decoders = (_decode_json, _number_in_json) if self.readable else (_decode, _number)

    def encode(self, record: Record, handle: bytes = b"") -> bytes:
        data = self.pack(record)
        return data if self.sealer is None else self.sealer.seal(data, handle)

    def decode(self, data: bytes, handle: bytes = b"") -> Record:
        """
        Raises:
            NewerFormat: a later version of this package wrote the record.
            CookieRefused: the bytes are not a record of this configuration.
        """
        if self.sealer is not None:
            data = self.sealer.unseal(data, handle)
        decode, number = self._decoders
        try:
            record = decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            if _is_newer(data, number):
                raise NewerFormat(NEWER) from exc
            raise MalformedSession(f"not a session record ({type(exc).__name__})") from exc
        if record.format > FORMAT:
            raise NewerFormat(NEWER)
        return record

    def values(self, record: Record) -> dict[Any, Any]:
        """
        Raises:
            MalformedSession: the record's values cannot be decoded, or are no dict; or a flash cannot be decoded.
        """
        values = self.serializer.loads(record.values)
        if not isinstance(values, dict):
            raise MalformedSession("the record's values are no dict")
        for flash in record.flashes:
            self.serializer.loads(flash.message)  # now, while a refusal is still possible
        return values


NEWER = "the record was written by a newer version of this package, which it is left to"


def _is_newer(data: bytes, number: Callable[[bytes], Any]) -> bool:
    try:
        return bool(number(data).format > FORMAT)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode
_number = msgspec.msgpack.Decoder(_Numbered).decode


class _JSONFlash(msgspec.Struct, frozen=True):
    id: bytes
    category: str
    message: msgspec.Raw


def _json_field(field: msgspec.structs.FieldInfo) -> Any:
    """A record's field for human eyes: its long name, and values and flashes as they are."""
    types = {"values": msgspec.Raw, "flashes": tuple[_JSONFlash, ...]}
    kind = types.get(field.name, field.type)
    if field.required:
        return field.name, kind
    factory = field.default_factory
    default = field.default if factory is msgspec.NODEFAULT else msgspec.field(default_factory=factory)
    return field.name, kind, default


_JSONRecord = msgspec.defstruct(
    "_JSONRecord", [_json_field(field) for field in msgspec.structs.fields(Record)], frozen=True, omit_defaults=True
)
_number_in_json = msgspec.json.Decoder(msgspec.defstruct("_NumberedJSON", [("format", int, 0)])).decode


def _encode_json(record: Record) -> bytes:
    fields = msgspec.structs.asdict(record)
    fields["values"] = msgspec.Raw(record.values)
    fields["flashes"] = tuple(_JSONFlash(f.id, f.category, msgspec.Raw(f.message)) for f in record.flashes)
    return msgspec.json.encode(_JSONRecord(**fields))


def _decode_json(data: bytes) -> Record:
    fields = msgspec.structs.asdict(msgspec.json.decode(data, type=_JSONRecord))
    fields["values"] = bytes(fields["values"])
    fields["flashes"] = tuple(Flash(f.id, f.category, bytes(f.message)) for f in fields["flashes"])
    return Record(**fields)
