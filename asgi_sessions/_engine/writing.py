"""Brings the store in line with a plan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import anyio
from msgspec.structs import replace

from ..exceptions import SessionConflict, StoreTimeout
from ..stores.base import Commit, RecordStore, Rival
from .owners import commit_in_step, concerns_owner
from .plan import Plan
from .record import Change, Loaded

__all__ = ["line_up", "take", "write"]


def write(plan: Plan, seconds: float, clock: Callable[[], float]) -> Awaitable[Loaded | Rival | None]:
    """Write what was planned for a session on the server; nearly always that is all.

    Args:
        seconds: that all of it may take.
        clock: POSIX seconds.

    Returns:
        What is kept, or was deleted. None: a logout, a login or a ``clear()`` elsewhere was faster. A rival was faster
        with another change: ``line_up``.

    Raises:
        StoreError: the store could not do it, or not in time.
    """
    binding, change = plan.binding, plan.change
    store: RecordStore = binding.store  # type: ignore[assignment]  # the other kind has nothing to write
    only_values = change is not None and change.only_values and plan.expires_at is None
    if not only_values and concerns_owner(plan):
        return _in_time(_carry_out_in_step(plan, clock), seconds)
    # Nearly all are one verb. If that ends by itself in half the time, the other half is left for what follows.
    if plan.doomed is None and 2 * binding.write_timeout <= seconds:
        if change is not None:
            return store.race(_commit(plan, change), binding.codec)
        if plan.created is not None:
            return _create(plan, plan.created)
    return _in_time(_carry_out(plan), seconds)


def line_up(plan: Plan, rival: Rival, seconds: float) -> Awaitable[Loaded | None]:
    """What ``write`` left to do, in what is left of the time; the rest is as there."""
    binding = plan.binding
    store: RecordStore = binding.store  # type: ignore[assignment]
    return _in_time(store.line_up(rival, binding.codec), seconds, spent=binding.write_timeout)


def take(plan: Plan, kept: Loaded) -> None:
    """The record as it is kept now is what comes after the commit."""
    if plan.after is not None:
        renewed = plan.after is not plan.before
        plan.after = replace(plan.after, record=kept.record, version=kept.version) if renewed else kept


async def _in_time(work: Awaitable[Loaded | None], seconds: float, spent: float = 0.0) -> Loaded | None:
    with anyio.move_on_after(seconds - spent):
        return await work
    raise StoreTimeout(f"no commit within {seconds:g} s")


async def _carry_out_in_step(plan: Plan, clock: Callable[[], float]) -> Loaded | None:
    """``_carry_out``, and what the index of owners has to know of it."""
    if not plan.binding.indexed:
        return await _carry_out(plan)
    return await commit_in_step(plan, _carry_out_and_take, clock)


async def _carry_out_and_take(plan: Plan) -> Loaded | None:
    kept = await _carry_out(plan)
    if kept is not None:
        take(plan, kept)
    return kept


def _carry_out(plan: Plan) -> Awaitable[Loaded | None]:
    store: RecordStore = plan.binding.store  # type: ignore[assignment]
    if plan.doomed is not None:
        return _replace(plan, plan.doomed)
    if plan.created is not None:
        return _create(plan, plan.created)
    if plan.change is None:
        return store.renew(cast(Loaded, plan.before), plan.binding.codec, cast(float, plan.expires_at))
    return store.commit(_commit(plan, plan.change), plan.binding.codec)


async def _replace(plan: Plan, doomed: Loaded) -> Loaded | None:
    """Delete the record of a session that ended; create the one that comes after it, if any."""
    session, store = plan.session, cast(RecordStore, plan.binding.store)
    if not await store.remove(doomed, plan.binding.codec):
        return None
    session._holder = b""  # the lease went with the record
    if plan.after is None:
        return doomed
    if session._edits.doomed is doomed:  # gone for good: what is repeated, or saved again, must not miss it
        session._edit(doomed=None)
    plan.doomed = None
    return await _carry_out(plan)


async def _create(plan: Plan, data: bytes) -> Loaded:
    after, store = cast(Loaded, plan.after), cast(RecordStore, plan.binding.store)
    if not await store.create(after.handle, plan.version, data, cast(float, plan.expires_at)):
        raise SessionConflict(f"a record {after.handle.hex()} is there already, against all odds")
    return after


def _commit(plan: Plan, change: Change) -> Commit:
    before: Loaded = plan.before  # type: ignore[assignment]  # there is a record that is changed
    return Commit(before, change, plan.version, plan.expires_at, plan.session._holder, plan.release)
