"""Whose sessions are these: list them, revoke them, log out everywhere."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from asgi_sessions import (
    CookieStore,
    MemoryStore,
    NotSupported,
    RecordStore,
    Session,
    SessionConfig,
    SessionInfo,
    SessionManager,
    get_sessions,
)
from asgi_sessions.crypto.keys import Keyring

from .browser import KEY, OTHER_KEY, Browser, Clock, application

DAY = 86400


async def login(scope: Any) -> str | None:
    session = scope["session"]
    name, _, device = scope["query_string"].decode().partition("@")
    session.owner = int(name) if name.isdigit() else name
    session["user"] = name
    session.label = {"device": device}
    return None


async def who(session: Session) -> Any:
    return session.owner


async def write(session: Session) -> None:
    session["n"] = session.get("n", 0) + 1


async def logout(session: Session) -> None:
    session.invalidate()


async def infos(scope: Any) -> list[Any]:
    manager = get_sessions(scope).manager()
    owner = scope["session"].owner
    return sorted([(info.label["device"], info.current) async for info in manager.list(owner)])


async def elsewhere(scope: Any) -> int:
    session = scope["session"]
    return await get_sessions(scope).manager().revoke_all(session.owner, except_handle=session.handle)


ROUTES = {
    "/login": login,
    "/who": who,
    "/write": write,
    "/logout": logout,
    "/infos": infos,
    "/elsewhere": elsewhere,
}


class Visitor(Browser):
    def scope(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        path, _, query = path.partition("?")
        return super().scope(path, *args, **kwargs) | {"query_string": query.encode()}


def site(store: Any, **options: Any) -> Any:
    return application(ROUTES, store=store, **options)


async def logged_in(app: Any, name: str = "ann", device: str = "laptop") -> Visitor:
    visitor = Visitor(app)
    assert (await visitor.get(f"/login?{name}@{device}")).status == 200
    return visitor


async def all_of(manager: SessionManager, owner: Any = "ann") -> list[SessionInfo]:
    return [info async for info in manager.list(owner)]


@pytest.fixture
def manager(server_store: RecordStore) -> SessionManager:
    return SessionManager(server_store, KEY)


async def test_the_sessions_of_an_owner_are_listed_and_nobody_else_s(server_store: RecordStore) -> None:
    app = site(server_store)
    laptop, phone = await logged_in(app), await logged_in(app, device="phone")
    await logged_in(app, "bob")
    assert (await laptop.get("/infos")).json() == [["laptop", True], ["phone", False]]
    assert (await phone.get("/infos")).json() == [["laptop", False], ["phone", True]]


async def test_what_is_told_of_a_session(server_store: RecordStore, manager: SessionManager, clock: Clock) -> None:
    app = site(server_store, clock=clock, max_age=10 * DAY)
    visitor = await logged_in(app)
    clock.now += 5 * DAY
    await visitor.get("/who")
    manager = SessionManager(server_store, KEY, max_age=10 * DAY, clock=clock)
    [info] = await all_of(manager)
    assert len(info.handle) == 32
    assert (info.created_at, info.renewed_at) == (clock.now - 5 * DAY, clock.now)
    assert info.expires_at == clock.now + 10 * DAY
    assert (info.current, info.label) == (False, {"device": "laptop"})


async def test_a_revoked_session_is_gone_and_a_slow_request_can_not_bring_it_back(
    server_store: RecordStore, manager: SessionManager
) -> None:
    started, go_on = anyio.Event(), anyio.Event()

    async def slow(session: Session) -> None:
        session["late"] = True
        started.set()
        await go_on.wait()

    app = application(ROUTES | {"/slow": slow}, store=server_store)
    visitor = await logged_in(app)
    [info] = await all_of(manager)
    async with anyio.create_task_group() as group:
        group.start_soon(visitor.get, "/slow")
        await started.wait()
        assert await manager.revoke(info.handle)
        go_on.set()
    assert (await visitor.get("/who")).json() is None
    assert await all_of(manager) == []
    assert not await manager.revoke(info.handle)


async def test_logging_out_everywhere_else_keeps_this_session(
    server_store: RecordStore, manager: SessionManager
) -> None:
    app = site(server_store)
    here, *others = [await logged_in(app, device=str(n)) for n in range(5)]
    bob = await logged_in(app, "bob")
    assert (await here.get("/elsewhere")).json() == 4
    assert (await here.get("/who")).json() == "ann"
    assert [(await other.get("/who")).json() for other in others] == [None] * 4
    assert (await bob.get("/who")).json() == "bob"
    assert await manager.count("ann") == 1
    assert await manager.revoke_all("ann") == 1
    assert (await here.get("/who")).json() is None


async def test_a_logout_takes_the_session_off_the_list(server_store: RecordStore, manager: SessionManager) -> None:
    visitor = await logged_in(site(server_store))
    await visitor.get("/logout")
    assert await server_store.listed(Keyring(KEY).owner_names("session").current("ann")) == {}  # type: ignore[attr-defined]


async def test_a_change_of_owner_moves_the_session(server_store: RecordStore, manager: SessionManager) -> None:
    visitor = await logged_in(site(server_store))
    await visitor.get("/login?bob@laptop")
    assert await all_of(manager, "ann") == []
    assert len(await all_of(manager, "bob")) == 1
    assert await manager.revoke_all("ann") == 0
    assert (await visitor.get("/who")).json() == "bob"


@pytest.mark.parametrize(
    "owner", ["ann", "", "7", 7, -(2**40), "Ünï{code}\r\n\0*?", "x" * 2**20], ids=lambda o: repr(o)[:12]
)
async def test_any_owner_is_an_owner(server_store: RecordStore, manager: SessionManager, owner: Any) -> None:
    async def enter(session: Session) -> None:
        session.owner = owner

    visitor = Visitor(application({"/": enter, "/who": who}, store=server_store))
    await visitor.get("/")
    assert [info.label for info in await all_of(manager, owner)] == [{}]
    assert await all_of(manager, 7 if owner == "7" else "7") == []
    assert await manager.revoke_all(owner) == 1
    assert (await visitor.get("/who")).json() is None


async def test_an_entry_that_stayed_behind_does_not_end_the_session_of_another_owner(
    server_store: RecordStore, manager: SessionManager
) -> None:
    visitor = await logged_in(site(server_store), "bob")
    [info] = await all_of(manager, "bob")
    former = Keyring(KEY).owner_names("session").current("ann")
    await server_store.enlist(former, bytes.fromhex(info.handle), 5e9)  # type: ignore[attr-defined]
    assert await manager.revoke_all("ann") == 0
    assert (await visitor.get("/who")).json() == "bob"
    assert await server_store.listed(former) == {}  # type: ignore[attr-defined]


async def test_the_index_does_not_hold_the_owner_in_clear(redis_url: str) -> None:
    from redis.asyncio import Redis

    from asgi_sessions import RedisStore

    store = RedisStore(redis_url, prefix="clear:")
    await logged_in(site(store, encrypt=True), "ann.of.green.gables")
    client = Redis.from_url(redis_url)
    keys = [key async for key in client.scan_iter("clear:*")]
    dumped = b"".join([key + bytes(await client.dump(key)) for key in keys])
    await client.aclose()
    await store.close()
    assert len(keys) == 2
    assert b"green" not in dumped


async def test_entries_whose_session_is_gone_are_dropped_when_met(
    server_store: RecordStore, manager: SessionManager
) -> None:
    await logged_in(site(server_store))
    [info] = await all_of(manager)
    await server_store.delete(bytes.fromhex(info.handle))
    name = Keyring(KEY).owner_names("session").current("ann")
    assert len(await server_store.listed(name)) == 1  # type: ignore[attr-defined]
    assert await all_of(manager) == []
    assert await server_store.listed(name) == {}  # type: ignore[attr-defined]


async def test_a_rotated_key_still_finds_the_sessions_of_the_former_one(server_store: RecordStore) -> None:
    visitor = await logged_in(site(server_store))
    rotated = SessionManager(server_store, OTHER_KEY, fallback_keys=[KEY])
    assert len(await all_of(rotated)) == 1
    visitor.app = site(server_store, secret_key=OTHER_KEY, fallback_keys=[KEY])
    assert (await visitor.get("/who")).json() == "ann"  # renewed, and listed under the new key
    assert len(await all_of(SessionManager(server_store, OTHER_KEY))) == 1
    assert await rotated.revoke_all("ann") == 1
    assert (await visitor.get("/who")).json() is None


async def test_of_more_sessions_than_allowed_the_oldest_goes(server_store: RecordStore, clock: Clock) -> None:
    app = site(server_store, max_sessions_per_owner=2, clock=clock)
    visitors = []
    for device in ("first", "second", "third"):
        visitors.append(await logged_in(app, device=device))
        clock.now += 60
    assert [(await visitor.get("/who")).json() for visitor in visitors] == [None, "ann", "ann"]


async def test_several_sessions_of_one_store_are_listed_apart(server_store: RecordStore) -> None:
    async def enter(scope: Any) -> list[int]:
        sessions = get_sessions(scope)
        for name in ("session", "admin"):
            (await sessions.get(name)).owner = "ann"
        await sessions.save()
        return [await sessions.manager(name).count("ann") for name in ("session", "admin")]

    app = application(enter, store=server_store, sessions=[SessionConfig("admin", encrypt=True)])
    assert (await Visitor(app).get()).json() == [1, 1]


async def test_requests_that_do_not_change_the_owner_ask_the_index_nothing(clock: Clock) -> None:
    class Counting(MemoryStore):
        asked: list[str]

        async def enlist(self, *args: Any) -> bytes:
            self.asked.append("enlist")
            return await super().enlist(*args)

        async def delist(self, *args: Any) -> None:
            self.asked.append("delist")
            await super().delist(*args)

        async def listed(self, *args: Any) -> Any:
            self.asked.append("listed")
            return await super().listed(*args)

    store = Counting(clock=clock)
    store.asked = []
    visitor = await logged_in(site(store, clock=clock))
    assert store.asked == ["enlist", "enlist"]
    store.asked.clear()
    for path in ("/write", "/who", "/write"):
        await visitor.get(path)
    assert store.asked == []
    for path in ("/who", "/write"):  # a renewal is told, alone or with a change
        clock.now += 5 * DAY
        await visitor.get(path)
        assert store.asked == ["enlist"]
        store.asked.clear()
    await visitor.get("/logout")
    assert store.asked == ["delist"]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_no_login_survives_a_revocation_whatever_comes_between() -> None:
    """Each step of both may be overtaken by any of the other's; 500 orders, each of its own seed."""
    for seed in range(500):
        order = random.Random(seed)
        store = Shuffled(order)
        app = site(store)
        manager = SessionManager(store, KEY)
        visitors = [await logged_in(app, device=str(n)) for n in range(order.randrange(3))]
        store.shuffles = True
        newcomers = [Visitor(app) for _ in range(order.randrange(1, 4))]
        visitors += newcomers

        async with anyio.create_task_group() as group:
            for newcomer in newcomers:
                group.start_soon(newcomer.get, "/login?ann@new")
            for visitor in visitors:
                group.start_soon(visitor.get, "/write")
            await store.wait()
            begun = {*store.enlisted}
            await manager.revoke_all("ann")
        store.shuffles = False
        alive = {info.handle for info in await all_of(manager)}
        assert not alive & {handle.hex() for handle in begun}, seed
        listed_and_live = [visitor for visitor in visitors if (await visitor.get("/who")).json() == "ann"]
        assert len(listed_and_live) <= len(alive), seed
        assert await manager.revoke_all("ann") == len(alive)
        assert [(await visitor.get("/who")).json() for visitor in visitors] == [None] * len(visitors), seed


class Shuffled(MemoryStore):
    """Every verb lets others go first for a while that a seed decides."""

    def __init__(self, order: random.Random) -> None:
        super().__init__()
        self.order = order
        self.shuffles = False
        self.enlisted: list[bytes] = []

    async def wait(self) -> None:
        if self.shuffles:
            for _ in range(self.order.randrange(6)):
                await anyio.lowlevel.checkpoint()

    async def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes:
        await self.wait()
        generation = await super().enlist(owner, handle, expires_at)
        self.enlisted.append(handle)
        await self.wait()
        return generation

    async def listed(self, owner: bytes) -> Any:
        await self.wait()
        found = await super().listed(owner)
        await self.wait()
        return found

    async def bar(self, owner: bytes, generation: bytes, until: float) -> None:
        await self.wait()
        await super().bar(owner, generation, until)
        await self.wait()

    async def delist(self, owner: bytes, handles: Any) -> None:
        await self.wait()
        await super().delist(owner, handles)

    async def read(self, handle: bytes) -> Any:
        await self.wait()
        return await super().read(handle)

    async def create(self, *args: Any) -> bool:
        await self.wait()
        created = await super().create(*args)
        await self.wait()
        return created

    async def swap(self, *args: Any) -> Any:
        await self.wait()
        return await super().swap(*args)

    async def delete(self, *args: Any) -> Any:
        await self.wait()
        return await super().delete(*args)


async def test_a_login_that_a_revocation_overtook_is_taken_back() -> None:
    class Overtaken(MemoryStore):
        async def create(self, *args: Any) -> bool:
            await SessionManager(self, KEY).revoke_all("ann")
            return await super().create(*args)

    store = Overtaken()
    visitor = Visitor(site(store))
    response = await visitor.get("/login?ann@laptop")
    assert (response.status, response.set_cookies) == (200, [])
    assert await all_of(SessionManager(store, KEY)) == []


def test_stores_without_an_index_and_cookies_say_what_to_use() -> None:
    with pytest.raises(NotSupported, match=r"no server can list or end a cookie .*; use a MemoryStore"):
        SessionManager(CookieStore(), KEY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_sessions_per_owner=3 needs a store with an index of owners"):
        application(who, max_sessions_per_owner=3)
    with pytest.raises(ValueError, match="max_sessions_per_owner=0: write a number from 1"):
        application(who, store=MemoryStore(), max_sessions_per_owner=0)


@pytest.mark.parametrize("handle", ["", "x", "00", "é" * 32, None])
async def test_what_is_no_handle_is_named(handle: Any) -> None:
    with pytest.raises(ValueError, match="is no handle; write the 32 hexadecimal digits"):
        await SessionManager(MemoryStore(), KEY).revoke(handle)


@pytest.mark.parametrize(
    ("label", "error"), [("laptop", TypeError), ({"a": 1}, TypeError), ({"a": "x" * 1025}, ValueError)]
)
async def test_a_label_is_a_few_words(label: Any, error: type[Exception]) -> None:
    async def enter(session: Session) -> str:
        with pytest.raises(error, match="label"):
            session.label = label
        return "refused"

    assert (await Visitor(application(enter, store=MemoryStore())).get()).json() == "refused"


@pytest.mark.parametrize("owner", [None, "bob", "ann"])
async def test_a_logout_may_begin_another_session(
    server_store: RecordStore, manager: SessionManager, owner: Any
) -> None:
    async def anew(session: Session) -> None:
        session.invalidate()
        session.owner = owner
        session.flash("You are logged out.")

    visitor = await logged_in(application(ROUTES | {"/anew": anew}, store=server_store))
    [former] = await all_of(manager)
    assert (await visitor.get("/anew")).status == 200
    assert (await visitor.get("/who")).json() == owner
    assert former.handle not in [info.handle for info in await all_of(manager)]
    assert await manager.count("bob") == (owner == "bob")
