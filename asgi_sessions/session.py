"""The dict that the application holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from os import urandom
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from ._engine.edits import NOTHING, Edits
from ._engine.record import Change, Flash, Loaded, Owner
from .attributes import category_of, label_of, owner_of
from .cookies import CookieOptions
from .exceptions import CookieRefused, NotSupported, ResponseStarted, SerializationError, SessionError, StoreError
from .lazydict import PLACEHOLDER, LazyDict
from .lifetime import Lifetime
from .models import Views
from .serializers import Serializer

__all__ = ["FlashMessage", "Policy", "Session"]

logger = logging.getLogger("asgi_sessions")

M = TypeVar("M")


class FlashMessage(NamedTuple):
    """One flash message, in the order that ``for category, message in session.flashes()`` unpacks."""

    category: str
    message: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the configuration says about one session."""

    name: str
    cookie_name: str
    lifetime: Lifetime
    options: CookieOptions
    serializer: Serializer
    empty: bytes  # an encoded dict without keys
    server_side: bool
    waits: bool  # whether loading it takes I/O


class Exchange(Protocol):
    """The request and response, or websocket, that a session belongs to."""

    started: bool
    accessed: bool
    touched: bool
    ended: bool

    def now(self) -> float: ...
    def load(self, session: Session) -> None: ...
    async def save(self, session: Session) -> None: ...
    async def reload(self, session: Session) -> None: ...


NO_VALUES: Mapping[Any, Any] = {}


class Session(LazyDict):
    """One visitor's session: a ``dict`` with a name, a lifetime and flashes.

    Whatever can be encoded may be put into it; what changed is found when the session is committed, by comparing
    encoded values, so ``session["cart"].append(x)`` is saved like any other change.

    Attributes:
        accessed: whether this request used the session in any way.
        modified: whether a method of the dict changed it, or ``mark_modified()`` was called. For information:
            a commit compares values.
    """

    # What most requests ask for has slots: in 3.11 an attribute of a dict's subclass takes five times as long.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_base",
        "_edits",
        "_exchange",
        "_filling",
        "_loaded",
        "_pending",
        "_policy",
        "_superseded",
        "_view",
    )

    _failure: StoreError | None = None  # why it could not be loaded yet
    _error: CookieRefused | None = None
    _owner_epoch: int | None = None  # of the owner that was set, once it is known
    _holder = b""  # of the lease, inside an exclusive section
    _adopted = False  # the browser has a cookie of another library that stands for this session

    def __init__(self, policy: Policy, exchange: Exchange) -> None:
        dict.setdefault(self, PLACEHOLDER)  # not super().__init__(): every request pays for it
        self.accessed = self.modified = self._written = self._shared = False
        self._policy = policy
        self._exchange = exchange
        # What was loaded, and what this request did to it.
        self._pending = True  # not loaded yet
        self._filling = 0  # how often it was filled
        self._loaded: Loaded | None = None
        self._base = b""
        self._edits = NOTHING
        self._superseded = False  # it commits nothing any more
        self._view: Views | None = None  # the models that it is seen through

    # -- loading ----------------------------------------------------------------------------------------------------

    def mark_accessed(self) -> None:
        """Load the session if that needs no I/O, and note that this request used it (``Vary: Cookie``).

        Raises:
            SessionNotLoaded: the session lives on the server and was not loaded; ``await registry.get(name)`` first.
            StoreUnavailable: it could not be loaded before the application ran.
        """
        if self._pending:
            if self._failure is not None:
                raise self._failure
            self._exchange.load(self)
        self.accessed = self._exchange.accessed = True

    def mark_modified(self) -> None:
        if not self.accessed:
            self.mark_accessed()
        self.modified = self._written = self._exchange.touched = True

    def _mark_shared(self) -> None:
        self._shared = self._exchange.touched = True

    def _fill(
        self, loaded: Loaded | None, values: Mapping[Any, Any] = NO_VALUES, error: CookieRefused | None = None
    ) -> None:
        """Take what was found in the store and its decoded values, or nothing; drops what this request did so far."""
        if self._pending:
            self._pending = False
        else:
            self._forget()
        if loaded is None:
            self._base = self._policy.empty
            dict.clear(self)
        else:
            self._loaded = loaded
            self._base = loaded.record.values
            dict.clear(self)
            dict.update(self, values)
        if error is not None:
            self._error = error

    def _forget(self) -> None:
        """What this request did so far, and what was loaded."""
        self._filling += 1
        self._edits = NOTHING
        self._loaded = self._error = self._view = None
        self._written = self._shared = self._superseded = False

    def _adopt(self, values: Mapping[Any, Any], base: bytes) -> None:
        """Take what a cookie of another library held; unless ``base`` is that too, it waits to be committed."""
        self._fill(None)
        dict.update(self, values)
        self._adopted = True
        self._base = base
        if base == self._policy.empty:
            self._written = self._shared = self._exchange.touched = True

    def _refill_ended(self) -> None:
        """Drop what this request did to a session without a record; what ended before stays ended."""
        ended, superseded = Edits(doomed=self._edits.doomed, ended=self._edits.ended), self._superseded
        self._fill(None, error=self.error)
        self._superseded = superseded
        self._edits = NOTHING if ended == NOTHING else ended

    def _edit(self, **changed: Any) -> None:
        self._edits = replace(self._edits, **changed)
        self._exchange.touched = True

    def _committed(self, loaded: Loaded | None, values: bytes, edits: Edits, filling: int) -> None:
        """Note a commit of ``values`` and ``edits``; what was done while it was under way stays to be committed."""
        if self._filling == filling:
            self._loaded = loaded
            self._base = values
            if self._written is values:
                self._written = False
            if edits is not NOTHING or self._edits is not NOTHING:
                self._edits = NOTHING if self._edits is edits else self._edits.since(edits)
        elif self._edits.ended and loaded is not None:  # a logout is final, whatever it overtook
            self._edit(doomed=loaded)
        elif self._edits.doomed is not None and self._edits.doomed is edits.doomed:  # this commit has deleted it
            self._edit(doomed=None)

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name it is configured under."""
        return self._policy.name

    @property
    def handle(self) -> str | None:
        """The public name of its record, as 32 hexadecimal digits; safe to log. None if there is no record."""
        self.mark_accessed()
        return self._loaded.handle.hex() if self._loaded and self._loaded.handle else None

    @property
    def error(self) -> CookieRefused | None:
        """Why the cookie that the browser presented was refused; None if it was accepted or there was none."""
        self.mark_accessed()
        return self._error

    @property
    def is_new(self) -> bool:
        """Whether nothing was found for this visitor, or it was invalidated."""
        self.mark_accessed()
        return self._loaded is None

    @property
    def created_at(self) -> float:
        """When it was created, in POSIX seconds; now, if it is new."""
        self.mark_accessed()
        return float(self._loaded.record.created_at) if self._loaded else self._exchange.now()

    @property
    def expires_at(self) -> float:
        """When it ends if nothing renews it, in POSIX seconds; for a new session, if it were committed now."""
        self.mark_accessed()
        lifetime = self._lifetime
        if self._loaded is None:
            now = self._exchange.now()
            return lifetime.expires_at(renewed_at=now, started_at=now)
        record = self._loaded.record
        return lifetime.expires_at(renewed_at=self._loaded.renewed_at, started_at=record.started_at)

    @property
    def max_age(self) -> float | None:
        """The lifetime in force, in seconds, chosen at run time or configured; None: until the browser closes."""
        self.mark_accessed()
        return self._lifetime.max_age

    @property
    def _lifetime(self) -> Lifetime:
        chosen = self._edits.remember
        if chosen is UNSET:
            chosen = None if self._loaded is None else self._loaded.record.remember
        return self._policy.lifetime if chosen is None else self._policy.lifetime.chosen(chosen)

    @property
    def owner(self) -> Owner | None:
        """The principal that the session belongs to, a user id as a rule; None for an anonymous one.

        Setting another one regenerates the session (OWASP: renew the session id after any privilege change).

        Raises:
            TypeError: set to anything but a str, an int or None.
            ValueError: set to what can not be stored: an int of more than 64 bits, a lone surrogate.
            ResponseStarted: set to another principal after the response started.
        """
        self.mark_accessed()
        if self._edits.owner is not UNSET:
            return self._edits.owner
        return self._loaded.record.owner if self._loaded else None

    @owner.setter
    def owner(self, owner: Owner | None) -> None:
        owner = owner_of(owner, self.name)
        if owner == self.owner:
            return
        self.regenerate()
        self._edit(owner=owner)
        self._owner_epoch = None

    @property
    def label(self) -> dict[str, str]:
        """A few words about this session for the owner's list of sessions, such as device and address; assign a dict.

        Raises:
            TypeError: assigned anything but a dict of str to str.
            ValueError: on assignment, longer than 1024 characters all together, or with a lone surrogate.
        """
        self.mark_accessed()
        if self._edits.label is not UNSET:
            return dict(self._edits.label)
        return dict(self._loaded.record.label) if self._loaded else {}

    @label.setter
    def label(self, label: Mapping[str, str]) -> None:
        label = label_of(label, self.name)
        self.mark_accessed()
        stored = self._loaded.record.label if self._loaded else {}
        self._edit(label=UNSET if label == stored else label)

    # -- flashes ----------------------------------------------------------------------------------------------------

    def flash(self, message: Any, category: str = "message") -> None:
        """Leave a message for the next request that asks for it.

        Raises:
            SerializationError: the message can not be stored.
            TypeError, ValueError: the category can not, as it is no str or has a lone surrogate.
        """
        category = category_of(category, self.name)
        self.mark_accessed()
        try:
            encoded = self._policy.serializer.dumps(message)
        except SerializationError as exc:
            raise exc.under(f"flash message in session {self.name!r}") from exc
        self._edit(added=(*self._edits.added, Flash(urandom(8), category, encoded)))

    def flashes(self, category: str | None = None) -> list[FlashMessage]:
        """The waiting messages, oldest first; they are gone afterwards. With ``category``, only those of it.

        Raises:
            TypeError: the category is no str.
        """
        taken = self._of(category)
        if taken:
            added = self._edits.added
            consumed = self._edits.consumed | {flash.id for flash in taken if flash not in added}
            self._edit(consumed=consumed, added=tuple(flash for flash in added if flash not in taken))
        return self._decoded(taken)

    def peek_flashes(self, category: str | None = None) -> list[FlashMessage]:
        """The waiting messages, which stay for another request; ``category`` as for ``flashes()``."""
        return self._decoded(self._of(category))

    def _of(self, category: str | None) -> list[Flash]:
        if category is None:
            return self._waiting()
        wanted = category_of(category, self.name)
        return [flash for flash in self._waiting() if flash.category == wanted]

    def _waiting(self) -> list[Flash]:
        self.mark_accessed()
        edits = self._edits
        stored = self._loaded.record.flashes if self._loaded and not edits.cleared else ()
        return [flash for flash in stored if flash.id not in edits.consumed] + list(edits.added)

    def _decoded(self, flashes: Iterable[Flash]) -> list[FlashMessage]:
        loads = self._policy.serializer.loads
        return [FlashMessage(flash.category, loads(flash.message)) for flash in flashes]

    # -- login, logout, lifetime ------------------------------------------------------------------------------------

    def regenerate(self) -> None:
        """Give the session a new secret; call it at login and at every change of privileges.

        Values and handle stay, the old cookie is worthless from the commit on (session fixation, OWASP ASVS V7.2.4);
        of a cookie session, which no server can end, an old copy stays good until it expires.
        It restarts the ``absolute_timeout``.

        Raises:
            ResponseStarted: the new cookie can not reach the browser any more.
        """
        self.mark_accessed()
        if self._exchange.started:
            raise ResponseStarted(
                f"session {self.name!r}: regenerate() after the response started; the browser would keep a dead cookie"
            )
        self._edit(regenerated=True)

    def invalidate(self) -> None:
        """End the session: values gone, record deleted, cookie expired. What is set afterwards begins a new one.

        After the response started, the record on the server is still deleted.

        Raises:
            ResponseStarted: a cookie session after the response started; its cookie can not be expired any more.
        """
        self.mark_accessed()
        if self._exchange.started and not self._policy.server_side:
            raise ResponseStarted(
                f"session {self.name!r}: invalidate() after the response started; a cookie session lives in the browser"
            )
        doomed, superseded = self._loaded or self._edits.doomed, self._superseded
        self._fill(None, error=self.error)
        self._edit(doomed=doomed, ended=True)
        self._superseded = superseded
        self.modified = self._exchange.ended = True

    def remember(self, max_age: int) -> None:
        """Keep the session for ``max_age`` seconds, over restarts of the browser, until ``forget()``.

        The choice is stored with the session, so it survives later commits.

        Raises:
            ValueError: ``max_age`` is not a positive number of seconds.
            ResponseStarted: the cookie can not reach the browser any more.
        """
        if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not 1 <= max_age <= 1e10:
            raise ValueError(
                f"remember({max_age!r}): must be a positive number of seconds; invalidate() ends a session"
            )
        self._choose(int(max_age))

    def forget(self) -> None:
        """Keep the session until the browser closes; ``ResponseStarted`` as for ``remember()``."""
        self._choose(0)

    def _need_cookie(self, what: str) -> None:
        self.mark_accessed()
        if self._exchange.started:
            raise ResponseStarted(f"session {self.name!r}: {what} after the response started; it needs a cookie")

    def _choose(self, remember: int) -> None:
        self._need_cookie("another lifetime")
        stored = self._loaded.record.remember if self._loaded else None
        self._edit(remember=UNSET if remember == stored else remember)

    @property
    def cookie_options(self) -> CookieOptions:
        """The attributes of this session's cookie; assign ``session.cookie_options.replace(...)`` to change them.

        What differs from the configuration is stored with the session, so it survives later commits.

        Raises:
            ValueError: on assignment, attributes that browsers refuse or that contradict each other.
            ResponseStarted: on assignment, when the cookie can not reach the browser any more.
        """
        self.mark_accessed()
        overrides = self._edits.cookie
        if overrides is UNSET:
            overrides = self._loaded.record.cookie if self._loaded else {}
        return effective_options(self._policy, overrides)

    @cookie_options.setter
    def cookie_options(self, options: CookieOptions) -> None:
        self._need_cookie("other cookie attributes")
        options.validate(self._policy.cookie_name)
        configured = self._policy.options
        stored = self._loaded.record.cookie if self._loaded else {}
        overrides = {
            field.name: getattr(options, field.name)
            for field in fields(CookieOptions)
            if getattr(options, field.name) != getattr(configured, field.name)
        }
        self._edit(cookie=UNSET if overrides == stored else overrides)

    async def save(self) -> None:
        """Commit now instead of when the response starts; what was saved is the new base.

        Raises:
            SerializationError, CookieTooLarge: a value can not be stored; nothing was written.
            SessionSuperseded: a logout, a login or a ``clear()`` elsewhere was faster; the changes are dropped.
            ResponseStarted: the browser would have to get a cookie for it, and can not any more.
            StoreError: the store could not do it.
        """
        self.mark_accessed()
        await self._exchange.save(self)

    async def reload(self) -> None:
        """Read the session anew, dropping unsaved changes; a logout in between leaves it empty, with an ``error``.

        Raises:
            NotSupported: a cookie session lives in the browser; there is nothing newer to read.
            StoreError: the store could not do it.
        """
        if not self._policy.server_side:
            raise NotSupported(
                f"session {self.name!r} lives in its cookie, there is nothing newer to read; use a server-side store"
            )
        self.mark_accessed()
        await self._exchange.reload(self)

    # -- what a commit needs ----------------------------------------------------------------------------------------

    def _model(self, cls: type[M], default: Callable[[], M] | None) -> M:
        """The session's values as an object of that class; it is written back when the session is encoded."""
        if self._view is None:
            self._view = Views(self.name, self._policy.serializer)
        model = self._view.get(cls, dict.copy(self), default)
        self._mark_shared()
        return model

    def _encode(self) -> bytes:
        """The encoded values; what is modified from here on is modified since.

        Raises:
            SerializationError: names the session and the key path.
            ModelMismatch: a model was changed into what does not fit it.
        """
        serializer = self._policy.serializer
        try:
            if self._view is not None and self._view.write(self):
                self.modified = self._written = True
            if self._shared:
                values = serializer.dumps(dict(dict.items(self)))
            else:
                values = serializer.dumps_again(self, self._base)
        except SerializationError as exc:
            raise SerializationError(f"session {self.name!r}{exc.path}", exc.reason) from exc
        if self._written:
            self._written = values or True  # some serializer may need no bytes for no keys
        return values

    def _change(self, values: bytes, now: float, secret_hash: bytes = b"") -> Change:
        edits = self._edits
        if edits is NOTHING:
            return Change(base=self._base, values=values, now=now, only_values=True)
        return Change(
            base=self._base,
            values=values,
            now=now,
            cleared=edits.cleared,
            added=edits.added,
            consumed=edits.consumed,
            secret_hash=secret_hash,
            owner=edits.owner,
            remember=edits.remember,
            cookie=edits.cookie,
            label=edits.label,
        )

    def _is_different(self) -> bool:
        """Whether the values are others now, or such that they can not even be encoded."""
        try:
            return self._encode() != self._base
        except SessionError:
            return True

    def _is_changed(self, values: bytes) -> bool:
        if self._edits is not NOTHING and replace(self._edits, doomed=None, ended=False) != NOTHING:
            return True
        return values != self._base and (self._written is not False or not self._is_respelled(values))

    def _is_respelled(self, values: bytes) -> bool:
        """Whether only the spelling differs: another release or program encoded the base. Reading must not rewrite."""
        serializer = self._policy.serializer
        before = serializer.dumps(serializer.loads(self._base))
        if before == self._base:
            return False
        return serializer.split(before) == serializer.split(values)

    def _has_content(self) -> bool:
        return bool(dict.__len__(self)) or bool(self._waiting()) or self.owner is not None

    def clear(self) -> None:
        """Drop values, flashes and owner, also those that a parallel request has added meanwhile.

        With nothing set afterwards it is ``invalidate()``: many applications log out with it.
        """
        super().clear()
        self._view = None
        self._edit(cleared=True, added=(), owner=None)


def effective_options(policy: Policy, overrides: Mapping[str, Any]) -> CookieOptions:
    """The configured attributes with a session's own ones; those that the configuration forbids by now are ignored."""
    if not overrides:
        return policy.options
    try:
        options = policy.options.replace(**overrides)
        options.validate(policy.cookie_name)
    except (TypeError, ValueError) as exc:
        logger.warning("session %r: its stored cookie attributes %s are ignored: %s", policy.name, [*overrides], exc)
        return policy.options
    return options
