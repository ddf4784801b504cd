"""Records: how changes are merged into them, who opens them, and how they are written."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from asgi_sessions import (
    CookieRefused,
    ExpiredSession,
    JSONSerializer,
    MessagePackSerializer,
    RegeneratedSession,
    UnknownSession,
)
from asgi_sessions._engine.codec import FORMAT, RecordCodec
from asgi_sessions._engine.record import (
    COMMITS_KEPT,
    NOTHING,
    SUPERSEDED_FOR,
    Change,
    Edits,
    Flash,
    Lease,
    Record,
    Token,
    apply,
    check_end,
    check_token,
    digest,
    merge,
    times_of,
)
from asgi_sessions.crypto.keys import Keyring
from asgi_sessions.lifetime import Lifetime
from asgi_sessions.serializers import Serializer

from .browser import KEY, OTHER_KEY

NOW = 1_800_000_000
PACK, TEXT = MessagePackSerializer(), JSONSerializer()
SERIALIZERS = pytest.mark.parametrize("serializer", [PACK, TEXT], ids=["msgpack", "json"])

quickly = settings(max_examples=60, deadline=None)
encoded = st.dictionaries(st.sampled_from("abcde"), st.sampled_from([b"1", b"2", b"3"]))
scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner), max_leaves=6
)
sessions = st.dictionaries(st.sampled_from("abcde") | texts, values, max_size=5)


def record_of(values: dict[Any, Any], serializer: Serializer = PACK, **fields: Any) -> Record:
    return Record(values=serializer.dumps(values), created_at=NOW - 100, started_at=NOW - 100, **fields)


def change_of(
    before: dict[Any, Any],
    after: dict[Any, Any],
    serializer: Serializer = PACK,
    edits: Edits = NOTHING,
    secret_hash: bytes = b"",
) -> Change:
    return Change(serializer.dumps(before), serializer.dumps(after), NOW, edits, secret_hash)


def flashes_of(*numbers: int) -> tuple[Flash, ...]:
    return tuple(Flash(bytes([number]) * 8, "message", PACK.dumps(number)) for number in numbers)


# -- merging -----------------------------------------------------------------------------------------------------------


@quickly
@given(encoded, encoded, encoded)
def test_a_merge_keeps_what_only_one_side_changed(
    base: dict[str, bytes], mine: dict[str, bytes], theirs: dict[str, bytes]
) -> None:
    merged = merge(base, mine, theirs)
    for key in {*base, *mine, *theirs}:
        if mine.get(key) == base.get(key):
            assert merged.get(key) == theirs.get(key), "only they changed it, or nobody"
        else:
            assert merged.get(key) == mine.get(key), "I changed it, and mine is the later commit"


@quickly
@given(encoded, encoded, encoded)
def test_a_merge_of_disjoint_changes_does_not_depend_on_their_order(
    base: dict[str, bytes], mine: dict[str, bytes], theirs: dict[str, bytes]
) -> None:
    mine_alone = {key for key in {*base, *mine} if mine.get(key) != base.get(key)}
    theirs = {key: value for key, value in theirs.items() if key not in mine_alone}
    theirs |= {key: value for key, value in base.items() if key in mine_alone}
    assert merge(base, mine, theirs) == merge(base, theirs, mine)


@quickly
@given(encoded, encoded)
def test_a_merge_is_done_once_however_often_it_is_done(base: dict[str, bytes], mine: dict[str, bytes]) -> None:
    once = merge(base, mine, base)
    assert once == mine
    assert merge(base, mine, once) == once


@quickly
@given(encoded, encoded)
def test_who_changed_nothing_gets_theirs(base: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    assert merge(base, base, theirs) == theirs


@SERIALIZERS
@quickly
@given(before=sessions, after=sessions)
def test_a_change_applied_to_what_it_was_made_against_gives_the_new_values(
    serializer: Serializer, before: dict[Any, Any], after: dict[Any, Any]
) -> None:
    kept = apply(change_of(before, after, serializer), record_of(before, serializer), serializer)
    assert kept.values == serializer.dumps(after)


@SERIALIZERS
@quickly
@given(before=sessions, mine=sessions, added=values)
def test_a_change_applied_to_a_newer_record_keeps_both(
    serializer: Serializer, before: dict[Any, Any], mine: dict[Any, Any], added: Any
) -> None:
    theirs = record_of({**before, "added by them": added}, serializer)
    kept = serializer.loads(apply(change_of(before, mine, serializer), theirs, serializer).values)
    assert kept == serializer.loads(serializer.dumps({**mine, "added by them": added}))


@SERIALIZERS
@quickly
@given(before=sessions, theirs=sessions)
def test_who_only_reads_writes_no_value_back(
    serializer: Serializer, before: dict[Any, Any], theirs: dict[Any, Any]
) -> None:
    record = record_of(theirs, serializer)
    assert apply(change_of(before, before, serializer), record, serializer) == record


def test_types_are_told_apart_in_a_merge() -> None:
    """One is not True and not 1.0, though Python calls them equal."""
    for value in (True, 1.0):
        kept = apply(change_of({"a": 1, "b": 0}, {"a": value, "b": 0}), record_of({"a": 1, "b": 5}), PACK)
        assert repr(PACK.loads(kept.values)) == repr({"a": value, "b": 5})


def test_a_cleared_session_keeps_nothing_whoever_wrote_it() -> None:
    theirs = record_of({"a": 1, "theirs": 2}, flashes=flashes_of(1), owner="alice", epoch=3)
    cleared = Edits(cleared=True, added=flashes_of(2), attributes={"owner": None})
    kept = apply(change_of({"a": 1}, {"new": 1}, edits=cleared), theirs, PACK)
    assert PACK.loads(kept.values) == {"new": 1}
    assert (kept.flashes, kept.owner, kept.epoch) == (flashes_of(2), None, 4)


def test_a_new_secret_begins_an_epoch_and_remembers_the_old_one_for_a_while() -> None:
    before = record_of({"a": 1}, secret_hash=b"old", epoch=1)
    kept = apply(change_of({"a": 1}, {"a": 1}, edits=Edits(regenerated=True), secret_hash=b"new"), before, PACK)
    assert (kept.secret_hash, kept.previous_hash, kept.previous_until) == (b"new", b"old", NOW + SUPERSEDED_FOR)
    assert (kept.epoch, kept.started_at, kept.created_at) == (2, NOW, NOW - 100)


def test_an_ordinary_change_keeps_the_epoch_and_everything_it_does_not_name() -> None:
    lease = Lease(b"holder", NOW + 5.0)
    before = record_of({}, epoch=1, owner=7, remember=60, cookie={"path": "/a"}, lease=lease, secret_hash=b"s", id=b"i")
    kept = apply(change_of({}, {"a": 1}), before, PACK)
    assert replace(kept, values=before.values) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("owner", None), ("owner", 0), ("remember", None), ("remember", 0), ("cookie", {}), ("label", {})],
)
def test_a_choice_is_stored_even_if_it_is_nothing(name: str, value: Any) -> None:
    before = record_of({}, owner="alice", remember=60, cookie={"path": "/a"}, label={"device": "phone"})
    kept = apply(change_of({}, {}, edits=Edits(attributes={name: value})), before, PACK)
    assert kept == replace(before, **{name: value})


def test_a_record_remembers_its_last_commits_only() -> None:
    record = record_of({})
    versions = [bytes([number]) * 8 for number in range(COMMITS_KEPT + 2)]
    for version in versions:
        record = apply(change_of({}, {}), record, PACK, version)
    assert record.commits == b"".join(versions[-COMMITS_KEPT:])
    assert apply(change_of({}, {}), record, PACK).commits == record.commits


# -- flashes -----------------------------------------------------------------------------------------------------------

some = st.lists(st.integers(0, 20), unique=True, max_size=6)


@quickly
@given(some, some, some)
def test_flashes_are_added_and_consumed_by_id(there: list[int], added: list[int], consumed: list[int]) -> None:
    added = [number + 100 for number in added]
    ids = frozenset(flash.id for flash in flashes_of(*consumed))
    change = change_of({}, {}, edits=Edits(added=flashes_of(*added), consumed=ids))
    kept = apply(change, record_of({}, flashes=flashes_of(*there)), PACK)
    assert kept.flashes == flashes_of(*[number for number in there if number not in consumed], *added)
    again = apply(change, kept, PACK)
    assert again.flashes == kept.flashes, "a commit that is repeated adds nothing twice"


@quickly
@given(some, some, some)
def test_of_two_requests_each_adds_and_consumes_its_own(there: list[int], mine: list[int], theirs: list[int]) -> None:
    def taking(numbers: list[int], new: int) -> Change:
        ids = frozenset(flash.id for flash in flashes_of(*numbers))
        return change_of({}, {}, edits=Edits(added=flashes_of(new), consumed=ids))

    record = record_of({}, flashes=flashes_of(*there))
    kept = apply(taking(mine, 101), apply(taking(theirs, 100), record, PACK), PACK)
    assert set(kept.flashes) == set(flashes_of(*({*there} - {*mine} - {*theirs}), 100, 101))


# -- edits, of which some are committed ------------------------------------------------------------------------------

edited = st.builds(
    lambda added, consumed, attributes: Edits(
        added=flashes_of(*added),
        consumed=frozenset(flash.id for flash in flashes_of(*consumed)),
        attributes=attributes,
    ),
    some,
    some,
    st.dictionaries(st.sampled_from(["owner", "label", "remember"]), st.sampled_from(["alice", "bob"])),
)


@quickly
@given(edited)
def test_since_everything_was_committed_there_are_no_edits(edits: Edits) -> None:
    assert edits.since(edits) is NOTHING


@quickly
@given(edited)
def test_since_nothing_was_committed_there_are_all_edits(edits: Edits) -> None:
    assert edits.since(NOTHING) == edits


def test_the_edits_since_a_commit_are_those_that_came_later() -> None:
    earlier = Edits(cleared=True, added=flashes_of(1), consumed=frozenset([b"1"]), attributes={"owner": "alice"})
    later = replace(
        earlier,
        regenerated=True,
        added=flashes_of(1, 2),
        consumed=frozenset([b"1", b"2"]),
        attributes={"owner": "alice", "remember": 60},
    )
    assert later.since(earlier) == Edits(
        regenerated=True, added=flashes_of(2), consumed=frozenset([b"2"]), attributes={"remember": 60}
    )


def test_a_flash_that_was_taken_back_after_its_commit_is_consumed() -> None:
    (flash,) = flashes_of(1)
    assert Edits().since(Edits(added=(flash,))) == Edits(consumed=frozenset([flash.id]))


# -- tokens and ages ---------------------------------------------------------------------------------------------------

LIFETIME = Lifetime(max_age=3600)


def opened(record: Record, secret: bytes, now: float = NOW) -> None:
    check_token(record, Token(b"handle", secret, digest(secret), NOW), now)
    check_end(times_of(record, LIFETIME, NOW, stale=False)[0], now)


def test_the_secret_opens_its_record() -> None:
    opened(record_of({}, secret_hash=digest(b"secret")), b"secret")


@pytest.mark.parametrize("secret", [b"", b"guess", b"secret ", digest(b"secret")])
def test_anything_else_is_unknown(secret: bytes) -> None:
    with pytest.raises(UnknownSession):
        opened(record_of({}, secret_hash=digest(b"secret")), secret)


def test_a_record_without_a_secret_opens_for_nobody() -> None:
    for secret in (b"", b"guess"):
        with pytest.raises(UnknownSession):
            opened(record_of({}), secret)


def test_the_previous_secret_is_told_from_an_unknown_one_for_a_minute() -> None:
    before = record_of({}, secret_hash=digest(b"old"))
    record = apply(change_of({}, {}, edits=Edits(regenerated=True), secret_hash=digest(b"new")), before, PACK)
    opened(record, b"new")
    with pytest.raises(RegeneratedSession):
        opened(record, b"old", NOW + SUPERSEDED_FOR - 1)
    with pytest.raises(UnknownSession):
        opened(record, b"old", NOW + SUPERSEDED_FOR)
    with pytest.raises(UnknownSession):
        opened(record, b"guess", NOW)


def test_a_session_is_over_at_its_end_and_not_before() -> None:
    record = record_of({}, secret_hash=digest(b"secret"))
    opened(record, b"secret", NOW + 3599)
    with pytest.raises(ExpiredSession, match="ended 5 s ago"):
        opened(record, b"secret", NOW + 3605)


def test_what_was_chosen_at_run_time_decides_when_it_is_over() -> None:
    remembered = record_of({}, remember=10 * 3600)
    assert times_of(remembered, LIFETIME, NOW, stale=False) == (NOW + 10 * 3600, NOW + 3600)
    bounded = Lifetime(max_age=3600, absolute_timeout=7200)
    assert times_of(remembered, bounded, NOW, stale=False)[0] == NOW - 100 + 7200


def test_what_was_sealed_under_a_former_key_is_due_at_once() -> None:
    assert times_of(record_of({}), LIFETIME, NOW, stale=True)[1] < NOW


# -- written and read --------------------------------------------------------------------------------------------------

HANDLE = bytes(range(16))


def codecs() -> dict[str, RecordCodec]:
    sealer = Keyring(KEY).record_encrypter("session")
    return {
        "msgpack": RecordCodec(PACK),
        "json": RecordCodec(TEXT),
        "json in a cookie": RecordCodec(TEXT, readable=False),
        "encrypted msgpack": RecordCodec(PACK, sealer),
        "encrypted json": RecordCodec(TEXT, sealer),
    }


CODECS = pytest.mark.parametrize("codec", codecs().values(), ids=codecs().keys())

records = st.builds(
    lambda values, flashes, fields: (values, flashes, fields),
    sessions,
    st.lists(st.tuples(st.binary(min_size=8, max_size=8), texts, values), max_size=3),
    st.fixed_dictionaries(
        {"created_at": st.integers(0, 2**40), "started_at": st.integers(0, 2**40)},
        optional={
            "id": st.binary(max_size=8),
            "secret_hash": st.binary(max_size=32),
            "previous_hash": st.binary(max_size=32),
            "previous_until": st.integers(0, 2**40),
            "epoch": st.integers(0, 2**40),
            "owner": st.none() | texts | st.integers(-(2**63), 2**63 - 1),
            "remember": st.none() | st.integers(0, 2**40),
            "owner_epoch": st.integers(0, 2**40),
            "label": st.dictionaries(texts, texts, max_size=3),
            "format": st.integers(0, FORMAT),
            "cookie": st.dictionaries(
                st.sampled_from(["path", "domain", "partitioned"]), texts | st.booleans() | st.none()
            ),
            "lease": st.none() | st.builds(Lease, st.binary(max_size=16), st.floats(0, 2**40)),
            "commits": st.lists(st.binary(min_size=8, max_size=8), max_size=COMMITS_KEPT).map(b"".join),
        },
    ),
)


@CODECS
@quickly
@given(parts=records)
def test_a_record_comes_back_as_it_was(codec: RecordCodec, parts: Any) -> None:
    content, messages, fields = parts
    dumps = codec.serializer.dumps
    flashes = tuple(Flash(key, category, dumps(message)) for key, category, message in messages)
    record = Record(values=dumps(content), flashes=flashes, **fields)
    decoded = codec.decode(codec.encode(record, HANDLE), HANDLE)
    assert decoded == record
    assert dumps(codec.values(decoded)) == record.values


@CODECS
@quickly
@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused_calmly(codec: RecordCodec, garbage: bytes) -> None:
    with pytest.raises(CookieRefused):
        codec.values(codec.decode(garbage, HANDLE))


@CODECS
@quickly
@given(data=st.data())
def test_a_damaged_record_is_refused_or_still_a_record(codec: RecordCodec, data: st.DataObject) -> None:
    encoded = codec.encode(
        record_of({"a": [1, {"b": "c"}]}, codec.serializer, owner="alice", commits=b"12345678"), HANDLE
    )
    at = data.draw(st.integers(0, len(encoded) - 1))
    before, after = encoded[:at], encoded[at + 1 :]
    cut_or_swollen = st.sampled_from([before, before + encoded, encoded + b"\0"])
    damaged = data.draw(cut_or_swollen | st.binary(min_size=1, max_size=1).map(lambda byte: before + byte + after))
    try:
        codec.values(codec.decode(damaged, HANDLE))
    except CookieRefused:
        return
    assert codec.sealer is None or damaged == encoded


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x80", b"\xc0", b"{}", b"null", b"[" * 100_000, b"\x91" * 100_000, b"{" * 100_000, b'{"values":' * 50_000,
     b'{"values":{"a":1},"created_at":1e999,"started_at":1}', b'{"values":[],"created_at":1,"started_at":1}',
     b"\x83\xa1v\xc4\x01\xc0\xa1t\x01\xa1s\x01", b'{"values":{"a":1},"created_at":"now","started_at":1}'],
    ids=range(13),
)  # fmt: skip
@CODECS
def test_hostile_bytes_are_refused_calmly(codec: RecordCodec, garbage: bytes) -> None:
    with pytest.raises(CookieRefused):
        codec.values(codec.decode(garbage, HANDLE))


def test_json_records_are_read_by_other_tools() -> None:
    record = record_of({"user": "alice"}, TEXT, owner=7, flashes=(Flash(b"12345678", "info", TEXT.dumps(["hi"])),))
    shown = json.loads(codecs()["json"].encode(record, HANDLE))
    assert shown["values"] == {"user": "alice"}
    assert shown["owner"] == 7
    assert [(flash["category"], flash["message"]) for flash in shown["flashes"]] == [("info", ["hi"])]
    assert {"epoch", "lease", "commits"}.isdisjoint(shown), "what has nothing to say is left out"


def test_an_encrypted_record_shows_nothing_and_belongs_to_its_handle() -> None:
    for name in ("encrypted msgpack", "encrypted json"):
        codec = codecs()[name]
        data = codec.encode(record_of({"card": "4111-1111"}, codec.serializer, owner="alice"), HANDLE)
        assert b"4111" not in data
        assert b"alice" not in data
        with pytest.raises(CookieRefused):
            codec.decode(data, HANDLE[::-1])
        foreign = RecordCodec(codec.serializer, Keyring(OTHER_KEY).record_encrypter("session"))
        with pytest.raises(CookieRefused):
            foreign.decode(data, HANDLE)


def test_a_field_of_a_newer_release_is_skipped() -> None:
    """A release that adds one without a new format number can be rolled back."""
    data = codecs()["json"].encode(record_of({"a": 1}, TEXT))
    assert codecs()["json"].decode(data[:-1] + b',"invented_later":[1]}') == record_of({"a": 1}, TEXT)
