"""Values <-> bytes: every value comes back with its type, or is refused by name; no bytes do harm."""

import dataclasses
import enum
import inspect
import math
import os
import pickle
import socket
import subprocess
import sys
import time as clock
from collections import OrderedDict, defaultdict, namedtuple
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_sessions.exceptions import MalformedSession, SerializationError
from asgi_sessions.serializers import JSONSerializer, MessagePackSerializer, Serializer
from asgi_sessions.serializers.msgpack import LONGEST_KNOWN, MOST_KNOWN


@dataclasses.dataclass
class Address:
    street: str
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Cart:
    owner: str
    prices: dict[str, Decimal]
    address: Address | None = None
    total: Decimal = dataclasses.field(init=False, default=Decimal(0))


class Point(msgspec.Struct, frozen=True, rename="camel", tag="p"):
    x_axis: int
    y_axis: float = 0.0


class Profile(pydantic.BaseModel):
    name: str = pydantic.Field(validation_alias="readAs", serialization_alias="writtenAs")
    born: date
    tags: set[str] = set()


class Color(enum.Enum):
    RED = object()
    BLUE = "blue"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    A = "a"


class Markup(str):
    def __str__(self) -> str:
        return "not the value"


Pair = namedtuple("Pair", "left right")

TYPES = [Address, Cart, Point, Profile, Color, Right]


@pytest.fixture
def packer() -> MessagePackSerializer:
    return MessagePackSerializer(TYPES)


plain = MessagePackSerializer()
text = JSONSerializer()
both = pytest.mark.parametrize("serializer", [plain, text], ids=["msgpack", "json"])


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type, all the way down; insertion order, signs of zero and NaN count."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, Decimal):
        return left.as_tuple() == right.as_tuple()
    if isinstance(left, datetime | time):
        return left.replace(tzinfo=None) == right.replace(tzinfo=None) and left.utcoffset() == right.utcoffset()
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, set | frozenset):
        rest = list(right)
        for item in left:
            match = next((i for i, other in enumerate(rest) if same(item, other)), None)
            if match is None:
                return False
            rest.pop(match)
        return not rest
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    return bool(left == right)


# -- strategies ---------------------------------------------------------------------------------------------

offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone)
zones = st.none() | st.just(UTC) | offsets
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**200), 2**200), st.floats(), words, st.binary(max_size=20)
)
hashable_leaves = scalars | st.one_of(
    st.datetimes(timezones=zones, allow_imaginary=True).map(lambda value: value.replace(fold=0)),
    st.dates(),
    st.times(timezones=zones).map(lambda value: value.replace(fold=0)),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
hashables = st.recursive(
    hashable_leaves,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
leaves = hashable_leaves | st.decimals() | st.binary(max_size=9).map(bytearray)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
    ),
    max_leaves=12,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
bounded = settings(max_examples=200, deadline=None, derandomize=True)


# -- round trips ----------------------------------------------------------------------------------------------


@bounded
@given(values)
def test_every_value_comes_back_with_its_type(value: object) -> None:
    assert same(plain.loads(plain.dumps(value)), value)


@bounded
@given(values)
def test_what_was_loaded_encodes_to_the_same_bytes(value: object) -> None:
    data = plain.dumps(value)
    assert plain.dumps(plain.loads(data)) == data


@bounded
@given(json_values)
def test_json_brings_its_values_back_with_their_types(value: object) -> None:
    data = text.dumps(value)
    assert same(text.loads(data), value)
    data.decode("utf-8")


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, 1, -1, 2**63, 2**64 - 1, 2**64,
        -(2**63), -(2**63) - 1, 2**8191, -(2**8191), 1.0, 0.0, -0.0,
        math.nan, math.inf, -math.inf, 5e-324, "", "é", "😀", "\x00", b"", b"\xff", bytearray(b"x"), [], {}, (), set(),
        frozenset(), [()], ((),), {(): set()}, {1: {2: {3}}}, {True: 1}, {None: 1}, {1.5: 1}, {b"k": 1}, {(1, "a"): 1},
        {frozenset({1}): 1}, {date.min: 1}, {2**70: 1}, {("a", (2**70,)): [1]}, [1, 1.0, True], {"z": 1, "a": 2},
        datetime.min, datetime.max, datetime(1, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(1900, 1, 1, tzinfo=timezone(timedelta(seconds=1172, microseconds=5))),
        date.min, date.max, time.min, time.max, time(1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-3))),
        timedelta.min, timedelta.max, timedelta(microseconds=-1), Decimal("1.10"), Decimal("-0"), Decimal("sNaN12"),
        Decimal("-Infinity"), Decimal("1E+999999"), UUID(int=0), UUID(int=2**128 - 1),
        [list(range(20)), {i: i for i in range(20)}, tuple(range(20)), {(i,): i for i in range(20)}],
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_edges_come_back_exactly(value: object) -> None:
    assert same(plain.loads(plain.dumps(value)), value)


@pytest.mark.parametrize("size", [15, 16, 2**16 - 1, 2**16])
def test_dicts_of_every_size_class_and_unusual_keys_come_back(size: int) -> None:
    value = {(number,): number for number in range(size)}
    assert plain.loads(MessagePackSerializer(max_bytes=2**23).dumps(value)) == value


def test_true_one_and_one_point_zero_are_told_apart() -> None:
    assert len({plain.dumps(value) for value in (True, 1, 1.0)}) == 3


def test_an_aware_datetime_keeps_its_offset_but_not_the_name_of_its_zone() -> None:
    berlin = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    back = plain.loads(plain.dumps(berlin))
    assert same(back, berlin)
    assert back.tzinfo == timezone(timedelta(hours=2))


def test_utc_comes_back_as_utc_itself() -> None:
    assert plain.loads(plain.dumps(datetime(2024, 1, 1, tzinfo=UTC))).tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Word.A, "a"),
        (Level.HIGH, 3),
        (Markup("<b>"), "<b>"),
        (type("F", (float,), {})(1.5), 1.5),
        (type("B", (bytes,), {})(b"x"), b"x"),
        (type("L", (list,), {})([(1,)]), [(1,)]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Pair(1, "x"), (1, "x")),
        ({Word.A: {Level.HIGH: Pair(1, 2)}}, {"a": {3: (1, 2)}}),
    ],
    ids=repr,
)
def test_unregistered_subclasses_are_stored_as_what_they_derive_from(value: object, stored: object) -> None:
    assert same(plain.loads(plain.dumps(value)), stored)
    assert plain.dumps(value) == plain.dumps(stored)


SETS = """
from asgi_sessions.serializers import MessagePackSerializer as S
import sys
value = {"roles": {"a", "b", "admin", "c", ("x", 1), None}, "f": frozenset(map(str, range(50))), ("k",): {b"1", "1", 1}}
sys.stdout.buffer.write(S().dumps(value))
"""


def test_encoding_is_the_same_under_every_hash_seed() -> None:
    def encode(seed: str) -> bytes:
        environ = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.run([sys.executable, "-c", SETS], env=environ, capture_output=True, check=True).stdout

    assert encode("1") == encode("2") != b""


def test_sets_built_in_another_order_encode_alike() -> None:
    assert plain.dumps(set(range(0, 4000, 97))) == plain.dumps(set(range(3977, -1, -97)))


# -- registered types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        Address("Main St", ("a", "b")),
        Cart("ada", {"tea": Decimal("3.50")}, Address("x")),
        Point(1, 2.5),
        Profile(readAs="Ada", born=date(1815, 12, 10), tags={"x"}),
        Color.RED,
        Right.READ | Right.WRITE,
        {Color.BLUE: [Point(1)], Point(2): {Point(3)}, "nested": (Address("y"),)},
    ],
    ids=["dataclass", "nested", "struct", "model", "enum", "flag", "container"],
)
def test_registered_types_come_back_as_themselves(packer: MessagePackSerializer, value: object) -> None:
    assert same(packer.loads(packer.dumps(value)), value)


def test_fields_without_init_come_back_even_in_frozen_classes(packer: MessagePackSerializer) -> None:
    cart = Cart("ada", {})
    object.__setattr__(cart, "total", Decimal(7))
    assert packer.loads(packer.dumps([cart])) == [cart]


def test_a_type_is_registered_with_functions_of_its_own() -> None:
    serializer = MessagePackSerializer()
    serializer.register(Fraction, "fraction", lambda f: (f.numerator, f.denominator), lambda pair: Fraction(*pair))
    assert serializer.loads(serializer.dumps({"f": Fraction(1, 3)})) == {"f": Fraction(1, 3)}


def test_registering_makes_a_subclass_of_a_builtin_keep_its_type() -> None:
    serializer = MessagePackSerializer([Word, Level])
    serializer.register(Pair, "pair", tuple, lambda pair: Pair(*pair))
    value = [Word.A, Level.HIGH, Pair(1, 2)]
    assert same(serializer.loads(serializer.dumps(value)), value)


def test_classes_may_gain_fields_with_defaults_and_lose_fields() -> None:
    old = dataclasses.make_dataclass("V", ["kept", "gone"])
    new = dataclasses.make_dataclass("V", ["kept", ("added", int, 5)])
    writer, reader = MessagePackSerializer([old]), MessagePackSerializer([new])
    assert reader.loads(writer.dumps(old(1, 2))) == new(1, 5)


def test_a_class_may_be_renamed_while_its_registered_name_stays() -> None:
    writer, reader = MessagePackSerializer(), MessagePackSerializer()
    writer.register(Address, "address")
    reader.register(dataclasses.make_dataclass("Place", ["street", "lines"]), "address")
    assert type(reader.loads(writer.dumps(Address("x")))).__name__ == "Place"


def test_a_registered_name_is_given_once(packer: MessagePackSerializer) -> None:
    with pytest.raises(ValueError, match="name 'Cart' is taken"):
        packer.register(Fraction, "Cart", str, Fraction)
    with pytest.raises(ValueError, match="name 'Same' is taken"):
        MessagePackSerializer([dataclasses.make_dataclass("Same", ["a"]), dataclasses.make_dataclass("Same", ["b"])])


@pytest.mark.parametrize("cls", [Cart, str, type(None), tuple, datetime, dict])
def test_what_can_be_stored_already_is_not_registered_again(packer: MessagePackSerializer, cls: type) -> None:
    with pytest.raises(ValueError, match="can be stored already"):
        packer.register(cls, "another", str, str)


def test_a_class_of_unknown_make_needs_functions() -> None:
    with pytest.raises(ValueError, match="Fraction needs encode and decode functions"):
        MessagePackSerializer([Fraction])
    with pytest.raises(ValueError, match="belong together"):
        MessagePackSerializer().register(Fraction, "f", str)
    with pytest.raises(ValueError, match="is empty"):
        MessagePackSerializer().register(Fraction, "", str, Fraction)


def test_a_dataclass_that_can_not_be_rebuilt_from_its_fields_is_not_registered() -> None:
    @dataclasses.dataclass
    class Seeded:
        seed: dataclasses.InitVar[int]
        value: int = 0

    with pytest.raises(ValueError, match=r"Seeded needs encode and decode functions: \['seed'\] are no fields"):
        MessagePackSerializer([Seeded])


@pytest.mark.parametrize("value", [Address("x"), Point(1), Profile(readAs="A", born=date.min), Color.RED, Right.READ])
def test_an_unregistered_class_is_refused_with_the_way_to_register_it(value: object) -> None:
    name = type(value).__qualname__
    with pytest.raises(SerializationError, match=f"{name} objects cannot be stored; .*types=\\[{name}\\]"):
        plain.dumps({"x": value})


def test_a_subclass_of_a_registered_class_is_no_registered_class(packer: MessagePackSerializer) -> None:
    with pytest.raises(SerializationError, match="Home objects cannot be stored"):
        packer.dumps(dataclasses.dataclass(type("Home", (Address,), {}))("x"))


def test_an_encode_function_that_fails_is_named_with_its_place() -> None:
    serializer = MessagePackSerializer()
    serializer.register(Fraction, "fraction", lambda f: 1 // 0, Fraction)
    with pytest.raises(SerializationError, match=r"\['f'\]: Fraction objects: encoding failed") as caught:
        serializer.dumps({"f": Fraction(1, 3)})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# -- what cannot be stored -----------------------------------------------------------------------------------


def failure(serializer: Serializer, value: object) -> SerializationError:
    with pytest.raises(SerializationError) as caught:
        serializer.dumps(value)
    return caught.value


@both
def test_the_error_names_the_key_path_and_the_type(serializer: Serializer) -> None:
    with socket.socket() as connection:
        error = failure(serializer, {"cart": [1, {"peer": (0, connection)}]})
    assert error.path == "['cart'][1]['peer'][1]"
    assert error.reason.startswith("socket objects cannot be stored")


def test_the_path_goes_through_attributes_of_registered_types(packer: MessagePackSerializer) -> None:
    error = failure(packer, {"cart": [Cart("ada", {"tea": object()})]})  # type: ignore[dict-item] # the point
    assert error.path == "['cart'][0].prices['tea']"


def test_a_set_is_named_where_its_element_can_not_be_stored() -> None:
    error = failure(plain, {"tags": {object()}})
    assert (error.path, error.reason.split(";")[0]) == ("['tags']", "object objects cannot be stored")


def test_long_keys_are_shortened_in_the_path() -> None:
    assert len(failure(plain, {"k" * 10_000: object()}).path) < 100


@both
@pytest.mark.parametrize(
    "value", [object(), Fraction(1), memoryview(b""), range(3), len, 1j, iter([]), msgspec.Raw(b"\xc0")]
)
def test_foreign_objects_are_refused(serializer: Serializer, value: object) -> None:
    assert failure(serializer, [value]).path == "[0]"


def test_msgspec_extensions_are_no_way_in() -> None:
    failure(plain, [msgspec.msgpack.Ext(1, b"\xc0")])


class _Nowhere(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None


def test_a_clock_time_without_a_fixed_offset_is_refused_rather_than_made_naive() -> None:
    for value in (time(12, tzinfo=ZoneInfo("Europe/Berlin")), datetime(2024, 1, 1, tzinfo=_Nowhere())):
        assert "has no fixed offset" in failure(plain, value).reason


@both
@pytest.mark.parametrize("value", [{"a": ["\ud800"]}, {"a": ["x", (1,), "\ud800"][2:]}])
def test_lone_surrogates_are_refused_by_path(serializer: Serializer, value: object) -> None:
    error = failure(serializer, value)
    assert (error.path, error.reason) == ("['a'][0]", "a str with lone surrogates cannot be stored")


@both
def test_a_surrogate_in_a_key_is_refused(serializer: Serializer) -> None:
    assert "surrogates" in failure(serializer, {"a\ud800": 1}).reason
    with pytest.raises(SerializationError, match="surrogates"):
        serializer.join({"a\ud800": serializer.dumps(1)})


def test_an_int_beyond_a_kilobyte_is_refused() -> None:
    assert failure(plain, [2**8192]).reason == "an int of more than 1024 bytes cannot be stored"
    assert plain.loads(plain.dumps(-(2**8192) + 1)) == -(2**8192) + 1


def nest(levels: int, wrap: Any = lambda inner: [inner]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


WRAPS = [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: {"k": (v,)}, lambda v: frozenset({v})]


@pytest.mark.parametrize(("wrap", "per"), list(zip(WRAPS, [1, 1, 1, 2, 1], strict=True)))
def test_sixty_four_levels_are_stored_and_one_more_is_not(wrap: Any, per: int) -> None:
    deepest = nest(64 // per, wrap)
    assert same(plain.loads(plain.dumps(deepest)), deepest)
    assert "nested more than 64 levels deep" in failure(plain, [deepest]).reason


def test_json_stores_sixty_four_levels_and_no_more() -> None:
    assert text.loads(text.dumps(nest(64))) == nest(64)
    assert "nested more than 64 levels" in failure(text, nest(65)).reason


@both
def test_cycles_are_refused(serializer: Serializer) -> None:
    items: list[Any] = []
    items.append({"again": items})
    assert "contains itself" in failure(serializer, items).reason
    mapping: dict[str, Any] = {}
    mapping.update(a=1, me=[mapping, mapping])
    assert failure(serializer, mapping).path.startswith("['me'][0]['me'][0]")


def test_an_object_that_contains_itself_is_refused(packer: MessagePackSerializer) -> None:
    address = Address("x")
    address.lines = (address,)  # type: ignore[assignment] # the point
    assert "contains itself" in failure(packer, address).reason


@both
def test_a_small_structure_that_unfolds_into_a_huge_one_is_refused_soon(serializer: Serializer) -> None:
    value: Any = [1]
    for _ in range(60):
        value = [value, value]
    assert "nested" in failure(serializer, [nest(64), value]).reason
    assert "takes more than the 1048576 bytes" in failure(serializer, value).reason


@both
def test_a_value_over_the_limit_is_refused_with_both_sizes(serializer: Serializer) -> None:
    error = failure(serializer, {"a": "x" * 2**20})
    assert error.reason in {f"takes {2**20 + extra} bytes, at most 1048576 may be stored" for extra in (8, 9)}
    small = type(serializer)(max_bytes=10)
    assert small.loads(small.dumps("x" * 8)) == "x" * 8
    assert failure(small, "x" * 10).reason.endswith("bytes, at most 10 may be stored")
    with pytest.raises(SerializationError, match="at most 10 may be stored"):
        small.join({"aa": small.dumps("bbb"), "cc": small.dumps("ddd")})
    with pytest.raises(ValueError, match="max_bytes=0"):
        type(serializer)(max_bytes=0)


@both
def test_running_out_of_stack_is_no_recursion_error(serializer: Serializer) -> None:
    deep = nest(60, lambda inner: [inner, ()])

    def descend(levels: int) -> bytes:
        return descend(levels - 1) if levels else serializer.dumps(deep)

    here = len(inspect.stack(0))
    with pytest.raises(SerializationError, match="nested too deeply for what is left of Python's stack"):
        descend(sys.getrecursionlimit() - here - 60)


# -- bytes from somebody else -----------------------------------------------------------------------------------


@both
@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.binary(max_size=60))
def test_arbitrary_bytes_are_malformed_at_worst(serializer: Serializer, data: bytes) -> None:
    for read in (serializer.loads, serializer.split):
        with suppress(MalformedSession):
            read(data)


registered = MessagePackSerializer(TYPES)
EXAMPLES = [
    {"u": 1, "t": (1, 2), "s": {1, "a"}, "d": datetime(2024, 1, 1, tzinfo=UTC), "x": Decimal("1.5"), "i": UUID(int=5)},
    [
        Cart("a", {"b": Decimal(1)}, Address("c", ("d",))),
        Point(1),
        Color.BLUE,
        Right.READ,
        Profile(readAs="A", born=date.max),
    ],
    {(1, 2): time.max, date.min: timedelta.max, frozenset({2**80}): bytearray(b"abc"), "z": [[[{"a": {}}]]]},
]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(EXAMPLES), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_altered_encodings_are_malformed_at_worst(value: object, edits: list[tuple[int, int]]) -> None:
    data = bytearray(registered.dumps(value))
    for place, byte in edits:
        data[place % len(data)] = byte
    for read in (registered.loads, registered.split):
        with suppress(MalformedSession):
            read(bytes(data))


@pytest.mark.parametrize("value", EXAMPLES)
def test_every_truncated_encoding_is_malformed(value: object) -> None:
    data = registered.dumps(value)
    for end in range(len(data)):
        with pytest.raises(MalformedSession):
            registered.loads(data[:end])


def ext(code: int, payload: bytes) -> bytes:
    return b"\xc9" + len(payload).to_bytes(4) + bytes((code,)) + payload


BAD = {
    "empty": b"",
    "trailing bytes": b"\xc0\xc0",
    "unused lead byte": b"\xc1",
    "invalid UTF-8": b"\xa2\xff\xff",
    "array32 that lies": b"\xdd\xff\xff\xff\xff",
    "arrays that lie inside each other": b"\xdd\x0f\xff\xff\xff" * 60,
    "map32 that lies": b"\xdf\xff\xff\xff\xff",
    "bin32 that lies": b"\xc6\xff\xff\xff\xff",
    "str32 that lies": b"\xdb\xff\xff\xff\xff",
    "ext32 that lies": b"\xc9\xff\xff\xff\xff\x01",
    "array32 that lies in an extension": ext(1, b"\xdd\xff\xff\xff\xff"),
    "set that lies": ext(2, b"\xdf\xff\xff\xff\xff"),
    "65 levels": b"\x91" * 65 + b"\xc0",
    "65 levels of maps": b"\x81\xa1a" * 65 + b"\xc0",
    "65 levels in a key": b"\x81" + b"\x91" * 65 + b"\xc0\xc0",
    "a million levels": b"\x91" * 1_000_000,
    "a million levels of maps": b"\x81\xa1a" * 300_000,
    "extensions inside each other": b"\xc7\xff\x01" * 1000,
    "unknown extension": ext(13, b"\xc0"),
    "negative extension": ext(0x85, b"\xc0"),
    "timestamp out of range": b"\xd7\xff" + b"\xff" * 8,
    "tuple of no array": ext(1, b"\x01"),
    "set of a map": ext(2, b"\x80"),
    "set of lists": ext(2, b"\x91\x90"),
    "frozenset of dicts": ext(3, b"\x91\x80"),
    "array with something behind it": ext(1, b"\x90\xc0"),
    "list as a key in a map in a key": b"\x81\x91\x80\xc0",
    "dict as a key": b"\x81\x80\xc0",
    "set as a key": b"\x81" + ext(2, b"\x90") + b"\xc0",
    "huge int": ext(4, b"\x01" * 1026),
    "short datetime": ext(5, b"\x00"),
    "datetime out of range": ext(5, b"\x7f" + b"\xff" * 7),
    "datetime with an offset of a year": ext(5, bytes(8) + b"\x00\x01" + bytes(6)),
    "date zero": ext(6, bytes(4)),
    "time after midnight": ext(7, (86_400_000_000).to_bytes(8)),
    "timedelta out of range": ext(8, b"\x7f" + b"\xff" * 11),
    "no Decimal": ext(9, b"one"),
    "Decimal that is no ASCII": ext(9, "\u0661".encode()),
    "short UUID": ext(10, bytes(15)),
    "unknown name": ext(12, b"\x92\xa7os.path\xc0"),
    "unhashable name": ext(12, b"\x92\x90\xc0"),
    "three parts": ext(12, b"\x93\xa4Cart\x80\xc0"),
    "state of another shape": ext(12, b"\x92\xa4Cart\x07"),
    "missing fields": ext(12, b"\x92\xa4Cart\x80"),
    "unknown member": ext(12, b"\x92\xa5Color\xa4PINK"),
    "invalid model": ext(12, b"\x92\xa7Profile\x81\xa4name\x05"),
    "deep state": ext(12, b"\x92\xa7Address\x81\xa6street" + b"\x91" * 70 + b"\xc0"),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_bad_data_is_malformed_at_once(packer: MessagePackSerializer, data: bytes) -> None:
    started = clock.process_time()
    with pytest.raises(MalformedSession):
        packer.loads(data)
    assert clock.process_time() - started < 1


@both
def test_malformed_is_raised_from_its_cause(serializer: Serializer) -> None:
    with pytest.raises(MalformedSession, match="not readable") as caught:
        serializer.loads(b"\xc1")
    assert isinstance(caught.value.__cause__, msgspec.DecodeError)


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


@both
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_not_executed(serializer: Serializer, protocol: int) -> None:
    with pytest.raises(MalformedSession):
        serializer.loads(pickle.dumps(Boom(), protocol))


def test_loading_imports_nothing(packer: MessagePackSerializer) -> None:
    data = ext(12, msgspec.msgpack.encode(["antigravity", {}]))
    before = set(sys.modules)
    with pytest.raises(MalformedSession, match="no type is registered as 'antigravity'"):
        packer.loads(data)
    assert set(sys.modules) == before


def test_objects_inside_each_other_without_end_are_malformed(packer: MessagePackSerializer) -> None:
    data = b"\xc0"
    for _ in range(2000):
        data = ext(12, b"\x92\xa7Address\x81\xa6street" + data)
    with pytest.raises(MalformedSession):
        packer.loads(data)


@both
def test_more_than_the_limit_is_not_even_looked_at(serializer: Serializer) -> None:
    with pytest.raises(MalformedSession, match=r"takes 1048577 bytes, at most 1048576 are read"):
        serializer.loads(b" " * (2**20 + 1))
    with pytest.raises(MalformedSession, match=r"at most 1048576 are read"):
        serializer.split(b" " * (2**20 + 1))


def test_the_last_of_duplicate_keys_wins() -> None:
    assert plain.loads(b"\x82\xa1a\x01\xa1a\x02") == {"a": 2}
    assert plain.split(b"\x82\xa1a\x01\xa1a\x02") == {"a": b"\x02"}


def is_refused(data: bytes) -> bool:
    try:
        MessagePackSerializer().loads(data)
    except MalformedSession:
        return True
    return False


@pytest.mark.parametrize(
    "beside", [[[]] * 400, [{}] * 400, [[1]] * 400, [{1: 2}] * 400, [(1,)] * 400, [{"a": [[1]]}] * 60]
)
@pytest.mark.parametrize("levels", [62, 63, 64, 65, 300])
def test_what_lies_beside_it_hides_no_depth(beside: list[Any], levels: int) -> None:
    deep = msgspec.msgpack.encode([*beside, nest(levels, lambda inner: [inner])])
    assert is_refused(deep) == (levels + 1 > 64)


def test_many_containers_side_by_side_are_not_deep() -> None:
    value = {"cart": [{"id": number, "tags": ("a",)} for number in range(500)], "text": "привет" * 100}
    assert plain.loads(plain.dumps(value)) == value
    assert text.loads(text.dumps([["["] * 3] * 100)) == [["["] * 3] * 100


# -- split and join -----------------------------------------------------------------------------------------------


@bounded
@given(st.dictionaries(hashables, values, max_size=5))
def test_split_gives_each_value_in_its_own_encoding(value: dict[Any, Any]) -> None:
    parts = plain.split(plain.dumps(value))
    assert same(list(parts), list(value))
    assert list(parts.values()) == [plain.dumps(item) for item in value.values()]


@bounded
@given(st.dictionaries(hashables, values, max_size=5))
def test_join_is_the_reverse_of_split(value: dict[Any, Any]) -> None:
    data = plain.dumps(value)
    assert plain.join(plain.split(data)) == data


@bounded
@given(st.dictionaries(words, json_values, max_size=5))
def test_json_splits_and_joins(value: dict[str, Any]) -> None:
    data = text.dumps(value)
    assert text.split(data) == {key: text.dumps(item) for key, item in value.items()}
    assert text.join(text.split(data)) == data


@both
@pytest.mark.parametrize("value", [None, 1, "a", [1], [["a", 1]]])
def test_only_dicts_are_split(serializer: Serializer, value: object) -> None:
    with pytest.raises(MalformedSession):
        serializer.split(serializer.dumps(value))


@both
def test_join_refuses_what_could_not_be_loaded(serializer: Serializer) -> None:
    assert serializer.loads(serializer.join({"a": serializer.dumps(nest(63))})) == {"a": nest(63)}
    with pytest.raises(SerializationError, match="nested more than 64 levels deep"):
        serializer.join({"a": serializer.dumps(nest(64))})


def test_join_writes_keys_that_messagepack_has_no_type_for() -> None:
    value = {2**70: 1, "a": 2, (1, frozenset({2})): 3}
    assert same(plain.loads(plain.join({key: plain.dumps(item) for key, item in value.items()})), value)


@both
def test_join_refuses_keys_that_can_not_be_stored(serializer: Serializer) -> None:
    with pytest.raises(SerializationError, match="object objects cannot be stored"):
        serializer.join({object(): serializer.dumps(1)})


class Literal(Serializer):
    """The least that somebody writes for a format of their own."""

    def dumps(self, value: object) -> bytes:
        return repr(value).encode()

    def loads(self, data: bytes) -> object:
        try:
            return __import__("ast").literal_eval(data.decode())
        except (ValueError, SyntaxError) as exc:
            raise MalformedSession("no literal") from exc


def test_a_custom_serializer_gets_split_and_join_for_nothing() -> None:
    serializer = Literal()
    data = serializer.dumps({"b": [1], 2: (3,)})
    assert serializer.split(data) == {"b": b"[1]", 2: b"(3,)"}
    assert serializer.join(serializer.split(data)) == data
    assert serializer.text is False
    with pytest.raises(MalformedSession, match="not a dict"):
        serializer.split(b"[]")


# -- JSON -----------------------------------------------------------------------------------------------------------


def test_json_is_text_that_any_tool_can_read() -> None:
    assert text.text is True
    assert plain.text is False
    assert text.dumps({"a": [1, 2.5, None, True, "é"]}) == '{"a":[1,2.5,null,true,"é"]}'.encode()


def test_json_loses_types_as_starlettes_does() -> None:
    value = {1: (1, 2), False: Word.A, None: Level.HIGH, 2.5: Pair(1, 2), Word.A: OrderedDict(x=())}
    stored = {"1": [1, 2], "false": "a", "null": 3, "2.5": [1, 2], "a": {"x": []}}
    assert text.loads(text.dumps(value)) == stored
    assert text.loads(text.dumps({True: 0, Level.HIGH: 0, Markup("<b>"): 0})) == {"true": 0, "3": 0, "<b>": 0}


@pytest.mark.parametrize(
    "value",
    [{1}, b"x", bytearray(b""), datetime.min, date.min, Decimal(1), UUID(int=1), Address("x"), Point(1), Color.RED],
)
def test_json_refuses_what_it_has_no_word_for(value: object) -> None:
    error = failure(text, {"a": [value]})
    assert error.path == "['a'][0]"
    assert f"{type(value).__qualname__} objects cannot be stored" in error.reason
    assert "use the default MessagePack serializer, or convert it" in error.reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_nan_and_infinity_rather_than_writing_null(value: float) -> None:
    assert failure(text, {"a": [None, value]}).path == "['a'][1]"
    assert "cannot be stored" in failure(text, {value: 1}).reason


def test_json_tells_the_word_null_from_nothing() -> None:
    assert text.loads(text.dumps({"null": None, "x": "null", "y": [None, 1.5]})) == {
        "null": None,
        "x": "null",
        "y": [None, 1.5],
    }


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**4299, -(10**4298)])
def test_json_brings_big_ints_back(value: int) -> None:
    assert text.loads(text.dumps([value])) == [value]
    assert text.loads(text.dumps((value,))) == [value]


def test_json_refuses_ints_that_it_could_not_read() -> None:
    for value in ([10**4300], (10**4300,)):
        assert failure(text, value).path == "[0]"


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {None: 0, "null": 0}])
def test_json_refuses_keys_that_would_become_one(value: dict[Any, Any]) -> None:
    assert "another key" in failure(text, value).reason


def test_json_refuses_keys_of_other_types() -> None:
    error = failure(text, {"a": {(1, 2): 3}})
    assert (error.path, error.reason.split(";")[0]) == ("['a'][(1, 2)]", "tuple objects cannot be stored as keys")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"NaN",
        b"1e400",
        b"[1,]",
        b"{} x",
        b'"\xff"',
        b'"\\ud800"',
        b"1" * 5000,
        b"[" * 10**6,
        b'{"a":' * 10**5,
        b"[" * 65 + b"]" * 65,
        b'"' * 10**6,
        b"\xff",
        b"{1:2}",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_bad_json_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedSession):
        text.loads(data)


def test_a_dict_of_more_than_a_hundred_thousand_keys_is_refused() -> None:
    for serializer in (plain, text):
        assert serializer.loads(serializer.dumps(dict.fromkeys(map(str, range(100_000)), 0)))
        assert "holds more than 100000 keys" in failure(serializer, dict.fromkeys(map(str, range(100_001)), 0)).reason
    assert "holds more than 100000 keys" in failure(plain, {"a": set(range(100_001))}).reason


@both
def test_keys_are_counted_all_together_wherever_they_are(serializer: Serializer) -> None:
    value = [dict.fromkeys(map(str, range(50_000)), 0) for _ in range(2)]
    assert serializer.loads(serializer.dumps(value)) == value
    assert "holds more than 100000 keys" in failure(serializer, [*value, {"one": "more"}]).reason


def test_what_holds_too_many_keys_is_not_loaded() -> None:
    small = dict.fromkeys(range(100_000))
    data = b"\xdf" + (100_001).to_bytes(4) + plain.dumps(small)[5:] + b"\xa1x\xc0"
    with pytest.raises(MalformedSession, match="holds more than 100000 keys"):
        plain.loads(data)
    with pytest.raises(MalformedSession, match="holds more than 100000 keys"):
        text.loads(b"{" + b",".join(b'"%d":1' % n for n in range(100_001)) + b"}")


@both
def test_join_refuses_too_many_keys(serializer: Serializer) -> None:
    parts = {"a": serializer.dumps(dict.fromkeys(map(str, range(50_001)), 0))}
    assert serializer.loads(serializer.join(parts))
    with pytest.raises(SerializationError, match="holds more than 100000 keys"):
        serializer.join(parts | {"b": parts["a"]})


def test_a_hundred_values_may_share_a_hash_but_no_more() -> None:
    shared = [n * sys.hash_info.modulus for n in range(10, 111)]
    assert plain.loads(plain.dumps(shared[:100])) == shared[:100]
    assert "more than 100 values have the same hash" in failure(plain, shared).reason
    written = [plain.dumps(value) for value in shared]
    with pytest.raises(MalformedSession, match="more than 100 values have the same hash"):
        plain.loads(b"\xdc" + len(written).to_bytes(2) + b"".join(written))


def test_equal_values_are_no_collisions() -> None:
    value = [2**70] * 5000
    assert plain.loads(plain.dumps(value)) == value


# -- decoded again ----------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(words, values, max_size=6))
def test_what_is_decoded_again_is_the_same_each_time(value: dict[str, object]) -> None:
    serializer = MessagePackSerializer()
    data = serializer.dumps(value)
    assert all(same(serializer.loads_again(data), value) for _ in range(4))
    assert data in serializer._decoded


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(hashables, values, max_size=4))
def test_keys_of_any_type_are_decoded_again(value: dict[object, object]) -> None:
    serializer = MessagePackSerializer()
    data = serializer.dumps(value)
    assert all(same(serializer.loads_again(data), serializer.loads(data)) for _ in range(4))


def test_nobody_sees_what_another_did_to_values_that_were_decoded_again() -> None:
    value = {"a": [1], "b": {"c": {2}}, "d": "x", "e": bytearray(b"y"), "f": ([3],)}
    data = plain.dumps(value)
    for _ in range(4):
        mine: Any = plain.loads_again(data)
        assert same(mine, value)
        mine["a"].append(2)
        mine["b"]["c"].clear()
        mine["d"] = "y"
        mine["e"].extend(b"z")
        mine["f"][0].append(4)
        del mine["b"]


def test_a_decode_function_that_fails_later_is_told_each_time() -> None:
    class Ticket:
        pass

    def decode(state: Any) -> Ticket:
        if broken:
            raise LookupError(state)
        return Ticket()

    broken = False
    serializer = MessagePackSerializer()
    serializer.register(Ticket, "Ticket", lambda ticket: 1, decode)
    data = serializer.dumps({"n": 1, "ticket": Ticket()})
    for _ in range(3):
        assert isinstance(serializer.loads_again(data)["ticket"], Ticket)  # type: ignore[index]
    broken = True
    for _ in range(3):
        with pytest.raises(MalformedSession):
            serializer.loads_again(data)


def test_a_type_that_can_be_read_only_is_decoded_again() -> None:
    class Old:
        pass

    serializer = MessagePackSerializer()
    serializer.register(Old, "Old", lambda old: 1, lambda state: object())
    data = serializer.dumps({"n": 1, "old": Old()})
    assert all(type(serializer.loads_again(data)["old"]) is object for _ in range(4))  # type: ignore[index]


def test_as_many_decoded_values_as_may_be_are_remembered() -> None:
    serializer = MessagePackSerializer()
    encoded = [serializer.dumps({"n": number}) for number in range(MOST_KNOWN)]
    for data in encoded * 2:
        serializer.loads_again(data)
    assert all(serializer._decoded[data] for data in encoded)


def test_the_decoded_values_that_a_serializer_remembers_are_bounded_in_number_and_size() -> None:
    serializer = MessagePackSerializer()
    for number in range(2 * MOST_KNOWN):
        data = serializer.dumps({"n": number})
        assert [serializer.loads_again(data) for _ in range(3)] == [{"n": number}] * 3
    assert 0 < len(serializer._decoded) <= MOST_KNOWN
    longest, longer = (serializer.dumps({"n": bytes(size)}) for size in (LONGEST_KNOWN - 6, LONGEST_KNOWN - 5))
    assert len(longest) == LONGEST_KNOWN == len(longer) - 1
    for data in (longest, longer):
        assert serializer.loads_again(data) == serializer.loads_again(data) == serializer.loads(data)
    assert longest in serializer._decoded
    assert longer not in serializer._decoded
