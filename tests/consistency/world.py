"""Where programs run: a store that replies badly, and an event loop in which waiting takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from os import urandom
from typing import Any

from msgspec.structs import replace

from asgi_sessions import MessagePackSerializer, RecordStore, Stored
from asgi_sessions._engine.codec import RecordCodec
from asgi_sessions._engine.record import COMMITS_KEPT, VERSION_SIZE
from tests.browser import Clock

CODEC = RecordCodec(MessagePackSerializer())


class Faulty(RecordStore):
    """A store whose replies get lost, so that a write is repeated, while another process writes to the same record.

    Attributes:
        fault: what happens to the next write; empty: nothing.
        busy: how many calls have not returned.
    """

    def __init__(self, inner: RecordStore) -> None:
        super().__init__()
        self.inner = inner
        self.fault = ""
        self.busy = 0

    async def settled(self) -> None:
        """Return when all who wait do so for each other, or for the time to pass."""
        quiet = 0
        while quiet < 5:
            await asyncio.sleep(0)
            quiet = 0 if self.busy else quiet + 1

    async def read(self, handle: bytes) -> Stored | None:
        return await self._counted(self.inner.read(handle))

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        if self.fault:
            self.fault = ""
            await self.inner.create(handle, new, data, expires_at)
        return await self.inner.create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        return await self._disturbed(handle, lambda: self.inner.swap(handle, old, new, data, expires_at))

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        return await self._disturbed(handle, lambda: self.inner.touch(handle, version, expires_at))

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        return await self._disturbed(handle, lambda: self.inner.delete(handle, version))

    async def _disturbed(self, handle: bytes, write: Callable[[], Awaitable[Any]]) -> Any:
        fault, self.fault = self.fault, ""
        if "lost" in fault:
            await write()
        if "overtaken" in fault:
            await self._overtake(handle)
        return await self._counted(write())

    async def _counted(self, work: Awaitable[Any]) -> Any:
        self.busy += 1
        try:
            return await work
        finally:
            self.busy -= 1

    async def _overtake(self, handle: bytes) -> None:
        """Another process commits something that leaves no trace but its version."""
        stored, version = await self.inner.read(handle), urandom(8)
        if stored is not None:
            record = CODEC.decode(stored.data)
            record = replace(record, commits=(record.commits + version)[-COMMITS_KEPT * VERSION_SIZE :])
            await self.inner.swap(handle, stored.version, version, CODEC.encode(record))


class NoTime(selectors.DefaultSelector):
    """When all tasks wait, the next deadline has come."""

    passed = 0.0  # seconds

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits for somebody else")
        self.passed += 0 if ready else timeout or 0
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        self._no_time = NoTime()
        super().__init__(self._no_time)

    def time(self) -> float:
        return self._no_time.passed


@dataclass
class World:
    """What the programs of one test share.

    Attributes:
        expires: whether records expire by ``clock``.
    """

    loop: asyncio.AbstractEventLoop
    clock: Clock
    store: RecordStore
    expires: bool = True
