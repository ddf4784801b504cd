"""What a commit has to do for one session: decided, encoded and checked before anything is done."""

from __future__ import annotations

from os import urandom

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from ..config import Binding
from ..cookies import MAX_COOKIE, CookieOptions, CookieScope, CookieWriter
from ..exceptions import CookieTooLarge
from ..lifetime import Lifetime
from ..session import Session, effective_options
from .edits import NOTHING, Edits
from .record import HANDLE_SIZE, SECRET_SIZE, Change, Loaded, Record, Token, apply, digest

__all__ = ["Plan", "prepare", "renewal"]

LARGEST_NAMED = 3  # keys in the message of CookieTooLarge


class Plan(msgspec.Struct, gc=False):
    """What is to be done for one session; doing it twice is the same as doing it once.

    Attributes:
        before, after: the session as it was loaded, and as it will be; None: there is none.
        values: the session's encoded dict, the base of what comes next.
        edits, filling: what else the request did so far; see ``Session._committed``.
        changed: whether the application changed anything; else it is nothing but a renewal, or the end.
        change: what it changed, for a record on the server.
        doomed: the record to delete.
        created: the encoded record to create.
        version: of the commit.
        expires_at: the record's new deadline; None: it stays.
        cookies: values of Set-Cookie to send once it is done, by name, path and domain: each is a cookie of its own.
        generation: the owner's, when the session was about to join the owner's others; see ``owners``.
        release: give the exclusive section's lease back with the commit.
        lost: something of it can not be done any more.
        done: it took place.
    """

    session: Session
    binding: Binding
    values: bytes
    edits: Edits
    filling: int
    before: Loaded | None = None
    changed: bool = False
    doomed: Loaded | None = None
    after: Loaded | None = None
    change: Change | None = None
    created: bytes | None = None
    version: bytes = b""
    expires_at: float | None = None
    cookies: dict[CookieScope, bytes] | None = None
    generation: bytes | None = None
    release: bool = False
    lost: bool = False
    done: bool = False

    def __repr__(self) -> str:
        return f"<Plan for session {self.binding.name!r}>"  # its cookies are secrets

    @property
    def writes(self) -> bool:
        """Whether the application did something; a mere renewal can wait for the next request."""
        return self.changed or self.doomed is not None

    def changed_keys(self) -> str:
        """The top-level keys that the application set or removed, for a message."""
        split = self.binding.serializer.split
        before, after = split(self.session._base), split(self.values)
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        return ", ".join(map(repr, keys)) or "flashes or attributes"


def prepare(session: Session, now: float, secure: bool) -> Plan | None:
    """Decide what is due for a session that was accessed; None: nothing.

    Args:
        now: POSIX seconds.
        secure: whether the connection's scheme is https or wss.

    Raises:
        SerializationError: a value can not be stored.
        CookieTooLarge: the cookie would exceed 4096 bytes.
    """
    binding: Binding = session._policy  # type: ignore[assignment]  # what the registry gave it
    before, edits = session._loaded, session._edits
    due = before is not None and now >= before.due_at
    if not (due or session._written or session._shared or edits is not NOTHING):
        return None
    values = session._encode()
    differs = values != session._base
    if not (differs or due) and edits is NOTHING and before is not None:
        return None
    usual = edits is NOTHING and before is not None and before.record.remember is None
    lifetime = binding.lifetime if usual else session._lifetime
    if lifetime.duration <= 0 or (not dict.__len__(session) and _is_over(session)):
        return _end(session, binding, values, secure)
    changed = before is None or (differs and session._written is not False) or session._is_changed(values)
    if not (changed or due):
        return None
    plan = Plan(session, binding, values, edits, session._filling, before, changed, edits.doomed)
    if not binding.server_side:
        _plan_cookie(plan, lifetime, int(now), secure)
    elif before is None:
        _renew(plan, _plan_creation(plan, int(now)), lifetime, int(now), secure)
    else:
        plan.after = _plan_commit(plan, before, now)
        if due or (edits is not NOTHING and _reaches_cookie(edits)):
            _renew(plan, plan.after, lifetime, int(now), secure)
    return plan


def renewal(session: Session, now: float, secure: bool) -> Plan:
    """A renewal of a session on the server, whether it is due or not."""
    binding: Binding = session._policy  # type: ignore[assignment]  # what the registry gave it
    before: Loaded = session._loaded  # type: ignore[assignment]  # the caller has looked
    plan = Plan(
        session=session,
        binding=binding,
        values=session._base,
        edits=session._edits,
        filling=session._filling,
        before=before,
    )
    _renew(plan, _plan_commit(plan, before, now), session._lifetime, int(now), secure)
    return plan


def _is_over(session: Session) -> bool:
    """Whether nothing is left of a session without values: a record on the server stays until it is cleared."""
    kept_empty = session._policy.server_side and session._loaded is not None and not session._edits.cleared
    return not kept_empty and not session._has_content()


def _end(session: Session, binding: Binding, values: bytes, secure: bool) -> Plan | None:
    """Nothing is left: delete the record, expire the cookie with the very attributes it was set with."""
    doomed = session._loaded or session._edits.doomed
    if doomed is None and not session._adopted:
        # A cookie that was refused stays: by now the browser may have a newer one, which this would expire.
        return None
    options = effective_options(binding, doomed.record.cookie) if doomed else binding.options
    writer = _writer(binding, options)
    expired = {writer.scope: writer.expire(secure=secure)}
    return Plan(
        session=session,
        binding=binding,
        values=values,
        edits=session._edits,
        filling=session._filling,
        changed=doomed is None,
        doomed=doomed,
        cookies=expired,
    )


def _plan_cookie(plan: Plan, lifetime: Lifetime, now: int, secure: bool) -> None:
    """The record is the token."""
    binding, edits = plan.binding, plan.edits
    record = plan.before.record if plan.before else _fresh(plan, now)
    if edits is NOTHING:
        record = replace(record, values=plan.values)
    elif plan.changed:
        record = apply(plan.session._change(plan.values, now), record, binding.serializer)
        if edits.owner is not UNSET:
            record = replace(record, owner_epoch=plan.session._owner_epoch or 0)
    if edits.regenerated or plan.before is None:
        record = replace(record, id=urandom(8), started_at=now)
    value, ends_at, due_at = _seal(plan, binding.codec.pack(record), record, lifetime, now, secure)
    plan.after = after = Loaded(record, now, ends_at=ends_at, due_at=due_at)
    binding.opener.add(value, after)  # type: ignore[arg-type]  # the one that its kind of session needs


def _plan_creation(plan: Plan, now: int) -> Loaded:
    handle, secret, plan.version = urandom(HANDLE_SIZE), urandom(SECRET_SIZE), urandom(8)
    record = replace(_fresh(plan, now), secret_hash=digest(secret), commits=plan.version)
    if plan.changed:
        record = apply(plan.session._change(plan.values, now), record, plan.binding.serializer)
    plan.created = plan.binding.codec.encode(record, handle)
    return Loaded(record, now, handle=handle, secret=secret, version=plan.version)


def _plan_commit(plan: Plan, before: Loaded, now: float) -> Loaded:
    """The store merges the change into the record when it gets there; here only what the cookie needs is known."""
    plan.version = urandom(8)
    if plan.edits.regenerated:
        secret = urandom(SECRET_SIZE)
        plan.change = plan.session._change(plan.values, now, digest(secret))
        return replace(before, secret=secret, record=replace(before.record, started_at=int(now)))
    if plan.changed:
        plan.change = plan.session._change(plan.values, now)
    return before


def _fresh(plan: Plan, now: int) -> Record:
    return Record(values=plan.session._base, created_at=now, started_at=now)


def _reaches_cookie(edits: Edits) -> bool:
    """Whether the change shows in the cookie of a server-side session."""
    return edits.regenerated or edits.remember is not UNSET or edits.cookie is not UNSET


def _renew(plan: Plan, after: Loaded, lifetime: Lifetime, now: int, secure: bool) -> None:
    """A new cookie for a session on the server."""
    value, ends_at, due_at = _seal(plan, after.handle + after.secret, after.record, lifetime, now, secure)
    plan.expires_at = ends_at
    plan.after = replace(after, renewed_at=now, stale=False, ends_at=ends_at, due_at=due_at)
    token = Token(after.handle, after.secret, digest(after.secret), now)
    plan.binding.opener.add(value, token)  # type: ignore[arg-type]  # the one that its kind of session needs


def _seal(
    plan: Plan, token: bytes, record: Record, lifetime: Lifetime, now: int, secure: bool
) -> tuple[bytes, float, float]:
    """Plan the cookie that renews the session.

    Returns:
        Its value; when the session ends then, and when it is due for renewal again (POSIX seconds).
    """
    binding = plan.binding
    value, writer = binding.sealer.seal(token, now), binding.writer
    if len(value) > writer.room:
        raise CookieTooLarge(binding.name, len(writer.name) + len(value), MAX_COOKIE, _largest_keys(plan))
    ends_at, due_at, max_age = lifetime.renewed(now, record.started_at)
    if plan.edits.cookie is UNSET and not record.cookie and plan.doomed is None:
        plan.cookies = {writer.scope: writer.set(value, max_age, secure)}
    else:
        writer = _writer(binding, plan.session.cookie_options)
        plan.cookies = {**_moved(plan, writer, secure), writer.scope: writer.set(value, max_age, secure)}
    return value, ends_at, due_at


def _moved(plan: Plan, writer: CookieWriter, secure: bool) -> dict[CookieScope, bytes]:
    """A cookie of another path or domain is another cookie: expire the former one."""
    known = plan.before or plan.doomed
    if known is None or (plan.doomed is None and plan.edits.cookie is UNSET):
        return {}
    former = _writer(plan.binding, effective_options(plan.binding, known.record.cookie))
    return {} if former.scope == writer.scope else {former.scope: former.expire(secure=secure)}


def _writer(binding: Binding, options: CookieOptions) -> CookieWriter:
    return binding.writer if options is binding.options else CookieWriter(binding.cookie_name, options)


def _largest_keys(plan: Plan) -> list[tuple[object, int]]:
    sizes = [(key, len(value)) for key, value in plan.binding.serializer.split(plan.values).items()]
    return sorted(sizes, key=lambda item: -item[1])[:LARGEST_NAMED]
