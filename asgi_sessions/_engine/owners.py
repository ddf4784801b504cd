"""Keeps the owner index in step with the records.

The index is written before the record that it lists, so it may list too much but never too little. A login enlists its
session, commits, and enlists it again: if ``revoke_all`` gave the owner another generation in between, it did not see
this session as the owner's, so the login takes itself back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import cast

import anyio
from msgspec import UNSET

from ..config import Binding, Epochs
from ..exceptions import StoreUnavailable
from ..manager import SessionManager
from ..stores.base import RecordStore
from ..stores.owners import OwnerIndex
from .plan import Plan
from .record import Loaded, Owner

__all__ = ["commit_in_step", "concerns_owner", "epoch_of"]

LARGEST_EPOCH = 2**40
Write = Callable[[Plan], Awaitable[Loaded | None]]


def concerns_owner(plan: Plan) -> bool:
    """Whether the session has an owner, or gets another one."""
    known = plan.before or plan.doomed
    return plan.edits.owner is not UNSET or (known is not None and known.record.owner is not None)


async def commit_in_step(plan: Plan, write: Write, clock: Callable[[], float]) -> Loaded | None:
    """Write what was planned, and what the index has to know of it.

    Args:
        write: brings the store in line with the plan; None: the session ended or was regenerated meanwhile.

    Returns:
        What ``write`` returned; None also if the owner's sessions were all revoked meanwhile.

    Raises:
        StoreError: the store could not do it.
    """
    index = cast(OwnerIndex, plan.binding.store)
    known = plan.before or plan.doomed  # what is doomed is taken off the plan once it is deleted
    former = _owner(known)
    owner = former if plan.edits.owner is UNSET or plan.after is None else plan.edits.owner
    if plan.doomed is not None:
        owner = plan.edits.owner if plan.edits.owner is not UNSET and plan.after is not None else None
    joins = owner is not None and (plan.edits.owner is not UNSET or plan.created is not None)
    if owner is not None and joins:
        kept = await _join(index, plan, owner, write)
        if kept is not None and plan.binding.max_sessions is not None:
            handle = cast(Loaded, plan.after).handle
            await SessionManager.of(plan.binding, clock, handle).end_oldest(owner, plan.binding.max_sessions, handle)
    elif owner is not None and plan.edits.remember is not UNSET:
        await _enlist(index, plan, owner)  # it may live longer from now on: the index has to know first
        kept = await write(plan)
    elif owner is not None and plan.expires_at is not None:
        kept = await _renew(index, plan, owner, write)
    else:
        kept = await write(plan)
    if known is not None and former is not None and former != owner:
        for name in plan.binding.owner_names.every(former):
            await index.delist(name, [known.handle])
    return kept


async def _join(index: OwnerIndex, plan: Plan, owner: Owner, write: Write) -> Loaded | None:
    if plan.generation is None:  # kept when a commit is done again
        plan.generation = await _enlist(index, plan, owner)
    kept = await write(plan)
    if kept is None:
        return None
    generation = await _enlist(index, plan, owner)
    if generation in (b"", plan.generation):
        return kept
    binding, after = plan.binding, cast(Loaded, plan.after)
    await cast(RecordStore, binding.store).remove(after, binding.codec)
    await index.delist(binding.owner_names.current(owner), [after.handle])
    return None


async def _renew(index: OwnerIndex, plan: Plan, owner: Owner, write: Write) -> Loaded | None:
    """Both at once: the entry outlives the record by a lifetime, so one renewal that does not reach the index is no
    loss. It costs no further round trip."""
    failed: list[Exception] = []

    async def enlist() -> None:
        try:
            await _enlist(index, plan, owner)
        except Exception as exc:
            failed.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(enlist)
        try:
            kept = await write(plan)
        except Exception as exc:  # out of the group as it is
            failed.insert(0, exc)
    if failed:
        raise failed[0]
    return kept


async def _enlist(index: OwnerIndex, plan: Plan, owner: Owner) -> bytes:
    handle = cast(Loaded, plan.after).handle
    lifetime = plan.session._lifetime
    expires_at = plan.expires_at
    if expires_at is None:  # nothing was renewed
        before = cast(Loaded, plan.before)
        expires_at = lifetime.expires_at(renewed_at=before.renewed_at, started_at=before.record.started_at)
    return await index.enlist(plan.binding.owner_names.current(owner), handle, expires_at + lifetime.duration)


async def epoch_of(binding: Binding, owner: Owner) -> int:
    """What the application says is the owner's epoch.

    Raises:
        StoreUnavailable: the application's function failed.
        TypeError: it returned anything but a number from 0.
    """
    try:
        epoch = cast(Epochs, binding.epochs)(owner)
        if isawaitable(epoch):
            epoch = await epoch
    except Exception as exc:
        raise StoreUnavailable(f"session {binding.name!r}: epochs failed ({type(exc).__name__})") from exc
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch <= LARGEST_EPOCH:
        raise TypeError(f"session {binding.name!r}: epochs must return a number from 0 to 2**40, not {epoch!r:.80}")
    return epoch


def _owner(loaded: Loaded | None) -> Owner | None:
    return None if loaded is None else loaded.record.owner
