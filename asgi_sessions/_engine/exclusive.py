"""Exclusive sections: a lease in the record, so that they work on every record store."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from os import urandom
from random import random
from typing import cast

import anyio
from msgspec.structs import replace

from ..config import Binding
from ..exceptions import LeaseTimeout, NotSupported, SessionError, SessionSuperseded
from ..session import Session
from ..stores.base import RecordStore, blamed
from .exchange import Exchange
from .plan import Plan
from .record import Lease, Loaded

__all__ = ["exclusive"]

logger = logging.getLogger("asgi_sessions")

LONGEST_PAUSE = 0.02  # seconds between two looks at a lease that is taken


@asynccontextmanager
async def exclusive(
    exchange: Exchange, getting: Awaitable[Session], *, lease: float, timeout: float
) -> AsyncIterator[Session]:
    session = await getting
    if not session._policy.server_side:
        raise NotSupported(
            f"session {session.name!r} lives in its cookie: each request has a copy of its own, so there is nothing to "
            "take turns at; keep what must not be spent twice in a server-side store"
        )
    if session._holder:
        raise NotSupported(f"session {session.name!r}: this request is in its exclusive section already")
    await exchange.save(session)
    if session._loaded is not None:
        await _enter(exchange, session, lease, timeout)
    try:
        yield session
    except BaseException:
        for exc in await _leave(exchange, session, drop=True):
            logger.warning("session %r: the lease of an exclusive section was not given back: %s", session.name, exc)
        raise
    for exc in await _leave(exchange, session, drop=False):
        raise exc


async def _enter(exchange: Exchange, session: Session, lease: float, timeout: float) -> None:
    store, loaded = _store(session), cast(Loaded, session._loaded)
    holder = urandom(8)
    try:
        # One contender of a process asks the store, the others queue behind it.
        with anyio.fail_after(timeout):
            async with store.queue(b"exclusive " + loaded.handle):
                await _take_turn(exchange, session, holder, lease)
    except TimeoutError as exc:
        raise LeaseTimeout(f"session {session.name!r}: its exclusive section was not free within {timeout} s") from exc
    session._holder = holder


async def _take_turn(exchange: Exchange, session: Session, holder: bytes, lease: float) -> None:
    pause = 0.001
    while True:
        await exchange.reload(session)
        if session._loaded is None:
            raise SessionSuperseded(f"session {session.name!r} ended or was regenerated meanwhile")
        if await _acquire(exchange, session, Lease(holder, exchange.now() + lease)):
            return
        await anyio.sleep(pause * random())  # noqa: S311 - jitter is no secret
        pause = min(2 * pause, LONGEST_PAUSE)


async def _acquire(exchange: Exchange, session: Session, lease: Lease) -> bool:
    """Try once; an attempt of unknown outcome is taken back."""
    store, loaded, codec = _store(session), cast(Loaded, session._loaded), cast(Binding, session._policy).codec
    try:
        taken = await blamed(store.acquire(loaded, codec, lease, exchange.now()), store, session.name)
    except BaseException:
        session._loaded = replace(loaded, record=replace(loaded.record, lease=lease))
        session._holder = lease.holder
        await _leave(exchange, session, drop=True)
        raise
    if taken is not None:
        session._loaded = taken
    return taken is not None


async def _leave(exchange: Exchange, session: Session, *, drop: bool) -> list[SessionError]:
    """Commit what the block did, or drop it, and give the lease back in the same swap."""
    known = session._loaded or session._edits.doomed
    if drop:
        _restore(session, known)
    failed: list[SessionError] = []
    plan = None
    try:
        plan = exchange.prepare(session)
    except SessionError as exc:
        failed.append(exc)
    if known is not None and session._holder and not failed and (plan is None or not plan.writes):
        plan = _release_only(exchange, session, known)
    if plan is not None:
        plan.release = True
        failed = [error for _, error in await exchange.commit([plan])]
    if failed:
        _restore(session, known)
    session._holder = b""
    return failed


def _restore(session: Session, known: Loaded | None) -> None:
    if known is None:
        session._refill_ended()
        return
    values = cast(Binding, session._policy).codec.values(known.record)
    session._fill(known, values, session.error)


def _release_only(exchange: Exchange, session: Session, loaded: Loaded) -> Plan:
    values = session._encode()
    return Plan(
        session=session,
        binding=cast(Binding, session._policy),
        values=values,
        edits=session._edits,
        filling=session._filling,
        before=loaded,
        after=loaded,
        changed=True,
        change=session._change(values, exchange.now()),
        version=urandom(8),
    )


def _store(session: Session) -> RecordStore:
    return cast(RecordStore, cast(Binding, session._policy).store)
