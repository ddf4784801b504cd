"""Authentic cookies and stored records with hostile content: what only a stolen key or a written store can make.

They are tried on every kind of session: a cookie session carries the record, the others have it in their store.
"""

import json
import marshal
import pickle
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import msgspec

from asgi_sessions import MalformedSession
from asgi_sessions._engine.record import Flash, digest

from .case import Case
from .target import KINDS, SECRET, SERVER_KINDS, Headers, Target, cookies

pack = msgspec.msgpack.encode
KEY_A = b"\x81\xa1a"  # a map of one key, "a"; its value follows


def extension(code: int, payload: bytes) -> bytes:
    return b"\xc9" + struct.pack(">Ib", len(payload), code) + payload


def of_one_hash(number: int) -> list[bytes]:
    """Different ints with the same hash, which is an int's remainder by 2**61 - 1."""
    return [extension(4, (n * (2**61 - 1)).to_bytes(12)) for n in range(1, number + 1)]


def nested(code: int, depth: int) -> bytes:
    """Tuples in tuples, sets in sets..."""
    data = b"\x90"
    for _ in range(depth):
        data = extension(code, b"\x91" + data)
    return data


class Exploit:
    """Unpickling it would fail the test in its own way."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('unpickled')",)


VALUES: dict[str, bytes] = {
    "nothing at all": b"",
    "a list where the dict should be": b"\x91\x01",
    "a number where the dict should be": b"\x01",
    "nil where the dict should be": b"\xc0",
    "text where the dict should be": b"\xa3ann",
    "an extension where the dict should be": extension(1, b"\x91\x01"),
    "a byte that MessagePack never uses": b"\xc1",
    "a dict and something behind it": b"\x80\x00",
    "half a dict": b"\x82\xa1a\x01",
    "a map of four billion keys": b"\xdf\xff\xff\xff\xff",
    "an array of four billion elements": KEY_A + b"\xdd\xff\xff\xff\xff",
    "a text of four billion bytes": KEY_A + b"\xdb\xff\xff\xff\xff",
    "four billion bytes": KEY_A + b"\xc6\xff\xff\xff\xff",
    "an extension of four billion bytes": KEY_A + b"\xc9\xff\xff\xff\xff\x01",
    "arrays of 65535, nested": KEY_A + b"\xdc\xff\xff" * 400,
    "65 lists inside each other": KEY_A + b"\x91" * 65 + b"\xc0",
    "500 lists inside each other": KEY_A + b"\x91" * 500 + b"\xc0",
    "2500 lists inside each other": KEY_A + b"\x91" * 2500 + b"\xc0",
    "1200 dicts inside each other": b"\x81\x01" * 1200 + b"\xc0",
    "300 tuples inside each other": KEY_A + nested(1, 300),
    "300 frozensets inside each other": KEY_A + nested(3, 300),
    "65 tuples inside each other": KEY_A + nested(1, 65),
    "a list of a dict as a key": b"\x81\x91\x80\x01",
    "a dict as a key": b"\x81\x80\x01",
    "a set as a key": b"\x81" + extension(2, b"\x90") + b"\x01",
    "a bytearray as a key": b"\x81" + extension(11, b"x") + b"\x01",
    "a list in a set": KEY_A + extension(2, b"\x91\x90"),
    "a signalling NaN in a set": KEY_A + extension(2, b"\x91" + extension(9, b"sNaN")),
    "a lone surrogate": KEY_A + b"\xa3\xed\xa0\x80",
    "a lone surrogate in a key": b"\x81\xa3\xed\xb0\x80\x01",
    "an overlong NUL": KEY_A + b"\xa2\xc0\x80",
    "text beyond Unicode": KEY_A + b"\xa4\xf4\x90\x80\x80",
    "Latin-1 as text": KEY_A + b"\xa1\xe9",
    "an int of two thousand bytes": KEY_A + extension(4, b"\x7f" * 2000),
    "a Decimal of words": KEY_A + extension(9, b"one hundred"),
    "a Decimal of Arabic digits": KEY_A + extension(9, "١٢".encode()),
    "a Decimal of nothing": KEY_A + extension(9, b""),
    "a UUID of 15 bytes": KEY_A + extension(10, bytes(15)),
    "a datetime beyond the year 9999": KEY_A + extension(5, struct.pack(">q", 2**62)),
    "a datetime before the year 1": KEY_A + extension(5, struct.pack(">q", -(2**63))),
    "a datetime of 9 bytes": KEY_A + extension(5, bytes(9)),
    "a datetime with an offset of years": KEY_A + extension(5, struct.pack(">qq", 0, 2**62)),
    "a date of day zero": KEY_A + extension(6, bytes(4)),
    "a date of four billion": KEY_A + extension(6, b"\xff" * 4),
    "a time of thirty hours": KEY_A + extension(7, struct.pack(">q", 30 * 3600 * 10**6)),
    "a negative time": KEY_A + extension(7, struct.pack(">q", -1)),
    "a timedelta of two billion days": KEY_A + extension(8, struct.pack(">iII", 2**31 - 1, 0, 0)),
    "a tuple of a number": KEY_A + extension(1, b"\x01"),
    "a tuple of nothing": KEY_A + extension(1, b""),
    "a tuple and something behind it": KEY_A + extension(1, b"\x90\x00"),
    "an extension that nobody knows": KEY_A + extension(99, b"x"),
    "an extension of a negative code": KEY_A + extension(-100, b"x"),
    "an object of no registered type": KEY_A + extension(12, pack(["os.system", "true"])),
    "an object with a list as its type": KEY_A + extension(12, pack([[], {}])),
    "an object without a state": KEY_A + extension(12, pack(["User"])),
    "an object that is no array": KEY_A + extension(12, b"\x01"),
    "a pickle of protocol 0": pickle.dumps(Exploit(), 0),
    "a pickle of protocol 2": pickle.dumps(Exploit(), 2),
    "a pickle of protocol 5": pickle.dumps(Exploit(), 5),
    "a pickle of a dict": pickle.dumps({"user": "ann"}),
    "marshalled code": marshal.dumps({"user": compile("1", "x", "eval")}),
    "JSON": b'{"user":"ann"}',
    "YAML that makes an object": b"!!python/object/apply:os.system ['true']",
}

LARGE_VALUES: dict[str, bytes] = {  # no cookie has room for them
    "10,000 keys of one hash": b"\xdf"
    + struct.pack(">I", 10_000)
    + b"".join(key + b"\xc0" for key in of_one_hash(10_000)),
    "a set of 10,000 ints of one hash": KEY_A
    + extension(2, b"\xdd" + struct.pack(">I", 10_000) + b"".join(of_one_hash(10_000))),
    "101 tuples of one hash in one key": b"\x81"
    + extension(1, b"\xdc" + struct.pack(">H", 101) + b"".join(extension(1, b"\x91" + key) for key in of_one_hash(101)))
    + b"\xc0",
}

JSON_VALUES: dict[str, bytes] = {
    "JSON of 100,000 brackets": b'{"a":' + b"[" * 100_000,
    "JSON of 2,000 brackets": b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}",
    "JSON of 65 lists inside each other": b'{"a":' + b"[" * 65 + b"]" * 65 + b"}",
    "JSON of a thousand dicts inside each other": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "JSON with an int of 3,000 digits too many": b'{"a":' + b"1" * 7300 + b"}",
    "JSON with a float beyond measure": b'{"a":1e999}',
    "JSON with NaN": b'{"a":NaN}',
    "JSON with Infinity": b'{"a":-Infinity}',
    "JSON with a lone surrogate": b'{"a":"\\ud800"}',
    "JSON with a lone surrogate in a key": b'{"\\udc00":1}',
    "JSON with a surrogate of UTF-8": b'{"a":"\xed\xa0\x80"}',
    "JSON with a control character": b'{"a":"\x00"}',
    "JSON with an unknown escape": b'{"a":"\\x41"}',
    "JSON with a comment": b'{"a":1}//',
    "JSON with a comma too many": b'{"a":1,}',
    "JSON in single quotes": b"{'a':1}",
    "JSON with a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "JSON in UTF-16": '{"a":1}'.encode("utf-16"),
    "JSON that is a list": b"[1]",
    "JSON that is null": b"null",
    "JSON that is text": b'"ann"',
    "JSON with a key that is a number": b"{1:1}",
    "JSON that goes on": b'{"a":1}{"b":2}',
    "JSON that ends early": b'{"a":',
    "MessagePack where JSON should be": b"\x81\xa4user\xa3ann",
}


def fields(target: Target, **changed: Any) -> bytes:
    """A record with some fields of our choice, by their names in the store."""
    now = int(target.clock.now)
    own = {"h": digest(SECRET)} if target.server_side else {"i": b"identity"}
    return pack({"v": b"\x81\xa4user\xa3ann", "t": now, "s": now, **own, **changed})


FIELDS: dict[str, dict[str, Any]] = {
    "values as text": {"v": "{}"},
    "values as a dict": {"v": {"user": "ann"}},
    "values of nil": {"v": None},
    "a start of text": {"s": "now"},
    "a start of half a second": {"s": 0.5},
    "a start of true": {"s": True},
    "a start of not a number": {"s": float("nan")},
    "a start of infinity": {"s": float("inf")},
    "a start before 1970": {"s": -1},
    "a start at the end of time": {"s": 2**64 - 1},
    "a creation before 1970": {"t": -(2**63)},
    "a creation at the end of time": {"t": 2**64 - 1},
    "an epoch that cannot be raised": {"e": 2**64 - 1},
    "a negative epoch": {"e": -1},
    "an epoch of text": {"e": "1"},
    "an identity of text": {"i": "identity"},
    "an identity of a list": {"i": [1]},
    "a hash of text": {"h": "00" * 32},
    "a hash of nil": {"h": None},
    "a previous hash of a number": {"p": 1},
    "a grace that never ends": {"u": 2**64 - 1},
    "flashes that are a dict": {"f": {}},
    "a flash that is too short": {"f": [[b"12345678", "info"]]},
    "a flash whose category is a number": {"f": [[b"12345678", 1, b"\xc0"]]},
    "a flash that is no MessagePack": {"f": [[b"12345678", "info", b"\xc1"]]},
    "a flash of four billion bytes": {"f": [[b"12345678", "info", b"\xc6\xff\xff\xff\xff"]]},
    "a flash that is a pickle": {"f": [[b"12345678", "info", pickle.dumps(Exploit())]]},
    "an owner that is a list": {"o": ["ann"]},
    "an owner that is a float": {"o": 1.5},
    "an owner that is bytes": {"o": b"ann"},
    "an owner that is true": {"o": True},
    "a lifetime of text": {"r": "forever"},
    "a lifetime beyond measure": {"r": 2**63},
    "a negative lifetime": {"r": -1},
    "attributes that are a list": {"c": ["path"]},
    "an attribute that is a list": {"c": {"path": ["/"]}},
    "an attribute that is a number": {"c": {"path": 1}},
    "attributes with a number as the name": {"c": {1: "x"}},
    "a lease of text": {"l": "mine"},
    "a lease without an end": {"l": [b"holder"]},
    "a lease of true": {"l": True},
    "commits of numbers": {"m": [1, 2, 3]},
    "commits that are a list": {"m": [b"version!"]},
    "an owner's epoch of text": {"g": "1"},
    "a negative owner's epoch": {"g": -1},
    "a label that is a list": {"n": ["phone"]},
    "a label of numbers": {"n": {"device": 1}},
    "a format of text": {"z": "1"},
    "a format of true": {"z": True},
    "a format of half a number": {"z": 1.5},
    "a negative format": {"z": -1},
}

RECORDS: dict[str, bytes] = {
    "a record of nothing": b"",
    "a record of nil": b"\xc0",
    "a record of true": b"\xc3",
    "a record without fields": b"\x80",
    "a record that is an array": pack([b"\x80", 1, 1]),
    "a record that is a Raw map of four billion": b"\xdf\xff\xff\xff\xff",
    "a record with a field of 2500 lists": b"\x84\xa1v\xc4\x01\x80\xa1t\x01\xa1s\x01\xa1x" + b"\x91" * 2500 + b"\xc0",
    "a record with a field of a billion elements": b"\x84\xa1v\xc4\x01\x80\xa1t\x01\xa1s\x01\xa1x\xdd\x3f\xff\xff\xff",
    "a record that is a pickle": pickle.dumps(Exploit()),
    "a record that is JSON": b'{"values":{"user":"ann"},"created_at":1,"started_at":1}',
    "a record of spaces": b" " * 2000,
    "a record of zeros": bytes(2000),
    "a record of ones": b"\xff" * 2000,
}


def _planted(
    name: str,
    make: Callable[[Target], bytes],
    *,
    as_json: bool = False,
    put_aside: bool = True,
    kinds: tuple[str, ...] = KINDS,
) -> Case:
    async def send(target: Target) -> Headers:
        return cookies(await target.planted(make(target)))

    return Case(name=name, send=send, error=MalformedSession, put_aside=put_aside, json=as_json, kinds=kinds)


def _of_values(values: bytes) -> Callable[[Target], bytes]:
    return lambda target: target.codec().encode(target.record(values=values))


def _of_fields(changed: dict[str, Any]) -> Callable[[Target], bytes]:
    return lambda target: fields(target, **changed)


def _of_json(values: bytes) -> Callable[[Target], bytes]:
    """A store has the values as they are, in a JSON document; a cookie has them as bytes."""

    def make(target: Target) -> bytes:
        if not target.server_side:
            return fields(target, v=values[:2000])
        rest = {"created_at": 1, "started_at": int(target.clock.now), "secret_hash": b64encode(digest(SECRET)).decode()}
        return b'{"values":' + values + b"," + json.dumps(rest).encode()[1:]

    return make


def _truncated(target: Target) -> bytes:
    return fields(target)[:-3]


def _with_more(target: Target) -> bytes:
    return fields(target) + b"\x00"


def _flash_bomb(target: Target) -> bytes:
    flash = Flash(b"12345678", "info", b"\x91" * 2000 + b"\xc0")
    return target.codec().encode(target.record(flashes=(flash,)))


PAYLOADS: list[Case] = [
    *[_planted(f"values: {name}", _of_values(values)) for name, values in VALUES.items()],
    *[_planted(f"values: {n}", _of_values(values), kinds=SERVER_KINDS) for n, values in LARGE_VALUES.items()],
    *[_planted(f"values: {name}", _of_json(values), as_json=True) for name, values in JSON_VALUES.items()],
    *[_planted(f"a record with {name}", _of_fields(changed)) for name, changed in FIELDS.items()],
    *[_planted(name, lambda target, data=data: data) for name, data in RECORDS.items()],  # type: ignore[misc]  # bound now
    _planted("a record with a lifetime that no configuration allows", _of_fields({"r": 10**12}), put_aside=False),
    _planted("a record cut short", _truncated),
    _planted("a record and something behind it", _with_more),
    _planted("a record with a flash of 2000 lists", _flash_bomb),
]
