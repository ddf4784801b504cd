"""Records in a store: one that was opened lately is not decoded again, and nothing else comes of that."""

import tracemalloc
from typing import Any

import pytest
from msgspec.structs import replace

from asgi_sessions import (
    ExpiredSession,
    JSONSerializer,
    MalformedSession,
    MemoryStore,
    MessagePackSerializer,
    SessionConflict,
    UnknownSession,
)
from asgi_sessions._engine.codec import RecordCodec
from asgi_sessions._engine.plan import Commit, Create
from asgi_sessions._engine.record import NOTHING, Change, Edits, Loaded, Record, Token, digest
from asgi_sessions._engine.repository import MAX_KNOWN, MOST_KNOWN, Repository
from asgi_sessions.crypto.keys import Keyring
from asgi_sessions.crypto.seal import RecordSealer
from asgi_sessions.lifetime import Lifetime
from asgi_sessions.serializers import Serializer

from .browser import KEY, Clock

NOW = 1_800_000_000
HANDLE, SECRET = bytes(range(16)), b"s" * 32
VERSION, LATER = b"version1", b"version2"
TOKEN = Token(HANDLE, SECRET, digest(SECRET), NOW - 60)
DEADLINE = NOW + 1_000_000
LIFETIME = Lifetime(max_age=3600)
PACK, TEXT = MessagePackSerializer(), JSONSerializer()


class Counting(RecordCodec):
    """A codec that counts the records that it decoded."""

    __slots__ = ("decoded",)

    def __init__(self, serializer: Serializer = PACK, sealer: RecordSealer | None = None) -> None:
        super().__init__(serializer, sealer)
        self.decoded = 0

    def decode(self, data: bytes, handle: bytes = b"") -> Record:
        self.decoded += 1
        return super().decode(data, handle)


class World:
    """A store and a repository of its records."""

    def __init__(self, codec: Counting | None = None) -> None:
        self.store = MemoryStore(clock=Clock(NOW))
        self.codec = codec or Counting()
        self.repository = self.another_repository()

    def another_repository(self) -> Repository:
        """What another process has."""
        return Repository(self.store, self.codec, LIFETIME, "session")

    def record(self, values: dict[Any, Any], **fields: Any) -> Record:
        encoded = self.codec.serializer.dumps(values)
        fields = {"secret_hash": digest(SECRET), **fields}
        return Record(values=encoded, created_at=NOW - 100, started_at=NOW - 100, **fields)

    async def keep(self, values: dict[Any, Any], handle: bytes = HANDLE, **fields: Any) -> None:
        data = self.codec.encode(self.record(values, **fields), handle)
        assert await self.store.create(handle, VERSION, data, DEADLINE)

    async def load(self, token: Token = TOKEN, now: float = NOW) -> tuple[Loaded, dict[Any, Any]]:
        return await self.repository.load(token, now)

    def commit_of(self, loaded: Loaded, values: dict[Any, Any], edits: Edits = NOTHING) -> Commit:
        change = Change(loaded.record.values, self.codec.serializer.dumps(values), NOW, edits)
        return Commit(loaded, change, LATER)


@pytest.fixture
def world() -> World:
    return World()


# -- what is known ----------------------------------------------------------------------------------------------------


async def test_a_session_that_is_loaded_again_is_not_decoded_again(world: World) -> None:
    await world.keep({"a": 1})
    first = await world.load()
    assert [await world.load() for _ in range(3)] == [first] * 3
    assert first[1] == {"a": 1}
    assert world.codec.decoded == 1


async def test_a_known_session_ends_like_others(world: World) -> None:
    await world.keep({"a": 1})
    loaded, _ = await world.load()
    await world.load(now=loaded.ends_at - 1)
    with pytest.raises(ExpiredSession, match="ended 0 s ago"):
        await world.load(now=loaded.ends_at)


async def test_a_known_session_that_was_deleted_is_gone(world: World) -> None:
    await world.keep({"a": 1})
    await world.load()
    await world.store.delete(HANDLE)
    with pytest.raises(UnknownSession, match="holds no session"):
        await world.load()


@pytest.mark.parametrize("changed", [{"handle": HANDLE[::-1]}, {"digest": digest(b"guess"), "secret": b"guess"}])
async def test_another_handle_or_secret_opens_no_known_session(world: World, changed: dict[str, bytes]) -> None:
    await world.keep({"a": 1})
    await world.load()
    with pytest.raises(UnknownSession, match="holds no session"):
        await world.load(replace(TOKEN, **changed))


@pytest.mark.parametrize(
    ("changed", "times"),
    [({"renewed_at": NOW - 30}, (NOW + 3570, NOW + 330)), ({"stale": True}, (NOW + 3540, 0.0))],
    ids=["renewal", "fallback key"],
)
async def test_another_token_of_a_known_session_brings_times_of_its_own(
    world: World, changed: dict[str, Any], times: tuple[float, float]
) -> None:
    await world.keep({"a": 1})
    await world.load()
    loaded, values = await world.load(replace(TOKEN, **changed))
    assert (loaded.ends_at, loaded.due_at) == times
    assert values == {"a": 1}


async def test_a_newer_record_of_a_known_session_is_decoded(world: World) -> None:
    await world.keep({"a": 1})
    await world.load()
    data = world.codec.encode(world.record({"a": 2}, remember=60), HANDLE)
    await world.store.swap(HANDLE, VERSION, LATER, data)
    loaded, values = await world.load(replace(TOKEN, renewed_at=NOW))
    assert (loaded.version, loaded.ends_at, values) == (LATER, NOW + 60, {"a": 2})


async def test_the_same_bytes_under_another_version_are_another_record(world: World) -> None:
    """Else the next commit would be made against a version that is gone."""
    await world.keep({"a": 1})
    await world.load()
    await world.store.swap(HANDLE, VERSION, LATER, world.codec.encode(world.record({"a": 1}), HANDLE))
    assert (await world.load())[0].version == LATER


@pytest.mark.parametrize("data", [b"", b"\xc1"], ids=["nothing", "garbage"])
async def test_other_bytes_under_the_known_version_are_another_record(world: World, data: bytes) -> None:
    await world.keep({"a": 1})
    await world.load()
    await world.store.delete(HANDLE)
    await world.store.create(HANDLE, VERSION, data, DEADLINE)
    with pytest.raises(MalformedSession):
        await world.load()


async def test_a_known_session_is_known_after_a_commit_to_it(world: World) -> None:
    await world.keep({"a": 1})
    loaded, _ = await world.load()
    committed = await world.repository.commit(world.commit_of(loaded, {"a": 2}))
    assert await world.load() == (committed, {"a": 2})
    assert world.codec.decoded == 1


async def test_a_commit_to_a_session_that_is_not_known_makes_it_no_known_one(world: World) -> None:
    await world.keep({"a": 1})
    loaded, _ = await world.another_repository().load(TOKEN, NOW)
    await world.repository.commit(world.commit_of(loaded, {"a": 2}))
    assert (await world.load())[1] == {"a": 2}
    assert world.codec.decoded == 2


async def test_a_commit_with_an_older_token_does_not_shorten_the_known_session(world: World) -> None:
    await world.keep({"a": 1})
    loaded, _ = await world.load()
    renewed = replace(TOKEN, renewed_at=NOW)
    await world.load(renewed)
    await world.repository.commit(world.commit_of(loaded, {"a": 2}))
    assert (await world.load(renewed))[0].ends_at == NOW + 3600


async def test_a_commit_that_changes_the_lifetime_is_read_anew(world: World) -> None:
    await world.keep({"a": 1})
    loaded, _ = await world.load()
    step = world.commit_of(loaded, {"a": 2}, Edits(attributes={"remember": 600}))
    await world.repository.commit(step)
    assert (await world.load())[0].ends_at == TOKEN.renewed_at + 600


async def test_a_commit_that_met_a_shorter_lifetime_is_read_anew(world: World) -> None:
    await world.keep({"a": 1})
    loaded, _ = await world.load()
    data = world.codec.encode(world.record({"a": 1}, remember=600), HANDLE)
    await world.store.swap(HANDLE, VERSION, b"theirs!!", data)
    await world.repository.commit(world.commit_of(loaded, {"a": 2}))
    loaded, values = await world.load()
    assert (loaded.ends_at, values) == (TOKEN.renewed_at + 600, {"a": 2})


CODECS = {
    "msgpack": lambda: Counting(PACK),
    "json": lambda: Counting(TEXT),
    "encrypted msgpack": lambda: Counting(PACK, Keyring(KEY).record_encrypter("session")),
    "encrypted json": lambda: Counting(TEXT, Keyring(KEY).record_encrypter("session")),
}


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
async def test_the_values_of_a_known_session_are_nobody_elses(codec: Any) -> None:
    world = World(codec())
    await world.keep({"cart": [1], "n": 1})
    for _ in range(4):
        _, values = await world.load()
        assert values == {"cart": [1], "n": 1}
        values["cart"].append(2)
        values["n"] = 2
    assert world.codec.decoded == 1


async def test_a_known_session_whose_values_cannot_be_decoded_any_more_is_refused() -> None:
    """A registered type's decode function may fail where it did not before."""

    class Ticket:
        pass

    def decode(state: object) -> Ticket:
        if broken:
            raise LookupError(state)
        return Ticket()

    broken = False
    serializer = MessagePackSerializer()
    serializer.register(Ticket, "Ticket", lambda ticket: 1, decode)
    world = World(Counting(serializer))
    await world.keep({"ticket": Ticket()})
    await world.load()
    broken = True
    with pytest.raises(MalformedSession, match=r"the record cannot be read"):
        await world.load()


def numbered(number: int) -> Token:
    return replace(TOKEN, handle=number.to_bytes(16, "big"))


async def test_the_sessions_that_are_known_are_bounded_in_number(world: World) -> None:
    tokens = [numbered(number) for number in range(3 * MOST_KNOWN)]
    for token in tokens:
        await world.keep({"n": 1}, token.handle)
        await world.load(token)
    world.codec.decoded = 0
    for token in reversed(tokens):
        await world.load(token)
    assert world.codec.decoded == 2 * MOST_KNOWN, "the newest ones are known"


@pytest.mark.parametrize(("over", "decoded"), [(0, 1), (1, 3)])
async def test_a_large_record_is_decoded_each_time(world: World, over: int, decoded: int) -> None:
    beside = len(world.codec.encode(world.record({"n": bytes(4000)}), HANDLE)) - 4000
    await world.keep({"n": bytes(MAX_KNOWN - beside + over)})
    for _ in range(3):
        await world.load()
    assert world.codec.decoded == decoded


async def test_the_memory_that_known_sessions_take_is_bounded(world: World) -> None:
    tokens = [numbered(number) for number in range(2 * MOST_KNOWN)]
    for token in tokens:
        await world.keep({"n": "x" * 2000}, token.handle)
    tracemalloc.start()
    for token in tokens:
        await world.load(token)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < MOST_KNOWN * (3 * 2000 + 2000)


# -- create -----------------------------------------------------------------------------------------------------------


async def test_a_record_that_is_there_already_is_never_overwritten(world: World) -> None:
    await world.keep({"a": 1})
    after = Loaded(world.record({"b": 2}), NOW, handle=HANDLE, secret=SECRET, version=LATER)
    with pytest.raises(SessionConflict, match="a record 000102030405060708090a0b0c0d0e0f is there already"):
        await world.repository.create(Create(after, world.codec.encode(after.record, HANDLE), DEADLINE))
    assert (await world.load())[1] == {"a": 1}
