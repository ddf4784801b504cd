"""The plan of a commit: decided, encoded and checked before anything is done; and settled, once it is done."""

import logging
from collections.abc import Iterable
from os import urandom
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from ..cookies import MAX_COOKIE, CookieScope, CookieWriter
from ..exceptions import CookieTooLarge, ResponseStarted, SerializationError, SessionError, SessionSuperseded
from ..lifetime import Lifetime
from .codec import FORMAT
from .profile import CookieProfile, RecordProfile
from .record import HANDLE_SIZE, NOTHING, SECRET_SIZE, VERSION_SIZE, Change, Edits, Loaded, Record, Token, apply, digest
from .state import SECURE, SessionState

logger = logging.getLogger("asgi_sessions")

FORWARDED = b"x-forwarded-proto", b"https"  # of a request that a proxy got by https
LARGEST_NAMED = 3  # keys in the message of CookieTooLarge


class Create(msgspec.Struct, frozen=True, gc=False):
    """A record to be created, under a version of its own."""

    after: Loaded
    data: bytes
    expires_at: float


class Commit(msgspec.Struct, frozen=True, gc=False):
    """A change on its way into a record.

    Attributes:
        loaded: the record as the change was made to it.
        version: the commit's own, made once, so that a commit that is repeated is recognised.
        expires_at: the new deadline, in POSIX seconds; None keeps it.
        holder: commit only while the kept record carries this holder's lease.
        release: give the lease back with the commit.
    """

    loaded: Loaded
    change: Change
    version: bytes
    expires_at: float | None = None
    holder: bytes = b""
    release: bool = False


class Renew(msgspec.Struct, frozen=True, gc=False):
    """A deadline to be moved."""

    loaded: Loaded
    expires_at: float


class Plan(msgspec.Struct, gc=False):
    """What is to be done for one session; doing it twice is the same as doing it once.

    Attributes:
        values: the session's encoded dict, the base of what comes next.
        edits, filling: the state's when this was decided; see ``settle``.
        before, after: the session as it was loaded, and as it will be; None: there is none.
        changed: whether the application changed anything; else it is nothing but a renewal, or the end.
        doomed: the record to delete.
        step: what to do in the store afterwards.
        cookies: values of Set-Cookie to send once it is done, by name, path and domain: each is a cookie of its own.
        lifetime: the one in force.
        generation: the owner's, when the session was about to join the owner's others; see ``owners``.
        lost: some of it cannot be done any more.
        done: it took place.
    """

    state: SessionState
    values: bytes
    edits: Edits
    filling: int
    lifetime: Lifetime
    before: Loaded | None = None
    changed: bool = False
    doomed: Loaded | None = None
    after: Loaded | None = None
    step: Create | Commit | Renew | None = None
    cookies: dict[CookieScope, bytes] | None = None
    generation: bytes | None = None
    lost: bool = False
    done: bool = False

    def __repr__(self) -> str:
        return f"<Plan for session {self.state.profile.name!r}>"  # its cookies are secrets

    @property
    def writes(self) -> bool:
        """Whether the application did something; a mere renewal can wait for the next request."""
        return self.changed or self.doomed is not None


class Failure(NamedTuple):
    """A commit that failed, or could not be decided; see ``exchange`` for what it means."""

    session: str
    error: SessionError
    loses: bool = True  # changes of the application; a renewal loses nothing


def decide_all(opened: Iterable[SessionState]) -> list[Plan]:
    """Decide what is due before the response starts, and settle what needs no store; the plans for the store.

    A session that was superseded has its outcome here: a warning, see ``exchange``.

    Raises:
        SerializationError, ModelMismatch, CookieTooLarge: the first session that cannot be stored; none will be.
    """
    plans: list[Plan] = []
    for state in opened:
        if not state.accessed:
            continue
        try:
            plan = decide(state)
        except SessionSuperseded as exc:
            logger.warning("%s", exc)  # now: it is raised once, and the application may begin again after another error
            continue
        if plan is None and state.exchange.set_cookies and not state.superseded:
            plan = renewal(state)
        if plan is not None:
            plans.append(plan)
    waiting = []
    for plan in plans:
        if isinstance(plan.state.profile, CookieProfile):
            settle(plan)
        else:
            waiting.append(plan)
    return waiting


def decide(state: SessionState) -> Plan | None:
    """Decide what is due for a session that was accessed; None: nothing.

    Raises:
        SerializationError: a value cannot be stored.
        ModelMismatch: a model was changed into what does not fit it.
        CookieTooLarge: the cookie would exceed 4096 bytes.
        ResponseStarted: it could only be done by a cookie, and the response headers are gone.
        SessionSuperseded: the session ended or was regenerated meanwhile, and this request changed it.
    """
    if state.superseded:
        _give_up(state)
        return None
    before, edits, exchange, profile = state.loaded, state.edits, state.exchange, state.profile
    now = exchange.now()
    due = before is not None and now >= before.due_at
    if not (due or state.written or state.shared or edits is not NOTHING):
        return None
    encoded = encode(state)
    differs = encoded != state.base
    if not (differs or due) and edits is NOTHING and before is not None:
        return None
    usual = edits is NOTHING and before is not None and before.record.remember is None
    lifetime = profile.lifetime if usual else lifetime_of(state)
    if lifetime.duration <= 0 or (not dict.__len__(state) and _is_over(state)):
        plan = _end(state, encoded, lifetime)
    else:
        changed = before is None or (differs and state.written is not False) or is_changed(state, encoded)
        if not (changed or due):
            return None
        plan = Plan(state, encoded, edits, state.filling, lifetime, before, changed, edits.doomed)
        if isinstance(profile, CookieProfile):
            _plan_cookie(plan, profile, int(now))
        else:
            _plan_record(plan, profile, now, due)
    return _still_possible(plan) if exchange.started and plan is not None else plan


def renewal(state: SessionState) -> Plan | None:
    """A renewal of a session on the server whose cookie of an earlier ``save()`` still waits to be sent.

    The cookie is made anew, and the store is asked again: a login or logout in between has sent a newer one.
    """
    profile, before, exchange = state.profile, state.loaded, state.exchange
    name = profile.cookie_name.encode()
    if not isinstance(profile, RecordProfile) or before is None:
        return None
    if not any(scope[0] == name for scope in exchange.set_cookies or ()):
        return None
    plan = Plan(state, state.base, state.edits, state.filling, lifetime_of(state), before)
    plan.step = Renew(before, _plan_renewal(plan, profile, before, int(exchange.now())))
    return plan


def settle(plan: Plan) -> None:
    """Note in the state what was committed and which cookies wait to be sent; later changes stay to be committed."""
    plan.done = True
    state, edits = plan.state, plan.edits
    if state.filling == plan.filling:
        state.loaded = plan.after
        state.base = plan.values
        if state.written is plan.values:
            state.written = False
        if edits is not NOTHING or state.edits is not NOTHING:
            state.edits = NOTHING if state.edits is edits else state.edits.since(edits)
    elif state.edits.ended and plan.after is not None:  # a logout is final, whatever it overtook
        state.edits = replace(state.edits, doomed=plan.after)
    elif state.edits.doomed is not None and state.edits.doomed is edits.doomed:  # this commit has deleted it
        state.edits = replace(state.edits, doomed=None)
    cookies, exchange = plan.cookies, state.exchange
    if cookies and not exchange.started:
        exchange.set_cookies = {**exchange.set_cookies, **cookies} if exchange.set_cookies else cookies
        if plan.before is None:
            state.adopted = False
            if exchange.scheme not in SECURE and FORWARDED in exchange.headers:
                _warn_about_secure(plan, cookies)


def _warn_about_secure(plan: Plan, cookies: dict[CookieScope, bytes]) -> None:
    profile, warned = plan.state.profile, plan.state.exchange.settings.warned
    if "secure" in warned or b"; Secure" in [*cookies.values()][-1]:
        return
    warned.add("secure")
    logger.warning(
        "session %r: the cookie is sent without Secure, but a proxy says that the browser came by https; let "
        "the server trust the proxy (uvicorn --proxy-headers --forwarded-allow-ips), or set https_only=True",
        profile.name,
    )


def drop(plan: Plan) -> None:
    """Give up a plan whose session ended or was regenerated meanwhile; nothing of the session is written any more."""
    plan.after, plan.cookies = plan.before, None
    settle(plan)
    supersede(plan.state)


def supersede(state: SessionState) -> None:
    """Write nothing of the session any more, and send no cookie of it."""
    state.superseded = True
    name, exchange = state.profile.cookie_name.encode(), state.exchange
    if exchange.set_cookies:
        exchange.set_cookies = {scope: cookie for scope, cookie in exchange.set_cookies.items() if scope[0] != name}


def too_late(plan: Plan) -> ResponseStarted:
    """The error that names the changes that are lost."""
    profile = plan.state.profile
    split = profile.serializer.split
    before, after = split(plan.state.base), split(plan.values)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    changed = ", ".join(map(repr, keys)) or "flashes or attributes"
    return ResponseStarted(
        f"session {profile.name!r}: changes of {changed} after the response started are lost; "
        "they need a cookie, which cannot be sent any more"
    )


# -- what the application did -----------------------------------------------------------------------------------------


def lifetime_of(state: SessionState) -> Lifetime:
    """The lifetime in force: chosen in this request, stored with the session, or configured."""
    chosen = state.edits.attributes.get("remember", UNSET)
    if chosen is UNSET:
        chosen = None if state.loaded is None else state.loaded.record.remember
    lifetime = state.profile.lifetime
    return lifetime if chosen is None else lifetime.chosen(chosen)


def waiting_flashes(state: SessionState) -> list[Any]:
    """The flashes that were not taken yet, oldest first."""
    edits = state.edits
    stored = state.loaded.record.flashes if state.loaded and not edits.cleared else ()
    return [flash for flash in stored if flash.id not in edits.consumed] + list(edits.added)


def encode(state: SessionState) -> bytes:
    """The encoded dict; what is modified from here on is modified since.

    Raises:
        SerializationError: names the session and the key path.
        ModelMismatch: a model was changed into what does not fit it.
    """
    serializer = state.profile.serializer
    try:
        if state.views is not None and state.views.write(state):
            state.written = state.modified = True
        if state.shared:
            encoded = serializer.dumps(dict(dict.items(state)))
        else:
            encoded = serializer.dumps_again(state, state.base)
    except SerializationError as exc:
        raise SerializationError(f"session {state.profile.name!r}{exc.path}", exc.reason) from exc
    if state.written:
        state.written = encoded or True  # some serializer may need no bytes for no keys
    return encoded


def is_changed(state: SessionState, encoded: bytes) -> bool:
    """Whether the application changed anything; reading must not rewrite what another release or program encoded."""
    if state.edits is not NOTHING and replace(state.edits, doomed=None, ended=False) != NOTHING:
        return True
    return encoded != state.base and (state.written is not False or not _is_respelled(state, encoded))


def is_different(state: SessionState) -> bool:
    """Whether the dict is not what was committed last; it may be such that it cannot even be encoded."""
    try:
        return encode(state) != state.base
    except SessionError:
        return True


def _is_respelled(state: SessionState, encoded: bytes) -> bool:
    """Whether only the spelling differs."""
    serializer = state.profile.serializer
    before = serializer.dumps(serializer.loads(state.base))
    return before != state.base and serializer.split(before) == serializer.split(encoded)


def _is_over(state: SessionState) -> bool:
    """Whether nothing is left of a session without values: a record on the server stays until it is cleared."""
    on_server = isinstance(state.profile, RecordProfile)
    if on_server and state.loaded is not None and not state.edits.cleared:
        return False
    owner = state.edits.attributes.get("owner", state.loaded and state.loaded.record.owner)
    return not waiting_flashes(state) and owner is None


def _give_up(state: SessionState) -> None:
    """Raise once what a superseded session cannot write."""
    encoded = encode(state)
    if is_changed(state, encoded):
        drop(Plan(state, encoded, state.edits, state.filling, lifetime_of(state), state.loaded))
        raise SessionSuperseded(
            f"session {state.profile.name!r} ended or was regenerated meanwhile; "
            "the changes of this request are dropped"
        )


# -- what follows from it ---------------------------------------------------------------------------------------------


def _end(state: SessionState, encoded: bytes, lifetime: Lifetime) -> Plan | None:
    """Nothing is left: delete the record, expire the cookie with the very attributes it was set with."""
    profile, edits, doomed = state.profile, state.edits, state.loaded or state.edits.doomed
    if doomed is None and not state.adopted:
        # A cookie that was refused stays: by now the browser may have a newer one, which this would expire.
        return None
    options = profile.effective_options(doomed.record.cookie) if doomed else profile.options
    writer = profile.writer_for(options)
    expired = {writer.scope: writer.expire(secure=state.exchange.scheme in SECURE)}
    return Plan(state, encoded, edits, state.filling, lifetime, None, doomed is None, doomed, cookies=expired)


def _plan_cookie(plan: Plan, profile: CookieProfile, now: int) -> None:
    """The record is the token."""
    state, edits, before = plan.state, plan.edits, plan.before
    record = before.record if before else Record(values=state.base, created_at=now, started_at=now)
    if edits is NOTHING:
        record = replace(record, values=plan.values)
    elif plan.changed:
        record = apply(Change(state.base, plan.values, now, edits), record, profile.serializer)
        if "owner" in edits.attributes:
            record = replace(record, owner_epoch=state.owner_epoch or 0)
    if edits.regenerated or before is None:
        record = replace(record, id=urandom(8), started_at=now)
    value, ends_at, due_at = _seal(plan, profile.codec.pack(record), record, now)
    plan.after = profile.known.put(value, Loaded(record, now, ends_at=ends_at, due_at=due_at))


def _plan_record(plan: Plan, profile: RecordProfile, now: float, due: bool) -> None:
    """The store merges the change into the record when it gets there; the cookie needs what is known here."""
    state, edits, before = plan.state, plan.edits, plan.before
    if before is None:
        after = _new_record(plan, profile, int(now))
        ends_at = _plan_renewal(plan, profile, after, int(now))
        plan.step = Create(after, profile.codec.encode(after.record, after.handle), ends_at)
        return
    secret = urandom(SECRET_SIZE) if edits.regenerated else b""
    plan.after = after = before
    expires_at = None
    if secret:
        after = replace(before, secret=secret, record=replace(before.record, started_at=int(now)))
    if due or secret or "remember" in edits.attributes or "cookie" in edits.attributes:
        expires_at = _plan_renewal(plan, profile, after, int(now))
    if plan.changed:
        change = Change(state.base, plan.values, now, edits, digest(secret) if secret else b"")
        plan.step = Commit(before, change, urandom(VERSION_SIZE), expires_at, state.holder)
    elif expires_at is not None:
        plan.step = Renew(before, expires_at)


def _new_record(plan: Plan, profile: RecordProfile, now: int) -> Loaded:
    handle, secret, version = urandom(HANDLE_SIZE), urandom(SECRET_SIZE), urandom(VERSION_SIZE)
    base = plan.state.base
    record = Record(
        values=base, created_at=now, started_at=now, secret_hash=digest(secret), commits=version, format=FORMAT
    )
    if plan.changed:
        record = apply(Change(base, plan.values, now, plan.edits), record, profile.serializer)
    return Loaded(record, now, handle=handle, secret=secret, version=version)


def _plan_renewal(plan: Plan, profile: RecordProfile, after: Loaded, now: int) -> float:
    """Plan a new cookie for a session on the server; when the session ends then."""
    value, ends_at, due_at = _seal(plan, after.handle + after.secret, after.record, now)
    plan.after = replace(after, renewed_at=now, stale=False, ends_at=ends_at, due_at=due_at)
    if len(profile.known) < profile.known.limit:  # else the next request remembers it
        profile.known[value] = Token(after.handle, after.secret, digest(after.secret), now)
    return ends_at


def _seal(plan: Plan, token: bytes, record: Record, now: int) -> tuple[bytes, float, float]:
    """Plan the cookie that renews the session: its value; when the session ends then, and when it is due again."""
    profile, exchange, lifetime = plan.state.profile, plan.state.exchange, plan.lifetime
    ends_at, due_at, max_age = renewed(lifetime, now, record.started_at)
    value, writer = profile.sealer.seal(token, now), profile.writer
    if len(value) > writer.room:
        raise CookieTooLarge(profile.name, len(writer.name) + len(value), MAX_COOKIE, _largest_keys(plan))
    if "cookie" not in plan.edits.attributes and not record.cookie and plan.doomed is None:
        plan.cookies = {writer.scope: writer.set(value, max_age, exchange.scheme in SECURE)}
    else:
        chosen = profile.effective_options(plan.edits.attributes.get("cookie", record.cookie))
        writer = profile.writer_for(chosen)
        plan.cookies = {**_moved(plan, writer), writer.scope: writer.set(value, max_age, exchange.scheme in SECURE)}
    return value, ends_at, due_at


def renewed(lifetime: Lifetime, now: float, started_at: float) -> tuple[float, float, int | None]:
    """The deadline after a renewal, the instant when the next one is due, and the cookie's ``Max-Age``."""
    if lifetime.rolling and lifetime.absolute_timeout is None:
        return now + lifetime.duration, now + lifetime.interval, lifetime.cookie_max_age
    ends_at = lifetime.expires_at(now, started_at)
    max_age = None if lifetime.max_age is None else max(int(ends_at - now), 0)
    return ends_at, now + lifetime.interval, max_age


def _moved(plan: Plan, writer: CookieWriter) -> dict[CookieScope, bytes]:
    """A cookie of another path or domain is another cookie: expire the former one."""
    known, profile = plan.before or plan.doomed, plan.state.profile
    if known is None or (plan.doomed is None and "cookie" not in plan.edits.attributes):
        return {}
    former = profile.writer_for(profile.effective_options(known.record.cookie))
    return (
        {}
        if former.scope == writer.scope
        else {former.scope: former.expire(secure=plan.state.exchange.scheme in SECURE)}
    )


def _largest_keys(plan: Plan) -> list[tuple[object, int]]:
    sizes = [(key, len(value)) for key, value in plan.state.profile.serializer.split(plan.values).items()]
    return sorted(sizes, key=lambda item: -item[1])[:LARGEST_NAMED]


def _still_possible(plan: Plan) -> Plan | None:
    """The plan without what needs a cookie, as the response headers are gone; None: nothing of it is worth doing."""
    state, plan.cookies = plan.state, None
    first_read = state.adopted and plan.edits is NOTHING and plan.values == state.base
    if not plan.writes or first_read:  # a cookie of another library waits for the next request
        return None
    nowhere = plan.doomed is None and (isinstance(plan.step, Create) or plan.after is None)
    if not isinstance(state.profile, RecordProfile) or plan.edits.regenerated or nowhere:
        raise too_late(plan)
    if isinstance(plan.step, Create):
        # invalidated, then used again: the old record can still be deleted
        plan.step = plan.after = None
        plan.lost = True
    return plan
