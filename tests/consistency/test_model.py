"""Random interleavings of a browser's requests, against a small model of what must come out.

Each program is a sequence of steps over up to three requests at once: a request begins (it loads), does something to
its session, and ends (it commits, and the browser keeps its cookies). What every request sees, and what is there in the
end, must be what the model says. A program is made from its seed alone, so a failure can be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from asgi_sessions import (
    FilesystemStore,
    MemoryStore,
    RecordStore,
    RedisStore,
    Session,
    SessionRegistry,
    SessionSuperseded,
    Stored,
)
from tests.browser import Browser, Clock, Response, application

MAX_AGE = 1000  # seconds
SUPERSEDED_FOR = 60  # seconds
KEYS = "abc"
STEPS = 14
ACTS = ["set", "set", "set", "delete", "flash", "take", "clear", "regenerate", "invalidate", "save", "exclusive"]
AT_ONCE = 3


# -- the model ------------------------------------------------------------------------------------------------------


@dataclass
class Kept:
    """A record, as the model has it."""

    values: dict[str, int]
    flashes: list[str]
    epoch: int
    secret: int
    ends_at: float
    previous: int = -1
    previous_until: float = 0


KEEP = object()


@dataclass
class Known:
    """What a request knows of its session; ``kept`` None: it has none."""

    handle: int | None
    values: dict[str, int]
    flashes: list[str]
    epoch: int = 0
    dead: bool = False
    doomed: int | None = None  # the handle that invalidate() left behind
    doomed_epoch: int = 0
    cleared: bool = False
    regenerated: bool = False
    added: list[str] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)
    base: dict[str, int] = field(default_factory=dict)
    secret: int = -1
    cookie: Any = KEEP  # what the response will say: a token, None to expire, KEEP for nothing

    def settle(self, kept: Kept | None = None) -> None:
        """What was done so far is dealt with."""
        self.base, self.added, self.consumed = dict(self.values), [], []
        self.cleared = self.regenerated = False
        self.doomed = None
        if kept is not None:
            self.flashes, self.epoch, self.secret = list(kept.flashes), kept.epoch, kept.secret

    def drop(self) -> None:
        """A logout, a login or a clear was faster."""
        self.dead, self.cookie = True, KEEP
        if self.doomed is not None:
            self.handle, self.flashes = None, []
        self.settle()

    def visible_flashes(self) -> list[str]:
        stored = [] if self.cleared else [flash for flash in self.flashes if flash not in self.consumed]
        return stored + self.added

    def has_content(self) -> bool:
        return bool(self.values or self.visible_flashes())


Token = tuple[int, int, float]  # handle, secret, and when it was sealed


class Model:
    def __init__(self, now: float, *, rolling: bool) -> None:
        self.rolling = rolling
        self.records: dict[int, Kept] = {}
        self.jar: Token | None = None
        self.now = now
        self.made = 0

    def new(self) -> int:
        self.made += 1
        return self.made

    def record(self, handle: int | None) -> Kept | None:
        kept = self.records.get(handle) if handle is not None else None
        return kept if kept is not None and kept.ends_at > self.now else None

    def begin(self) -> Known:
        if self.jar is None:
            return Known(None, {}, [])
        handle, secret, sealed_at = self.jar
        kept = self.record(handle)
        if kept is None or kept.secret != secret:
            superseded = kept is not None and kept.previous == secret and self.now < kept.previous_until
            return Known(None, {}, [], dead=superseded)
        if self.rolling and self.now >= sealed_at + MAX_AGE:
            return Known(None, {}, [])
        values = dict(kept.values)
        return Known(handle, values, list(kept.flashes), kept.epoch, base=dict(values), secret=secret)

    def end(self, known: Known) -> None:
        self.save(known)
        if known.cookie is not KEEP:
            self.jar = known.cookie

    def save(self, known: Known) -> None:
        if known.dead:
            known.settle()
            return
        if known.cleared and not known.has_content() and known.handle is not None:
            known.doomed, known.doomed_epoch, known.handle = known.handle, known.epoch, None
        if known.doomed is not None and not self.delete(known):
            return
        if known.handle is not None:
            self.commit(known, known.handle)
        elif known.has_content():
            self.create(known)

    def delete(self, known: Known) -> bool:
        kept, doomed = self.record(known.doomed), known.doomed
        if kept is None or kept.epoch != known.doomed_epoch or doomed is None:
            known.drop()
            return False
        del self.records[doomed]
        known.doomed = None
        if not known.has_content():
            known.cookie, known.flashes = None, []
            known.settle()
        return True

    def create(self, known: Known) -> None:
        handle, secret = self.new(), self.new()
        kept = self.records[handle] = Kept(dict(known.values), list(known.added), 0, secret, self.now + MAX_AGE)
        known.handle, known.cookie = handle, (handle, secret, self.now)
        known.settle(kept)

    def commit(self, known: Known, handle: int) -> None:
        edited = known.cleared or known.regenerated or known.added or known.consumed
        if not edited and known.values == known.base and not self.rolling:
            return
        kept = self.record(handle)
        if kept is None or kept.epoch != known.epoch:
            known.drop()
            return
        if known.cleared:
            kept.values, kept.flashes = dict(known.values), list(known.added)
        else:
            for key in known.base.keys() - known.values.keys():
                kept.values.pop(key, None)
            kept.values |= {k: v for k, v in known.values.items() if known.base.get(k) != v}
            kept.flashes = [flash for flash in kept.flashes if flash not in known.consumed] + known.added
        if known.cleared or known.regenerated:
            kept.epoch += 1
        if known.regenerated:
            kept.previous, kept.previous_until = kept.secret, self.now + SUPERSEDED_FOR
            kept.secret = self.new()
        if known.regenerated or self.rolling:
            kept.ends_at = self.now + MAX_AGE
            known.cookie = (handle, kept.secret, self.now)
        known.secret = kept.secret
        known.settle(kept)

    def exclusive(self, known: Known, key: str, value: int) -> None:
        """Save, load fresh, set one key, save: nobody else is in between."""
        dropped = not known.dead and self.would_drop(known)
        self.save(known)
        if dropped:
            return
        if known.handle is None:
            known.values[key] = value
            self.save(known)
            return
        kept = self.record(known.handle)
        if kept is None or kept.secret != known.secret:
            known.handle, known.values, known.flashes, known.dead = None, {}, [], True
            known.settle()
            return
        known.dead, known.values = False, dict(kept.values)
        known.settle(kept)
        known.values[key] = value
        self.save(known)

    def would_drop(self, known: Known) -> bool:
        trial = copy.deepcopy(self)
        probe = copy.deepcopy(known)
        trial.save(probe)
        return probe.dead


# -- the real thing -------------------------------------------------------------------------------------------------


class Request:
    """A request that does one thing after the other, as it is told."""

    def __init__(self, browser: Browser, path: str) -> None:
        self.todo: asyncio.Queue[Any] = asyncio.Queue()
        self.done: asyncio.Queue[Any] = asyncio.Queue()
        self.task: asyncio.Task[Response] = asyncio.ensure_future(browser.get(path))  # it runs at the next await

    async def run(self, scope: Any) -> None:
        """Steps get the session; asynchronous ones may find that somebody else was faster."""
        self.sessions: SessionRegistry = scope["sessions"]
        while (step := await self.todo.get()) is not None:
            result = step(scope["session"])
            if inspect.isawaitable(result):
                with contextlib.suppress(SessionSuperseded):
                    await result
            await self.done.put(result)

    async def do(self, step: Any) -> Any:
        self.todo.put_nowait(step)
        return await self.done.get()

    async def end(self) -> Response:
        self.todo.put_nowait(None)
        return await self.task


class Repeating(MemoryStore):
    """Now and then a reply is lost and the write is repeated."""

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        super().__init__(clock=clock)
        self.chance = chance

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        if self.chance.random() < 0.3:
            await super().create(handle, new, data, expires_at)
        return await super().create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        if self.chance.random() < 0.3:
            await super().swap(handle, old, new, data, expires_at)
        return await super().swap(handle, old, new, data, expires_at)


def look(session: Session) -> Any:
    return {**session}, [message for _, message in session.peek_flashes()]


class Program:
    """One seed's steps, done to the model and to the real thing."""

    def __init__(self, seed: int, store: RecordStore, clock: Clock, *, expires: bool) -> None:
        self.chance = random.Random(seed)
        rolling = self.chance.random() < 0.5
        self.model, self.clock, self.expires = Model(clock.now, rolling=rolling), clock, expires
        self.requests: list[tuple[Request, Known]] = []
        self.by_path: dict[str, Request] = {}
        self.counter = 0

        async def handle(scope: Any) -> None:
            await self.by_path[scope["path"]].run(scope)

        # A rolling session is renewed by each request here: the deadline moves by touch, or together with a change.
        lifetime: Any = {"max_age": MAX_AGE, "rolling": rolling, "refresh_interval": 0 if rolling else None}
        self.browser = Browser(application(handle, store=store, clock=clock, **lifetime))

    async def run(self) -> None:
        for _ in range(STEPS):
            await self.step()
        while self.requests:
            await self.end(self.requests[0])
        await self.begin()
        await self.end(self.requests[0])

    async def step(self) -> None:
        choice = self.chance.random()
        if not self.requests or (choice < 0.3 and len(self.requests) < AT_ONCE):
            await self.begin()
        elif choice < 0.5:
            await self.end(self.chance.choice(self.requests))
        elif choice < 0.53 and self.expires:
            self.clock.now += self.chance.choice([30, 70, MAX_AGE + 1])
            self.model.now = self.clock.now
        else:
            await self.act(*self.chance.choice(self.requests))

    async def begin(self) -> None:
        self.counter += 1
        path = f"/{self.counter}"
        request = self.by_path[path] = Request(self.browser, path)
        known = self.model.begin()
        self.requests.append((request, known))
        assert await request.do(look) == (known.values, known.flashes)

    async def end(self, running: tuple[Request, Known]) -> None:
        request, known = running
        self.requests.remove(running)
        assert (await request.end()).status == 200
        self.model.end(known)
        assert (self.model.jar is None) == (not self.browser.jar)

    async def act(self, request: Request, known: Known) -> None:
        act = self.chance.choice(ACTS)
        await getattr(self, f"act_{act}")(request, known)
        assert await request.do(look) == (known.values, known.visible_flashes())

    async def act_set(self, request: Request, known: Known) -> None:
        key, value = self.chance.choice(KEYS), self.chance.randrange(1000)
        known.values[key] = value
        await request.do(lambda session: session.__setitem__(key, value))

    async def act_delete(self, request: Request, known: Known) -> None:
        key = self.chance.choice(KEYS)
        known.values.pop(key, None)
        await request.do(lambda session: session.pop(key, None))

    async def act_flash(self, request: Request, known: Known) -> None:
        self.counter += 1
        message = str(self.counter)
        known.added.append(message)
        await request.do(lambda session: session.flash(message))

    async def act_take(self, request: Request, known: Known) -> None:
        expected = known.visible_flashes()
        known.consumed += [flash for flash in expected if flash not in known.added]
        known.added.clear()
        taken = await request.do(lambda session: [message for _, message in session.flashes()])
        assert taken == expected

    async def act_clear(self, request: Request, known: Known) -> None:
        known.values, known.added, known.cleared = {}, [], True
        await request.do(Session.clear)

    async def act_regenerate(self, request: Request, known: Known) -> None:
        known.regenerated = True
        await request.do(Session.regenerate)

    async def act_invalidate(self, request: Request, known: Known) -> None:
        if known.handle is not None:
            known.doomed, known.doomed_epoch = known.handle, known.epoch
        known.handle, known.values, known.flashes, known.base = None, {}, [], {}
        known.added, known.consumed, known.cleared, known.regenerated = [], [], False, False
        await request.do(Session.invalidate)

    async def act_save(self, request: Request, known: Known) -> None:
        self.model.save(known)
        await request.do(Session.save)

    async def act_exclusive(self, request: Request, known: Known) -> None:
        key, value = self.chance.choice(KEYS), self.chance.randrange(1000)
        self.model.exclusive(known, key, value)

        async def section(session: Session) -> None:
            async with request.sessions.exclusive(timeout=5) as inside:
                inside[key] = value

        await request.do(section)


def seeds(request: pytest.FixtureRequest, usual: int, chaos: int) -> range:
    return range(chaos if request.config.getoption("--chaos") else usual)


async def test_on_memory_with_lost_replies_and_expiry(request: pytest.FixtureRequest) -> None:
    for seed in seeds(request, 10_000, 10_000):
        clock = Clock()
        store = Repeating(clock, random.Random(seed))
        await checked(seed, Program(seed, store, clock, expires=True))


async def test_on_files(request: pytest.FixtureRequest, tmp_path: Any) -> None:
    store = FilesystemStore(tmp_path)
    for seed in seeds(request, 500, 10_000):
        await checked(seed, Program(seed, store, Clock(), expires=False))
    await store.close()


async def test_on_redis(request: pytest.FixtureRequest, redis_url: str, tmp_path: Any) -> None:
    store = RedisStore(redis_url, prefix=f"{tmp_path}:")
    for seed in seeds(request, 500, 10_000):
        await checked(seed, Program(seed, store, Clock(), expires=False))
    await store.close()


async def checked(seed: int, program: Program) -> None:
    try:
        await program.run()
    except BaseException as exc:
        exc.add_note(f"seed {seed}")
        raise
    finally:
        for request, _ in program.requests:
            request.task.cancel()
