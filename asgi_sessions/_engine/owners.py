"""Keeps the owner index in step with the records, and ends an owner's sessions.

The index is written before the record that it lists, so it may list too much but never too little. A login enlists its
session, commits, and enlists it again: if ``end_all`` gave the owner another generation in between, it did not see
this session as the owner's, so the login takes itself back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from os import urandom
from typing import NamedTuple, TypeVar

import anyio

from ..exceptions import CookieRefused, NewerFormat, SessionConflict, StoreFull
from ..stores.base import RecordStore
from ..stores.owners import GENERATION_SIZE, OwnerIndex
from .plan import Commit, Create, Plan
from .profile import RecordProfile
from .record import NOTHING, Owner, Record
from .repository import Repository, blamed

T = TypeVar("T")

AT_ONCE = 64  # records that are read together
ROUNDS = 20  # of revoking what is listed, while new logins keep coming
ATTEMPTS = 40  # to delete one record that others keep changing
LOGIN_TAKES = 600.0  # seconds that a login may last at most, from enlisting its session to its last look at the index

Write = Callable[[Plan], Awaitable[bool]]


class Listed(NamedTuple):
    """A session that is alive, and belongs to the owner whose list was asked for."""

    handle: bytes
    record: Record
    expires_at: float | None


def concerns_owner(plan: Plan) -> bool:
    """Whether the index has to know of it: the session has an owner, or gets another one."""
    step = plan.step
    if plan.doomed is None and isinstance(step, Commit) and step.expires_at is None and step.change.edits is NOTHING:
        return False  # nothing but values
    known = plan.before or plan.doomed
    return "owner" in plan.edits.attributes or (known is not None and known.record.owner is not None)


class Owners:
    """The owners of one configured session.

    Args:
        index: the store, too.
    """

    def __init__(self, profile: RecordProfile, store: RecordStore, index: OwnerIndex, repository: Repository) -> None:
        self._profile = profile
        self._store = store
        self._index = index
        self._repository = repository

    # -- commits ------------------------------------------------------------------------------------------------------

    async def commit(self, plan: Plan, write: Write) -> bool:
        """Write what was planned, and what the index has to know of it.

        Args:
            write: brings the store in line with the plan; False: the session ended or was regenerated meanwhile.

        Returns:
            What ``write`` returned; False also if the owner's sessions were all revoked meanwhile.
        """
        known = plan.before or plan.doomed  # what is doomed is taken off the plan once it is deleted
        former = None if known is None else known.record.owner
        attributes = plan.edits.attributes
        owner: Owner | None = None if plan.doomed is not None else former
        if plan.after is not None and "owner" in attributes:
            owner = attributes["owner"]
        if owner is not None and ("owner" in attributes or isinstance(plan.step, Create)):
            kept = await self._join(plan, owner, write)
        elif owner is not None and "remember" in attributes:
            await self._enlist(plan, owner)  # first, as it may live longer from now on
            kept = await write(plan)
        elif owner is not None and plan.step is not None and plan.step.expires_at is not None:
            kept = await self._renew(plan, owner, write)
        else:
            kept = await write(plan)
        if known is not None and former is not None and former != owner:
            for name in self._profile.owner_names.every(former):
                await self._index.delist(name, [known.handle])
        return kept

    async def _join(self, plan: Plan, owner: Owner, write: Write) -> bool:
        index, profile, (handle, expires_at) = self._index, self._profile, _entry(plan)
        name = profile.owner_names.current(owner)
        if plan.generation is None:  # kept when a commit is done again
            plan.generation = await index.enlist(name, handle, expires_at)
        if not await write(plan):
            return False
        if await index.enlist(name, handle, expires_at) not in (b"", plan.generation):
            if plan.after is not None:
                await self._repository.remove(plan.after)
            await index.delist(name, [handle])
            return False
        if profile.max_sessions is not None:
            await self.end_oldest(owner, profile.max_sessions, handle)
        return True

    async def _renew(self, plan: Plan, owner: Owner, write: Write) -> bool:
        """Write entry and record at once; one lost entry is harmless, as it outlives its record."""
        failed: list[Exception] = []
        kept = False

        async def enlist() -> None:
            try:
                await self._enlist(plan, owner)
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

    async def _enlist(self, plan: Plan, owner: Owner) -> None:
        await self._index.enlist(self._profile.owner_names.current(owner), *_entry(plan))

    # -- lists and ends -----------------------------------------------------------------------------------------------

    async def list(self, owner: Owner) -> AsyncIterator[Listed]:
        """The owner's sessions that are alive, in no particular order; entries without a session are removed."""
        for name in self._profile.owner_names.every(owner):
            marks = await self._ask(self._index.listed(name))
            handles = [*marks]
            for start in range(0, len(handles), AT_ONCE):
                part = handles[start : start + AT_ONCE]
                found, newer = await self._find(part, owner)
                for listed in found.values():
                    yield listed
                gone = {handle: marks[handle] for handle in part if handle not in found and handle not in newer}
                if gone:
                    await self._ask(self._index.delist(name, gone))

    async def end(self, handle: bytes) -> bool:
        """End one session, whoever it belongs to; whether there was one."""
        stored = await self._ask(self._store.read(handle))
        await self._ask(self._store.delete(handle))
        try:
            record = None if stored is None else self._decode(handle, stored.data)
        except NewerFormat:
            record = None
        if record is not None and record.owner is not None:
            for name in self._profile.owner_names.every(record.owner):
                await self._ask(self._index.delist(name, [handle]))
        return stored is not None

    async def end_all(self, owner: Owner, kept: bytes | None, now: float) -> int:
        """End all sessions of the owner but one, those too whose login is under way; how many there were."""
        ended = 0
        full: StoreFull | None = None
        names = self._profile.owner_names.every(owner)
        for _ in range(ROUNDS):
            found = False
            for name in names:
                try:
                    # A login that enlisted its session before this either shows below, or finds another generation.
                    await self._ask(self._index.bar(name, urandom(GENERATION_SIZE), now + LOGIN_TAKES))
                except StoreFull as exc:  # what is there can be ended all the same
                    full = exc
                marks = await self._ask(self._index.listed(name))
                marks.pop(kept or b"", None)
                found = found or bool(marks)
                ended += await self._end_listed(name, marks, owner)
            if not found and full is not None:
                raise full
            if not found:
                return ended
        raise SessionConflict(f"new logins of one owner kept coming; {ended} of its sessions were ended")

    async def end_oldest(self, owner: Owner, keep: int, current: bytes) -> None:
        """Of more than ``keep`` sessions end the oldest; not the current one."""
        found = sorted([listed async for listed in self.list(owner)], key=lambda listed: listed.record.created_at)
        others = [listed for listed in found if listed.handle != current]
        for listed in others[: max(0, len(found) - keep)]:
            await self.end(listed.handle)

    async def _end_listed(self, name: bytes, marks: dict[bytes, int], owner: Owner) -> int:
        handles, ended = [*marks], 0
        for start in range(0, len(handles), AT_ONCE):
            part = handles[start : start + AT_ONCE]
            ended += sum(await _together(lambda handle: self._delete(handle, owner), part))
            await self._ask(self._index.delist(name, {handle: marks[handle] for handle in part}))
        return ended

    async def _delete(self, handle: bytes, owner: Owner) -> bool:
        stored = await self._ask(self._store.read(handle))
        for _ in range(ATTEMPTS):
            if stored is None:
                return False
            try:
                if not self._belongs(handle, stored.data, owner):
                    return False
            except NewerFormat:
                pass  # it is listed as the owner's, and a session too many is better ended than left
            stored = await self._ask(self._store.delete(handle, stored.version))
            if stored is None:
                return True
        raise SessionConflict(f"session {handle.hex()}: {ATTEMPTS} deletions met a newer record")

    async def _find(self, handles: Sequence[bytes], owner: Owner) -> tuple[dict[bytes, Listed], set[bytes]]:
        """The owner's sessions among the handles, and the handles of records that only a newer version can read."""
        newer: set[bytes] = set()

        async def look(handle: bytes) -> Listed | None:
            stored = await self._ask(self._store.read(handle))
            try:
                record = None if stored is None else self._belongs(handle, stored.data, owner)
            except NewerFormat:
                newer.add(handle)
                return None
            if record is None:
                return None
            return Listed(handle, record, await self._ask(self._store.deadline(handle)))

        return {listed.handle: listed for listed in await _together(look, handles) if listed is not None}, newer

    async def _ask(self, work: Awaitable[T]) -> T:
        return await blamed(work, self._store, self._profile.name)

    def _belongs(self, handle: bytes, data: bytes, owner: Owner) -> Record | None:
        """The record, if it is the owner's. NewerFormat: nobody can tell."""
        record = self._decode(handle, data)
        return record if record is not None and _same(record.owner, owner) else None

    def _decode(self, handle: bytes, data: bytes) -> Record | None:
        try:
            return self._profile.codec.decode(data, handle)
        except NewerFormat:
            raise
        except CookieRefused:
            return None


def _entry(plan: Plan) -> tuple[bytes, float]:
    """The handle that is enlisted, and the deadline of its entry: a lifetime after the record's."""
    after, expires_at = plan.after, None if plan.step is None else plan.step.expires_at
    if after is None:
        raise RuntimeError("a session that ends joins no owner")
    if expires_at is None:  # nothing was renewed
        expires_at = plan.lifetime.expires_at(renewed_at=after.renewed_at, started_at=after.record.started_at)
    return after.handle, expires_at + plan.lifetime.duration


def _same(one: Owner | None, other: Owner) -> bool:
    return type(one) is type(other) and one == other


async def _together(work: Callable[[bytes], Awaitable[T]], handles: Collection[bytes]) -> list[T]:
    """Run all at once, and raise the first error as it is."""
    done: list[T] = []
    failed: list[Exception] = []

    async def run(handle: bytes) -> None:
        try:
            done.append(await work(handle))
        except Exception as exc:
            failed.append(exc)

    async with anyio.create_task_group() as group:
        for handle in handles:
            group.start_soon(run, handle)
    for exc in failed:
        raise exc
    return done
