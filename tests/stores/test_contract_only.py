"""A store is its contract and nothing else: whatever other names a subclass uses are its own.

Names of a custom store have collided with those of the package before: a store with a method ``load`` of its own
answered each second request with 503, and one with ``remove`` did not log out. So here is a store that has every name
that is used anywhere between a request and a store, and fails if one of them is looked at.
"""

import ast
import inspect
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asgi_sessions import MemoryStore, OwnerIndex, RecordStore, Session, SessionManager, Stored, _engine
from asgi_sessions.testing import StoreContract
from tests import test_behaviour, test_manager
from tests.browser import KEY, Browser, Clock, application, read
from tests.consistency import test_exclusive, test_interleavings, test_late

CONTRACT = {"open", "close", "read", "create", "swap", "touch", "delete", "quarantine", "deadline", "write_timeout"}
INDEX = {"enlist", "delist", "listed", "bar"}
# What subclasses inherited once.
FORMER = {"acquire", "bound", "commit", "line_up", "load", "load_one_of", "opened", "pool", "queue", "race", "remove"}
FORMER |= {"known", "lease", "name", "renew", "serializer", "store", "_decode", "_known"}


def names_of_the_engine() -> set[str]:
    """Every name that is defined in the engine: functions, classes, variables, attributes, parameters."""
    found: set[str] = set()
    for path in Path(_engine.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.arg):
                found.add(node.arg)
    return {name for name in found if not name.startswith("__")}


TAKEN = sorted((names_of_the_engine() | FORMER) - CONTRACT - INDEX)


class Trap:
    """An attribute that must not be looked at: neither called nor asked for."""

    def __init__(self, name: str, sprung: list[str]) -> None:
        self.name = name
        self.sprung = sprung

    def __get__(self, instance: object, owner: type) -> Any:
        self.sprung.append(self.name)
        raise AssertionError(f"the package looked at {self.name!r} of a store")

    def __set__(self, instance: object, value: object) -> None:
        self.__get__(instance, type(instance))


class Delegating(RecordStore):
    """A memory store with no attribute of its own but one, whose name nobody else has."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.where_it_really_is = MemoryStore(clock=clock) if clock else MemoryStore()

    @property
    def write_timeout(self) -> float:
        return 0.0

    async def read(self, handle: bytes) -> Stored | None:
        return await self.where_it_really_is.read(handle)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return await self.where_it_really_is.create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        return await self.where_it_really_is.swap(handle, old, new, data, expires_at)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        return await self.where_it_really_is.touch(handle, version, expires_at)

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        return await self.where_it_really_is.delete(handle, version)

    async def deadline(self, handle: bytes) -> float | None:
        return await self.where_it_really_is.deadline(handle)


class Indexed(Delegating):
    """The same, with an index of owners."""

    @property
    def write_timeout(self) -> float:
        return 0.0

    async def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes:
        return await self.where_it_really_is.enlist(owner, handle, expires_at)

    async def delist(self, owner: bytes, handles: Collection[bytes] | Mapping[bytes, int]) -> None:
        await self.where_it_really_is.delist(owner, handles)

    async def listed(self, owner: bytes) -> dict[bytes, int]:
        return await self.where_it_really_is.listed(owner)

    async def bar(self, owner: bytes, generation: bytes, until: float) -> None:
        await self.where_it_really_is.bar(owner, generation, until)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server_store() -> Iterator[RecordStore]:
    """A store with all names, which were not looked at when the test is over."""
    sprung: list[str] = []
    kind: Any = type("Colliding", (Indexed,), {name: Trap(name, sprung) for name in TAKEN})
    yield kind()
    assert sprung == []


@pytest.fixture
def store(server_store: RecordStore) -> RecordStore:
    return server_store


@pytest.fixture
def manager(server_store: RecordStore) -> SessionManager:
    return SessionManager(server_store, KEY)


def test_the_names_are_those_of_the_engine() -> None:
    assert {"load", "commit", "remove", "renew", "resolve", "profile", "repository", "known", "_store"} <= {*TAKEN}


def test_a_name_that_is_looked_at_is_noticed() -> None:
    sprung: list[str] = []
    kind: Any = type("Colliding", (Indexed,), {"load": Trap("load", sprung)})
    with pytest.raises(AssertionError, match="looked at 'load' of a store"):
        kind().load  # noqa: B018 - looking at it is the point
    assert sprung == ["load"]


class TestContract(StoreContract):
    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def store(self, server_store: RecordStore) -> RecordStore:
        return server_store


# -- the behaviour of every store, once more -------------------------------------------------------------------------


def over_a_store(*modules: ModuleType) -> Iterator[tuple[str, Any]]:
    for module in modules:
        for name, test in vars(module).items():
            if name.startswith("test_") and {"store", "server_store"} & {*inspect.signature(test).parameters}:
                yield name, test


globals().update(over_a_store(test_behaviour, test_late, test_interleavings, test_exclusive, test_manager))


# -- what went wrong once -------------------------------------------------------------------------------------------


async def write(session: Session) -> None:
    session["n"] = session.get("n", 0) + 1
    session.owner = "alice"


async def logout(session: Session) -> None:
    session.invalidate()


ROUTES = {"/write": write, "/logout": logout, "/": read}


async def test_a_second_request_is_served(server_store: RecordStore) -> None:
    visitor = Browser(application(ROUTES, store=server_store))
    assert [(await visitor.get("/write")).status for _ in range(3)] == [200, 200, 200]
    assert (await visitor.get("/")).json() == {"n": 3}


async def test_a_logout_that_is_answered_200_is_a_logout(server_store: RecordStore) -> None:
    visitor = Browser(application(ROUTES, store=server_store))
    await visitor.get("/write")
    copy = Browser(visitor.app, jar=dict(visitor.jar))
    assert (await visitor.get("/logout")).status == 200
    assert (await copy.get("/")).json() == {}


async def test_a_renewal_moves_the_deadline(clock: Clock, server_store: RecordStore) -> None:
    server_store.__init__(clock)  # type: ignore[misc]  # the same kind of store, with this clock
    visitor = Browser(application(ROUTES, store=server_store, clock=clock, max_age=1000))
    await visitor.get("/write")
    for _ in range(5):
        clock.now += 900
        assert (await visitor.get("/")).json() == {"n": 1}


async def test_the_oldest_session_of_an_owner_ends_beyond_the_limit(server_store: RecordStore) -> None:
    app = application(ROUTES, store=server_store, max_sessions_per_owner=1)
    first, second = Browser(app), Browser(app)
    await first.get("/write")
    await second.get("/write")
    assert [(await visitor.get("/")).json() for visitor in (first, second)] == [{}, {"n": 1}]


async def test_a_store_without_an_index_may_use_all_names_but_those_of_the_index() -> None:
    sprung: list[str] = []
    kind: Any = type("Colliding", (Delegating,), {name: Trap(name, sprung) for name in TAKEN})
    assert not isinstance(kind(), OwnerIndex)
    visitor = Browser(application(ROUTES, store=kind()))
    assert [(await visitor.get(path)).status for path in ("/write", "/write", "/logout")] == [200, 200, 200]
    assert (await visitor.get("/")).json() == {}
    assert sprung == []
