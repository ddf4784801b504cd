"""Loads and commits the sessions of one connection."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import anyio
import msgspec

from ..config import Binding
from ..cookies import CookieScope
from ..exceptions import (
    CookieRefused,
    DuplicateCookie,
    RegeneratedSession,
    SessionError,
    SessionNotLoaded,
    SessionSuperseded,
    UnknownSession,
)
from ..session import Session
from ..stores.base import RecordStore, Rival, blamed, unavailable
from .completion import undisturbed
from .late import still_possible, too_late
from .opener import Opener
from .owners import epoch_of
from .plan import Plan, prepare, renewal
from .presented import Headers, read_adoptable, read_cookies, unseal_all
from .record import Loaded, Token, digest
from .writing import line_up, take, write

__all__ = ["Exchange", "Failure", "Settings"]

logger = logging.getLogger("asgi_sessions")

Failure = tuple[Plan, SessionError]

FORWARDED = b"x-forwarded-proto", b"https"  # of a request that a proxy got by https


@dataclass(slots=True, kw_only=True)
class Settings:
    """What one middleware's exchanges share.

    Attributes:
        clock: POSIX seconds.
        commit_timeout: seconds that all commits of one response may take together.
        warned: whether the warning about a cookie without Secure behind an https proxy was given.
    """

    clock: Callable[[], float]
    commit_timeout: float
    warned: bool = False


class Exchange(msgspec.Struct, eq=False, gc=False):
    """One request and its response, or one websocket.

    It refers neither to the scope nor to the sessions: a reference cycle would leave each request to the garbage
    collector. A struct is made in half the time of another object.

    Attributes:
        headers: the request's.
        secure: whether the connection's scheme is https or wss.
        now: POSIX seconds.
        accessed: whether the application used any of the sessions.
        touched: whether there may be something to commit: False as long as all was only read, and nothing was due for
            renewal when it was loaded.
        ended: whether it ended one of them.
        started: whether the response headers are gone.
        stored: whether one of the sessions lives on the server.
        epochs: whether the owner of one of them has an epoch.
        committing: whether the commit before the response is under way.
        committed: set when it is over; None until somebody waits for that.
        lock: see ``saving``; None until it is needed.
        set_cookies: by name, path and domain: the values of Set-Cookie that wait to be sent, if any.
    """

    settings: Settings
    headers: Headers
    secure: bool
    now: Callable[[], float]
    accessed: bool = False
    touched: bool = False
    ended: bool = False
    started: bool = False
    stored: bool = False
    epochs: bool = False
    committing: bool = False
    committed: anyio.Event | None = None
    lock: anyio.Lock | None = None
    set_cookies: dict[CookieScope, bytes] | None = None

    def __repr__(self) -> str:
        return f"<Exchange, {'started' if self.started else 'not started'}>"  # its headers are secrets

    # -- loading ----------------------------------------------------------------------------------------------------

    def load(self, session: Session) -> None:
        """Unseal and decode a session that lives in its cookie; nothing else can be loaded without waiting.

        Raises:
            SessionNotLoaded: it lives on the server.
        """
        binding: Binding = session._policy  # type: ignore[assignment]  # what the registry gave it
        if binding.waits:
            raise SessionNotLoaded(
                f"session {binding.name!r} is not loaded: await get_sessions(scope).get({binding.name!r}) first"
            )
        now = self.now()
        try:
            opener: Opener[Loaded] = binding.opener  # type: ignore[assignment]  # of the other kind
            cookies, loaded = opener.find(self.headers, now)
            if loaded is not None and now < loaded.ends_at:  # what read_cookies would do, for 3 % less of a read's time
                values: Any = binding.serializer.loads_again(loaded.record.values)  # it was a dict
            elif cookies:
                loaded, values = read_cookies(binding, cookies, loaded, now)
            else:
                session._fill(None)
                return
            session._fill(loaded, values)
            if now >= loaded.due_at:
                self.touched = True
        except CookieRefused as exc:
            self._refuse(session, exc, now)

    async def load_record(self, session: Session) -> None:
        """Read a session that lives on the server; without a cookie there is nothing to read.

        Raises:
            StoreError: the store could not be read.
        """
        binding: Binding = session._policy  # type: ignore[assignment]  # what the registry gave it
        if not binding.server_side:
            await self._load_with_epoch(session, binding)
            return
        self.stored = True
        now = self.now()
        store: RecordStore = binding.store  # type: ignore[assignment]  # the other kind
        try:
            opener: Opener[Token] = binding.opener  # type: ignore[assignment]  # of the other kind
            cookies, token = opener.find(self.headers, now)
            if len(cookies) == 1:
                if token is None:
                    token = opener.add(cookies[0], opener.open(cookies[0], now))
                codec, stored = binding.codec, await store.read(token.handle)
                found = None if stored is None else codec.known(token, stored.version, stored.data, now)
                loaded, values = found or await store.opened(stored, token, codec, binding.lifetime, now)
                session._fill(loaded, values)
                if now >= loaded.due_at:
                    self.touched = True
            elif cookies:
                tokens = unseal_all(binding, cookies, now)
                session._fill(*await store.load_one_of(tokens, binding.codec, binding.lifetime, now))
                self.touched = True
            else:
                session._fill(None)
        except CookieRefused as exc:
            self._refuse(session, exc, now)
        except SessionError:
            raise
        except Exception as exc:
            raise unavailable(exc, store, binding.name) from exc

    async def _load_with_epoch(self, session: Session, binding: Binding) -> None:
        self.epochs = True
        now = self.now()
        try:
            opener: Opener[Loaded] = binding.opener  # type: ignore[assignment]  # of the other kind
            cookies, known = opener.find(self.headers, now)
            if not cookies:
                session._fill(None)
                return
            loaded, values = read_cookies(binding, cookies, known, now)
            owner = loaded.record.owner
            if owner is not None and loaded.record.owner_epoch != await epoch_of(binding, owner):
                raise UnknownSession("all sessions of its owner were ended: the owner's epoch is another one now")
            session._fill(loaded, values)
            self.touched = True
        except CookieRefused as exc:
            self._refuse(session, exc, now)

    async def fetch_epoch(self, session: Session) -> None:
        """The epoch that a cookie session is sealed with from now on, if it got an owner."""
        binding = cast(Binding, session._policy)
        owner = session._edits.owner
        if binding.epochs is not None and session._owner_epoch is None and isinstance(owner, str | int):
            session._owner_epoch = await epoch_of(binding, owner)

    async def reload(self, session: Session) -> None:
        binding = cast(Binding, session._policy)
        store = cast(RecordStore, binding.store)
        loaded, now = session._loaded, self.now()
        if loaded is None and session._adopted and not session._edits.ended:
            await self.load_record(session)
            return
        if loaded is None:
            session._refill_ended()
            return
        token = Token(loaded.handle, loaded.secret, digest(loaded.secret), loaded.renewed_at, loaded.stale)
        try:
            found = await blamed(store.load(token, binding.codec, binding.lifetime, now), store, binding.name)
            session._fill(*found)
            self.touched = True  # it may be due by now
        except CookieRefused as exc:
            session._fill(None, error=exc)
            self._supersede(session)

    def _refuse(self, session: Session, reason: CookieRefused, now: float) -> None:
        """Begin a new session instead; or take that of another library's cookie."""
        binding: Binding = session._policy  # type: ignore[assignment]  # what the registry gave it
        adoptable = read_adoptable(binding, self.headers, now) if binding.readers else None
        if adoptable is not None:
            values, encoded = adoptable
            # After the response started a cookie can not be replaced: it is not lost, but waits for the next request.
            session._adopt(values, encoded if self.started else binding.empty)
            return
        session._fill(None, error=reason)
        session._superseded = isinstance(reason, RegeneratedSession)
        if isinstance(reason, DuplicateCookie):
            logger.warning(
                "session %r: %s; a changed path or domain of the cookie is a likely cause",
                session.name,
                reason,
            )

    # -- committing -------------------------------------------------------------------------------------------------

    def prepare(self, session: Session) -> Plan | None:
        """Decide, encode and check what is due for a session that was accessed; None: nothing.

        Raises:
            SerializationError, CookieTooLarge: it can not be stored.
            ResponseStarted: it could only be done by a cookie, and the response headers are gone.
            SessionSuperseded: it ended or was regenerated meanwhile, and this request changed it.
        """
        if session._superseded:
            self.give_up(session)
            return None
        plan = prepare(session, self.now(), self.secure)
        return still_possible(plan) if self.started and plan is not None else plan

    def renew_waiting(self, session: Session) -> Plan | None:
        """A renewal, if a cookie of an earlier ``save()`` still waits: it is made anew, and the store asked again.

        That tells whether the session is still there: a login or logout in between has sent a newer cookie.
        """
        name = session._policy.cookie_name.encode()
        if not session._policy.server_side or session._loaded is None:
            return None
        waits = any(scope[0] == name for scope in self.set_cookies or ())
        return renewal(session, self.now(), self.secure) if waits else None

    def commit(self, plans: Sequence[Plan]) -> Awaitable[Sequence[Failure]]:
        """Do what was prepared, all at once; a cancellation lets it complete.

        Returns:
            What went wrong, StoreError or SessionSuperseded; the rest is committed.
        """
        return self._commit(plans[0]) if len(plans) == 1 else self._commit_all(plans)

    async def save(self, session: Session) -> None:
        """Commit one session now."""
        async with self.saving():
            await self.fetch_epoch(session)
            plan = self.prepare(session)
            failed = () if plan is None else await self._commit(plan)
        for _, exc in failed:
            raise exc

    @asynccontextmanager
    async def saving(self) -> AsyncIterator[None]:
        """From preparing to committing, one task at a time, and none while the commit before the response is under way.

        Two that save a new session at once must not create it twice, and what was prepared first must not land last.
        """
        self.touched = True  # a cookie that is saved now waits to be sent: see ``renew_waiting``
        if self.lock is None:
            self.lock = anyio.Lock(fast_acquire=True)
        async with self.lock:
            if self.committing:
                self.committed = anyio.Event()
                await self.committed.wait()
            yield

    def finish(self, plan: Plan) -> None:
        """Note what was committed, or what needs no more than a cookie."""
        plan.done = True
        session = plan.session
        session._committed(plan.after, plan.values, plan.edits, plan.filling)
        if plan.cookies and not self.started:
            self.set_cookies = {**self.set_cookies, **plan.cookies} if self.set_cookies else plan.cookies
            if plan.before is None:
                if session._adopted:
                    session._adopted = False
                if not (self.secure or self.settings.warned) and FORWARDED in self.headers:
                    self._warn_about_secure(plan.binding, [*plan.cookies.values()][-1])

    async def _commit_all(self, plans: Sequence[Plan]) -> list[Failure]:
        failed: list[Failure] = []
        if not plans:
            return failed

        async def commit(plan: Plan) -> None:
            failed.extend(await self._commit(plan))

        async with anyio.create_task_group() as group:
            for plan in plans:
                group.start_soon(commit, plan)
        return failed

    async def _commit(self, plan: Plan) -> Sequence[Failure]:
        if plan.done:
            return ()
        if plan.binding.server_side and (plan.after is not None or plan.doomed is not None):
            seconds = self.settings.commit_timeout
            try:
                kept = await write(plan, seconds, self.now)
                if isinstance(kept, Rival):
                    kept = await line_up(plan, kept, seconds)
            except Exception as exc:
                return [(plan, self._why(plan, exc))]
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    # Every write of a store is safe to repeat, so this costs nothing as long as nobody cancels.
                    await undisturbed(self._commit(plan))
                raise
            if kept is None:
                return [(plan, self._drop(plan))]
            take(plan, kept)
        lost = too_late(plan) if plan.lost else None
        self.finish(plan)
        return () if lost is None else [(plan, lost)]

    def _why(self, plan: Plan, exc: Exception) -> SessionError:
        """The error that says why the store could not be brought in line."""
        if isinstance(exc, SessionError):
            return exc
        error = unavailable(exc, plan.binding.store, plan.binding.name)
        error.__cause__ = exc
        return error

    def _supersede(self, session: Session) -> None:
        """Nothing of it is written any more, and no cookie of it sent."""
        session._superseded = True
        name = session._policy.cookie_name.encode()
        if self.set_cookies:
            self.set_cookies = {scope: cookie for scope, cookie in self.set_cookies.items() if scope[0] != name}

    def give_up(self, session: Session) -> None:
        """Raise once what a superseded session can not write."""
        values = session._encode()
        if not session._is_changed(values):
            return
        session._committed(session._loaded, values, session._edits, session._filling)
        self._supersede(session)
        raise SessionSuperseded(
            f"session {session.name!r} ended or was regenerated meanwhile; the changes of this request are dropped"
        )

    def _drop(self, plan: Plan) -> SessionSuperseded:
        """Nothing of this session is written any more, and no cookie of it sent."""
        plan.session._committed(plan.before, plan.values, plan.edits, plan.filling)
        self._supersede(plan.session)
        known = plan.before or plan.doomed
        handle = known.handle.hex() if known else None
        what = "the changes of this request are dropped" if plan.writes else "it is not renewed"
        return SessionSuperseded(f"session {plan.binding.name!r} ({handle}) ended or was regenerated meanwhile; {what}")

    def _warn_about_secure(self, binding: Binding, cookie: bytes) -> None:
        if b"; Secure" in cookie:
            return
        self.settings.warned = True
        logger.warning(
            "session %r: the cookie is sent without Secure, but a proxy says that the browser came by https; let "
            "the server trust the proxy (uvicorn --proxy-headers --forwarded-allow-ips), or set https_only=True",
            binding.name,
        )
