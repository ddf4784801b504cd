"""Where sessions are loaded from and written to: a class for those in cookies, and one for those on a server."""

import logging
from collections.abc import Mapping, Sequence
from inspect import isawaitable
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from .. import exceptions as errors
from ..cookies import find, is_prefixed
from ..crypto.seal import Unsealed
from ..importers import read_foreign
from ..stores.base import RecordStore
from ..stores.cookie import CookieStore
from ..stores.owners import OwnerIndex
from .cache import Cache
from .owners import Owners
from .plan import Commit, Create, Plan, supersede
from .profile import CookieProfile, Profile, RecordProfile
from .record import NOTHING, Edits, Loaded, Owner, Token, check_end, digest, times_of, token_of
from .repository import Found, Repository, only_one, unavailable
from .state import Headers, SessionState

logger = logging.getLogger("asgi_sessions")

MOST_KNOWN = 512  # Cookie headers that are remembered, ...
LONGEST_KNOWN = 2048  # ... of so many bytes at the most: 2 MB, with their cookies
LARGEST_EPOCH = 2**40


class Opened(Protocol):
    """What a cookie holds."""

    @property
    def renewed_at(self) -> float:
        """When it was sealed, in POSIX seconds."""


T = TypeVar("T", bound=Opened)


class CookieBackend:
    """Sessions that live in their cookie.

    Attributes:
        waits: whether loading takes I/O: with epochs, a question to the application.
    """

    def __init__(self, profile: CookieProfile, store: CookieStore) -> None:
        self.profile = profile
        self.store = store
        self.waits = profile.epochs is not None
        self._cookies = CookieFinder(profile.writer.name)

    def load_now(self, state: SessionState) -> None:
        if self.waits:
            raise not_loaded(self.profile.name)
        exchange = state.exchange
        now = exchange.now()
        try:
            cookies, known = self._cookies.find(exchange.headers, self.profile.known, now)
            if known is not None and now < known.ends_at:
                fill(state, known, None, now)
            elif cookies:
                fill(state, *self._unseal(cookies, now), now)
            else:
                fill(state)
        except errors.CookieRefused as exc:
            refuse(state, exc, now)

    async def load(self, state: SessionState) -> None:
        if not self.waits:
            self.load_now(state)
            return
        exchange, profile = state.exchange, self.profile
        exchange.epochs = True
        now = exchange.now()
        try:
            cookies, _ = self._cookies.find(exchange.headers, profile.known, now)
            if not cookies:
                fill(state)
                return
            loaded, decoded = self._unseal(cookies, now)
            owner = loaded.record.owner
            if owner is not None and loaded.record.owner_epoch != await epoch_of(profile, owner):
                raise errors.UnknownSession("all sessions of its owner were ended: its epoch is another one now")
            fill(state, loaded, decoded, now)
        except errors.CookieRefused as exc:
            refuse(state, exc, now)

    def _unseal(self, cookies: Sequence[bytes], now: float) -> Found:
        """The session in one or more cookies of the name; of tokens of the same session, in the one sealed last.

        Raises:
            CookieRefused: none of them holds a session, or several hold different ones.
        """
        profile = self.profile
        if len(cookies) == 1:
            loaded = profile.known.get(cookies[0])
            if loaded is None or loaded.renewed_at > now:
                loaded = self._open(profile.sealer.unseal(cookies[0], now))
            values = profile.codec.values(loaded.record)
            profile.known.put(cookies[0], loaded)
            check_end(loaded.ends_at, now)
            return loaded, values
        newest: dict[bytes, Loaded] = {}
        refused: list[errors.CookieRefused] = []
        for token in sorted(unseal_all(profile, cookies, now), key=lambda token: token.sealed_at):
            try:
                loaded = self._open(token)
                profile.codec.values(loaded.record)
                check_end(loaded.ends_at, now)
            except errors.CookieRefused as exc:
                refused.append(exc)
            else:
                newest[loaded.record.id] = loaded
        loaded = only_one([*newest.values(), *refused])
        return loaded, profile.codec.values(loaded.record)

    def _open(self, token: Unsealed) -> Loaded:
        """The session that the token holds, whether its time is over or not, and whatever its values are."""
        record = self.profile.codec.decode(token.token)
        ends_at, due_at = times_of(record, self.profile.lifetime, token.sealed_at, token.stale)
        return Loaded(record, token.sealed_at, token.stale, ends_at=ends_at, due_at=due_at)


class RecordBackend:
    """Sessions that live on a server.

    Attributes:
        owners: None: the store keeps no index of owners.
        write_timeout: seconds; of the store's writing verbs.
    """

    waits = True

    def __init__(self, profile: RecordProfile, store: RecordStore, write_timeout: float) -> None:
        self.profile = profile
        self.store = store
        self.repository = Repository(store, profile.codec, profile.lifetime, profile.name)
        self.owners = Owners(profile, store, store, self.repository) if isinstance(store, OwnerIndex) else None
        self.write_timeout = write_timeout
        self._cookies = CookieFinder(profile.writer.name)

    def load_now(self, state: SessionState) -> None:
        raise not_loaded(self.profile.name)

    async def load(self, state: SessionState) -> None:
        exchange, profile = state.exchange, self.profile
        exchange.stored = True
        now = exchange.now()
        try:
            cookies, token = self._cookies.find(exchange.headers, profile.known, now)
            if token is None and len(cookies) == 1:
                token = profile.known.put(cookies[0], token_of(profile.sealer.unseal(cookies[0], now)))
            if token is not None:
                try:  # repository.load(), a coroutine less
                    stored = await self.store.read(token.handle)
                except (errors.StoreError, errors.NotSupported):
                    raise
                except Exception as exc:
                    raise unavailable(exc, self.store, profile.name) from exc
                found = self.repository.recall(stored, token, now)
                loaded, decoded = found or await self.repository.open(stored, token, now)
                fill(state, loaded, decoded, now)
            elif cookies:
                fill(state, *await self.repository.load_one_of(unseal_all(profile, cookies, now), now), now)
            else:
                fill(state)
        except errors.CookieRefused as exc:
            refuse(state, exc, now)

    async def reload(self, state: SessionState, loaded: Loaded) -> None:
        """Read the session anew; a logout in between leaves it empty, with an ``error``, and superseded."""
        token = Token(loaded.handle, loaded.secret, digest(loaded.secret), loaded.renewed_at, loaded.stale)
        now = state.exchange.now()
        try:
            fill(state, *await self.repository.load(token, now), now)
        except errors.CookieRefused as exc:
            fill(state, error=exc)
            supersede(state)

    async def carry_out(self, plan: Plan) -> bool:
        """Bring the store in line with a plan; False: a logout, a login or a ``clear()`` elsewhere was faster."""
        if plan.doomed is not None and not await self._end(plan, plan.doomed):
            return False
        if isinstance(plan.step, Create):
            return take(plan, await self.repository.create(plan.step))
        if isinstance(plan.step, Commit):
            return take(plan, await self.repository.update(plan.step))
        return plan.step is None or take(plan, await self.repository.renew(plan.step))

    async def _end(self, plan: Plan, doomed: Loaded) -> bool:
        """Delete the record of a session that ended, before the one that comes after it is created."""
        if not await self.repository.remove(doomed):
            return False
        state = plan.state
        state.holder = b""  # the lease went with the record
        if plan.step is not None:
            if state.edits.doomed is doomed:  # gone for good: what is repeated, or saved again, must not miss it
                state.edits = replace(state.edits, doomed=None)
            plan.doomed = None
        return True


class CookieFinder:
    """Finds the cookies of one name, and remembers in which headers it found known ones lately.

    A header in which a known cookie was found is not searched again: it takes a third of the time then, but half as
    much again where the other cookies of the header are never the same.
    """

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._found: Cache[bytes, Sequence[bytes]] = Cache(MOST_KNOWN)  # by Cookie header

    def find(self, headers: Headers, known: Mapping[bytes, T], now: float) -> tuple[Sequence[bytes], T | None]:
        """The cookies, as ``cookies.find`` returns them, and what the only one holds, if that is known.

        Args:
            now: POSIX seconds. A cookie that was sealed later has to be opened, known or not.
        """
        line: bytes | None = None
        alone = True
        for name, value in headers:
            if name == b"cookie":
                alone = line is None
                line = value
        if line is None:
            return (), None
        cookies = self._found.get(line) if alone else None
        if cookies is not None:
            opened = known.get(cookies[0])
        else:
            cookies = find(headers, self._name)
            opened = known.get(cookies[0]) if len(cookies) == 1 else None
            if opened is not None and alone and len(line) <= LONGEST_KNOWN:
                self._found.put(line, cookies)
        if opened is None or opened.renewed_at > now:
            return cookies, None
        return cookies, opened


def fill(
    state: SessionState,
    loaded: Loaded | None = None,
    decoded: dict[Any, Any] | None = None,
    now: float = 0.0,
    *,
    error: errors.CookieRefused | None = None,
) -> None:
    """Put what was found in the store, or nothing, into a session; drops what this request did so far.

    Args:
        decoded: its values; None: decode them, which was done before.
        now: POSIX seconds. What is due for renewal by now may have to be committed.
    """
    if state.pending:
        state.pending = False
    else:
        state.filling += 1
        state.edits, state.loaded, state.views = NOTHING, None, None
        state.written = state.shared = state.superseded = False
        state.refusal = None
    if error is not None:
        state.refusal = error
    dict.clear(state)
    if loaded is None:
        state.base = state.profile.empty
        return
    state.loaded = loaded
    state.base = loaded.record.values
    values: Any = state.profile.serializer.loads_again(state.base) if decoded is None else decoded
    dict.update(state, values)
    if now >= loaded.due_at:
        state.exchange.touched = True


def fill_anew(state: SessionState) -> None:
    """Drop what this request did to a session without a record; what ended before stays ended."""
    ended, superseded = Edits(doomed=state.edits.doomed, ended=state.edits.ended), state.superseded
    fill(state, error=state.refusal)
    state.superseded = superseded
    state.edits = NOTHING if ended == NOTHING else ended


def refuse(state: SessionState, reason: errors.CookieRefused, now: float) -> None:
    """Begin a new session instead of the refused one; or take that of another library's cookie."""
    profile, exchange = state.profile, state.exchange
    adoptable = read_adoptable(profile, exchange.headers, now) if profile.readers else None
    if adoptable is not None:
        decoded, encoded = adoptable
        fill(state)
        dict.update(state, decoded)
        state.adopted = True
        # After the response started a cookie cannot be replaced: it is not lost, but waits for the next request.
        if exchange.started:
            state.base = encoded
        else:
            state.written = state.shared = exchange.touched = True
        return
    fill(state, error=reason)
    state.superseded = isinstance(reason, errors.RegeneratedSession)
    if isinstance(reason, errors.DuplicateCookie):
        logger.warning("session %r: %s; a changed path or domain of the cookie is a likely cause", profile.name, reason)


def unseal_all(profile: Profile, cookies: Sequence[bytes], now: float) -> list[Unsealed]:
    """The authentic tokens among the cookies of the session's name.

    Raises:
        CookieRefused: there is none; the error of the cookie that got furthest.
    """
    if len(cookies) > 1 and is_prefixed(profile.writer.name):
        raise errors.DuplicateCookie(f"the browser sent {len(cookies)} different cookies of a prefixed name")
    tokens: list[Unsealed] = []
    error: errors.CookieRefused | None = None
    for cookie in cookies:
        try:
            tokens.append(profile.sealer.unseal(cookie, now))
        except errors.CookieRefused as exc:
            error = exc if error is None or exc.stage > error.stage else error
    if error is not None and not tokens:
        raise error
    return tokens


def read_adoptable(profile: Profile, headers: Headers, now: float) -> tuple[dict[Any, Any], bytes] | None:
    """The session of another library's cookie, also encoded; None if a cookie of the name is one of ours, however old.

    Args:
        now: POSIX seconds.
    """
    try:
        cookies = find(headers, profile.writer.name)
        unseal_all(profile, cookies, now)
    except (errors.MalformedSession, errors.BadCookieSignature):
        values = read_foreign(profile.readers, cookies, now)
    except errors.CookieRefused:
        return None
    else:
        return None
    if values is None:
        return None
    try:
        return values, profile.serializer.dumps(values)
    except errors.SerializationError:
        logger.warning("session %r: a cookie of another library holds what cannot be stored", profile.name)
        return None


async def fetch_epoch(state: SessionState) -> None:
    """Fetch the epoch that a cookie session is sealed with from now on, if it got an owner.

    Raises:
        StoreUnavailable: the application's function failed.
    """
    if joins(state) and isinstance(state.profile, CookieProfile):
        state.owner_epoch = await epoch_of(state.profile, state.edits.attributes["owner"])


def joins(state: SessionState) -> bool:
    """Whether a cookie session got an owner whose epoch has to be fetched."""
    if not isinstance(state.profile, CookieProfile) or state.profile.epochs is None or state.owner_epoch is not None:
        return False
    return isinstance(state.edits.attributes.get("owner"), str | int)


async def epoch_of(profile: CookieProfile, owner: Owner) -> int:
    """The owner's epoch, as the application says.

    Raises:
        StoreUnavailable: the application's function failed.
        TypeError: it returned anything but a number from 0.
    """
    try:
        epoch = 0 if profile.epochs is None else profile.epochs(owner)
        if isawaitable(epoch):
            epoch = await epoch
    except Exception as exc:
        raise errors.StoreUnavailable(f"session {profile.name!r}: epochs failed ({type(exc).__name__})") from exc
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch <= LARGEST_EPOCH:
        raise TypeError(f"session {profile.name!r}: epochs must return a number from 0 to 2**40, not {epoch!r:.80}")
    return epoch


def not_loaded(name: str) -> errors.SessionNotLoaded:
    return errors.SessionNotLoaded(f"session {name!r} is not loaded: await get_sessions(scope).get({name!r}) first")


def take(plan: Plan, kept: Loaded | None) -> bool:
    """The record as it is kept now is what comes after the commit; False if there is none."""
    if kept is None:
        return False
    if plan.after is not None:
        renewed = plan.after is not plan.before
        plan.after = replace(plan.after, record=kept.record, version=kept.version) if renewed else kept
    return True
