"""Make the vectors: ``python -m tests.vectors.make``.

A change that makes the committed ones fail loses the sessions of everybody who updates. Make them anew only for a
format that was never released; beside those of a new format keep the old ones for as long as they are to be read.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from asgi_sessions import JSONSerializer, MessagePackSerializer, Serializer
from asgi_sessions._engine.codec import FORMAT, RecordCodec
from asgi_sessions._engine.record import Flash, Lease, Record, digest
from asgi_sessions.crypto.keys import Keyring
from asgi_sessions.crypto.seal import Sealer

from ..browser import KEY

HERE = Path(__file__).parent
NOW = 1_800_000_000
HANDLE, SECRET, PREVIOUS = bytes(range(16)), bytes(range(0x40, 0x60)), bytes(range(0x60, 0x80))


@dataclasses.dataclass
class Point:
    """A type that the application has registered."""

    x: int
    y: int


PACK, TEXT = MessagePackSerializer(), JSONSerializer()
PACK.register(Point, "Point")
KEYRING = Keyring(KEY)

SERIALIZERS: dict[str, Serializer] = {"msgpack": PACK, "json": TEXT}
SEALERS: dict[str, Sealer] = {"signed": KEYRING.signer("session"), "encrypted": KEYRING.encrypter("session")}
CODECS = {
    **{f"cookie, {name}": RecordCodec(serializer, readable=False) for name, serializer in SERIALIZERS.items()},
    **{f"store, {name}": RecordCodec(serializer) for name, serializer in SERIALIZERS.items()},
    **{
        f"store, {name}, encrypted": RecordCodec(serializer, KEYRING.record_encrypter("session"))
        for name, serializer in SERIALIZERS.items()
    },
}

PLAIN_VALUES: dict[Any, Any] = {
    "user": "ann",
    "名": "é",
    "cart": [1, -2, {"sku": "A-7", "tags": ["new", None]}],
    "price": 3.5,
    "member": True,
    "large": 2**63 - 1,
}
VALUES: dict[str, dict[Any, Any]] = {
    "json": PLAIN_VALUES,
    "msgpack": {
        **PLAIN_VALUES,
        7: "a key that is a number",
        (1, "b"): "a key that is a tuple",
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"\x00\xff"),
        "tuple": (1, (2, [])),
        "set": {"x"},
        "frozenset": frozenset({1}),
        "larger": -(2**100),
        "datetime": datetime(2026, 12, 31, 23, 59, 58, 123456),
        "datetime of a zone": datetime(2026, 12, 31, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        "date": date(2026, 12, 31),
        "time": time(23, 59, 58, 123456, UTC),
        "timedelta": timedelta(days=-1, seconds=2, microseconds=3),
        "decimal": Decimal("1.50"),
        "uuid": UUID(int=2**127 + 1),
        "registered": Point(1, 2),
    },
}


def full(serializer: Serializer) -> Record:
    """Every field set to something else than its default."""
    return Record(
        values=serializer.dumps(VALUES["json" if serializer.text else "msgpack"]),
        created_at=NOW - 5000,
        started_at=NOW - 4000,
        id=b"identity",
        secret_hash=digest(SECRET),
        previous_hash=digest(PREVIOUS),
        previous_until=NOW + 50,
        epoch=3,
        flashes=(
            Flash(b"flash--1", "info", serializer.dumps("saved")),
            Flash(b"flash--2", "wärning", serializer.dumps(["a", 1])),
        ),
        owner="ann@example.com",
        remember=2_592_000,
        cookie={"path": "/shop", "domain": "example.com", "https_only": None, "http_only": False},
        owner_epoch=5,
        label={"device": "phone", "city": "Zürich"},
        lease=Lease(b"holder--", NOW + 5.5),
        commits=b"commit-1commit-2commit-3commit-4",
        format=FORMAT,
    )


def minimal(serializer: Serializer) -> Record:
    return Record(values=serializer.dumps({"n": 1}), created_at=NOW - 20, started_at=NOW - 10)


def stored(serializer: Serializer) -> Record:
    """A record on the server with nothing beside what it needs; its owner is a number."""
    return Record(
        values=serializer.dumps({"n": 1}), created_at=NOW - 20, started_at=NOW - 10, secret_hash=digest(SECRET), owner=7
    )


def described(record: Record) -> dict[str, Any]:
    """Its fields that are not their defaults, by their long names; bytes in base64."""
    fields = {field.name: field for field in msgspec.structs.fields(Record)}
    values = msgspec.structs.asdict(record)
    return {
        name: json.loads(msgspec.json.encode(value))
        for name, value in values.items()
        if value != default_of(fields[name])
    }


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def records() -> list[dict[str, Any]]:
    """What a store keeps under ``HANDLE``."""
    return [
        {"name": f"{kind}, {make.__name__}", "codec": kind, "data": codec.encode(record, HANDLE).hex()}
        | _content(codec, record)
        for kind, codec in CODECS.items()
        if kind.startswith("store")
        for make in (full, stored)
        for record in [make(codec.serializer)]
    ]


def cookies() -> list[dict[str, Any]]:
    """Values of cookies named "session", sealed at ``NOW``: of cookie sessions, and of the one under ``HANDLE``."""
    of_sessions = [
        {"name": f"{kind}, {make.__name__}, {mode}", "codec": kind, **_sealed(mode, codec.encode(record))}
        | _content(codec, record)
        for kind, codec in CODECS.items()
        if kind.startswith("cookie")
        for make in (full, minimal)
        for record in [make(codec.serializer)]
        for mode in SEALERS
    ]
    return [*of_sessions, {"name": "handle and secret, signed", "codec": None, **_sealed("signed", HANDLE + SECRET)}]


def _sealed(mode: str, token: bytes) -> dict[str, Any]:
    return {"mode": mode, "cookie": SEALERS[mode].seal(token, NOW).decode(), "token": token.hex()}


def _content(codec: RecordCodec, record: Record) -> dict[str, Any]:
    return {"record": described(record), "values": repr(codec.values(record))}


if __name__ == "__main__":
    for name, vectors in {"records": records(), "cookies": cookies()}.items():
        text = json.dumps(vectors, indent=1, ensure_ascii=False)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")
