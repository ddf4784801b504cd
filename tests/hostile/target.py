"""The application under attack, and what a calm answer is."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.lowlevel

from asgi_sessions import (
    CookieRefused,
    CookieStore,
    JSONSerializer,
    MessagePackSerializer,
    RecordStore,
    Serializer,
    Session,
    SessionMiddleware,
    Store,
    Stored,
)
from asgi_sessions._engine.codec import RecordCodec
from asgi_sessions._engine.record import Record, digest
from asgi_sessions.crypto.keys import Keyring

from ..browser import KEY, Browser, Clock, Response, application

COOKIE_KINDS = ("signed", "encrypted")
SERVER_KINDS = ("memory", "filesystem", "redis")
KINDS = (*COOKIE_KINDS, *SERVER_KINDS)

HANDLE = bytes(range(0xA0, 0xB0))
SECRET = bytes(range(0x40, 0x60))
DEADLINE = 5_000_000_000.0  # POSIX seconds; later than any test's clock
SECONDS = 2.0  # for one answer; a thousand times what it takes, because the machine may be busy
MEMORY = 2**21  # bytes that one answer may take at its peak, beside four times what came in

Headers = list[tuple[bytes, bytes]]


class Counting(RecordStore):
    """Counts what a store is asked for; reads that run at once are one round trip."""

    def __init__(self, inner: RecordStore) -> None:
        self.inner = inner
        self.rounds = self.writes = self.put_aside = self.under_way = 0

    async def read(self, handle: bytes) -> Stored | None:
        self.rounds += self.under_way == 0
        self.under_way += 1
        try:
            await anyio.lowlevel.checkpoint()  # as if it took a while, so that those who wait together are seen to
            return await self.inner.read(handle)
        finally:
            self.under_way -= 1

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        self.writes += 1
        return await self.inner.create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        self.writes += 1
        return await self.inner.swap(handle, old, new, data, expires_at)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        self.writes += 1
        return await self.inner.touch(handle, version, expires_at)

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        self.writes += 1
        return await self.inner.delete(handle, version)

    async def quarantine(self, handle: bytes, version: bytes) -> None:
        self.put_aside += 1
        await self.inner.quarantine(handle, version)

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()


@dataclass
class Target:
    """An application whose session lives in one kind of store, and what its attacker may know of it.

    Attributes:
        kind: one of ``KINDS``.
        path: a directory of the test's own; the file store is in its ``sessions``.
        errors: ``session.error`` of each time that the handler ran.
    """

    kind: str
    store: Store
    path: Path
    redis_url: str = ""
    clock: Clock = field(default_factory=Clock)
    errors: list[CookieRefused | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counting = None if isinstance(self.store, CookieStore) else Counting(self.store)  # type: ignore[arg-type]
        self.keyring = Keyring(KEY)
        self.app = self.application()
        self.json_app = self.application(JSONSerializer())

    @property
    def server_side(self) -> bool:
        return self.kind in SERVER_KINDS

    def application(self, serializer: Serializer | None = None, **options: Any) -> SessionMiddleware:
        """Its routes: ``/`` reads, ``/login``, ``/set``, ``/logout``."""
        serializer = serializer or MessagePackSerializer()
        options = {"store": self.counting or self.store, "encrypt": self.kind == "encrypted", **options}
        routes = {"/": self.look, "/login": login, "/set": put, "/logout": logout}
        return application(routes, serializer=serializer, clock=self.clock, **options)

    async def look(self, session: Session) -> Any:
        values = {**session, "flashes": session.peek_flashes()} if session.peek_flashes() else dict(session)
        self.errors.append(session.error)
        return values

    def browser(self) -> Browser:
        return Browser(self.app)

    def seal(self, token: bytes, cookie_name: str = "session", now: float | None = None) -> str:
        """An authentic cookie: what only the holder of the key can make."""
        make = self.keyring.encrypter if self.kind == "encrypted" else self.keyring.signer
        return make(cookie_name).seal(token, self.clock.now if now is None else now).decode()

    def codec(self, serializer: Any = None) -> RecordCodec:
        return RecordCodec(serializer or MessagePackSerializer(), readable=self.server_side)

    def record(self, **fields: Any) -> Record:
        now = int(self.clock.now)
        own = {"secret_hash": digest(SECRET)} if self.server_side else {"id": b"identity"}
        return Record(**{"values": b"\x81\xa4user\xa3ann", "created_at": now, "started_at": now, **own, **fields})

    async def planted(self, data: bytes) -> str:
        """An authentic cookie that leads to a record of these bytes: in the store, or in the cookie itself."""
        if not self.server_side:
            return self.seal(data)
        assert isinstance(self.store, RecordStore)
        assert await self.store.create(HANDLE, b"version!", data, DEADLINE)
        return self.seal(HANDLE + SECRET)


async def login(session: Session) -> None:
    session.owner = "ann"
    session["user"] = "ann"


async def put(session: Session) -> None:
    session["color"] = "green"


async def logout(session: Session) -> None:
    session.invalidate()


async def answered(target: Target, headers: Headers, app: SessionMiddleware | None = None) -> Response:
    """Send these headers; the answer must be that of a visitor without a cookie, to the byte, in bounded time."""
    counting, ran = target.counting, len(target.errors)
    writes, rounds = (counting.writes, counting.rounds) if counting else (0, 0)
    started_at = time.perf_counter()
    response = await Browser(app or target.app).get(headers=headers)
    assert time.perf_counter() - started_at < SECONDS
    assert len(target.errors) == ran + 1, "the handler ran once"
    assert response == CALM
    if counting:
        assert counting.writes == writes, "nothing was written"
        assert counting.rounds <= rounds + 1, "at most one round trip"
    return response


CALM = Response(200, [(b"content-type", b"application/json"), (b"vary", b"Cookie")], b"{}")


async def refused_calmly(
    target: Target, headers: Headers, error: type[CookieRefused] | None, app: SessionMiddleware | None = None
) -> None:
    """The expected outcome of every hostile cookie.

    The handler ran, once, with an empty session whose ``error`` says why; status, headers and body are those of a
    visitor without any cookie; nothing was written to the store, and at most one round trip made; time and memory
    are bounded.
    """
    incoming = sum(len(name) + len(value) for name, value in headers)
    tracemalloc.start()
    try:
        await answered(target, headers, app)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY + 4 * incoming, f"took {peak} bytes at its peak"
    assert isinstance(target.errors[-1], error or type(None))


def cookies(*values: str | bytes, name: bytes = b"session") -> Headers:
    """One Cookie header with these values under one name."""
    raw = [value if isinstance(value, bytes) else value.encode("ascii") for value in values]
    return [(b"cookie", b"; ".join(name + b"=" + value for value in raw))]


def raw(*headers: bytes | Sequence[int]) -> Headers:
    return [(b"cookie", bytes(header)) for header in headers]
