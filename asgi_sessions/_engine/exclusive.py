"""Exclusive sections: a lease in the record, so that they work on every record store."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import urandom
from random import random

import anyio
from msgspec.structs import replace

from ..exceptions import LeaseTimeout, NotSupported, SessionError, SessionSuperseded
from .backends import RecordBackend, fill, fill_anew
from .exchange import commit, reload, save
from .plan import Commit, Plan, decide, encode, lifetime_of
from .queue import KeyedLock
from .record import VERSION_SIZE, Change, Lease, Loaded
from .state import SessionState

logger = logging.getLogger("asgi_sessions")

LONGEST_PAUSE = 0.02  # seconds between two looks at a lease that is taken


@asynccontextmanager
async def exclusive(state: SessionState, *, lease: float, timeout: float) -> AsyncIterator[None]:
    """Hold the lease of a session; see ``SessionRegistry.exclusive``."""
    backend, name = state.backend, state.profile.name
    if not isinstance(backend, RecordBackend):
        raise NotSupported(
            f"session {name!r} lives in its cookie: each request has a copy of its own, so there is nothing to "
            "take turns at; keep what must not be spent twice in a server-side store"
        )
    if state.holder:
        raise NotSupported(f"session {name!r}: this request is in its exclusive section already")
    section = _Section(backend, state)
    await save(state)
    if state.loaded is not None:
        await section.enter(state.loaded.handle, lease, timeout)
    try:
        yield
    except BaseException:
        for exc in await section.leave(drop=True):
            logger.warning("session %r: the lease of an exclusive section was not given back: %s", name, exc)
        raise
    for exc in await section.leave(drop=False):
        raise exc


class _Section:
    def __init__(self, backend: RecordBackend, state: SessionState) -> None:
        self._backend, self._state = backend, state

    async def enter(self, handle: bytes, lease: float, timeout: float) -> None:
        holder, name = urandom(8), self._state.profile.name
        try:
            # One contender of a process asks the store, the others queue behind it.
            with anyio.fail_after(timeout):
                async with KeyedLock(self._backend.store, b"exclusive " + handle):
                    await self._take_turn(holder, lease)
        except TimeoutError as exc:
            raise LeaseTimeout(f"session {name!r}: its exclusive section was not free within {timeout} s") from exc
        self._state.holder = holder

    async def leave(self, *, drop: bool) -> list[SessionError]:
        """Commit what the block did, or drop it, and give the lease back in the same swap."""
        state, plan = self._state, None
        known = state.loaded or state.edits.doomed
        failed: list[SessionError] = []
        if drop:
            self._restore(known)
        try:
            plan = decide(state)
        except SessionError as exc:
            failed.append(exc)
        if known is not None and state.holder and not failed and (plan is None or not plan.writes):
            plan = self._release_only(known)
        if plan is not None:
            if isinstance(plan.step, Commit):
                plan.step = replace(plan.step, release=True)
            failed = [failure.error for failure in await commit(plan)]
        if failed:
            self._restore(known)
        state.holder = b""
        return failed

    async def _take_turn(self, holder: bytes, lease: float) -> None:
        state, pause = self._state, 0.001
        while True:
            await reload(state)
            if state.loaded is None:
                raise SessionSuperseded(f"session {state.profile.name!r} ended or was regenerated meanwhile")
            if await self._acquire(state.loaded, Lease(holder, state.exchange.now() + lease)):
                return
            await anyio.sleep(pause * random())  # noqa: S311 - jitter is no secret
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _acquire(self, loaded: Loaded, lease: Lease) -> bool:
        """Try once; an attempt of unknown outcome is taken back."""
        state = self._state
        try:
            taken = await self._backend.repository.acquire(loaded, lease, state.exchange.now())
        except BaseException:
            state.loaded = replace(loaded, record=replace(loaded.record, lease=lease))
            state.holder = lease.holder
            await self.leave(drop=True)
            raise
        state.loaded = taken or loaded
        return taken is not None

    def _restore(self, known: Loaded | None) -> None:
        state = self._state
        if known is None:
            fill_anew(state)
        else:
            fill(state, known, state.profile.codec.values(known.record), error=state.refusal)

    def _release_only(self, loaded: Loaded) -> Plan:
        state, encoded = self._state, encode(self._state)
        change = Change(state.base, encoded, state.exchange.now(), state.edits)
        plan = Plan(state, encoded, state.edits, state.filling, lifetime_of(state), loaded, True, after=loaded)
        plan.step = Commit(loaded, change, urandom(VERSION_SIZE), holder=state.holder, release=True)
        return plan
