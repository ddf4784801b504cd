"""The dict that the application holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from os import urandom
from typing import TYPE_CHECKING, Any, NamedTuple, Self, SupportsIndex, TypeVar

from msgspec.structs import replace

from ._engine.backends import RecordBackend, fill
from ._engine.exchange import reload, save
from ._engine.plan import lifetime_of, waiting_flashes
from ._engine.profile import CookieProfile, RecordProfile
from ._engine.record import NOTHING, Flash, Owner, Record
from ._engine.state import Backend, Exchange, SessionState
from .cookies import CookieOptions
from .exceptions import CookieRefused, NotSupported, ResponseStarted, SerializationError, SessionError
from .models import Views

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_keys, dict_values

__all__ = ["FlashMessage", "Session"]

M = TypeVar("M")

PLACEHOLDER = object()
DEAD_COOKIE = "the browser would keep a dead cookie"
LONGEST_LABEL = 1024  # characters; a list of sessions shows a few words of each
SMALLEST_OWNER, LARGEST_OWNER = -(2**63), 2**64 - 1  # the numbers that MessagePack has

_IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes})
_EMPTY = Record(values=b"", created_at=0, started_at=0)  # the attributes of a new session


class FlashMessage(NamedTuple):
    """One flash message, in the order that ``for category, message in session.flashes()`` unpacks."""

    category: str
    message: Any


class LazyDict(SessionState):
    """A real ``dict`` that is filled at its first access, and whose methods note each access and each modification.

    Until it is filled it holds one private placeholder: C code that asks for its length or its items either goes
    through the methods below (``json.dumps``) or fails loudly at a key that is no string, and never takes it
    for an empty dict.

    Attributes:
        accessed: whether it was used in any way.
        modified: whether one of its own methods changed it, or ``mark_modified()`` was called. For information: a
            commit compares values.
    """

    __slots__ = ()

    def __init__(self, backend: Backend, profile: CookieProfile | RecordProfile, exchange: Exchange) -> None:
        dict.setdefault(self, PLACEHOLDER)  # not super().__init__(): every request pays for it
        self.accessed = self.modified = self.written = self.shared = False
        self.backend = backend
        self.profile = profile
        self.exchange = exchange
        self.pending = True
        self.edits = NOTHING
        self.loaded = None

    def mark_accessed(self) -> None:
        """Load the session if that needs no I/O, and note that this request used it (``Vary: Cookie``).

        Every method of the dict calls it, and so does Starlette's ``request.session``.

        Raises:
            SessionNotLoaded: the session lives on the server and was not loaded; ``await registry.get(name)`` first.
            StoreUnavailable: it could not be loaded before the application ran.
        """
        if self.pending:
            if self.failure is not None:
                raise self.failure
            self.backend.load_now(self)
        self.accessed = self.exchange.accessed = True

    def mark_modified(self) -> None:
        """Note a modification; never needed for a change to be saved."""
        if not self.accessed:
            self.mark_accessed()
        self.modified = self.written = self.exchange.touched = True

    def _mark_shared(self) -> None:
        """Note that from now on a value may change unseen."""
        self.shared = self.exchange.touched = True

    def __getitem__(self, key: Any) -> Any:
        if not self.accessed:
            self.mark_accessed()
        value = dict.__getitem__(self, key)
        if type(value) not in _IMMUTABLE:
            self._mark_shared()
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        if not self.accessed:
            self.mark_accessed()
        value = dict.get(self, key, default)
        if type(value) not in _IMMUTABLE:
            self._mark_shared()
        return value

    def __contains__(self, key: object) -> bool:
        self.mark_accessed()
        return dict.__contains__(self, key)

    def __iter__(self) -> Iterator[Any]:
        self.mark_accessed()
        return dict.__iter__(self)

    def __reversed__(self) -> Iterator[Any]:
        self.mark_accessed()
        return dict.__reversed__(self)

    def __len__(self) -> int:
        self.mark_accessed()
        return dict.__len__(self)

    def keys(self) -> dict_keys[Any, Any]:
        self.mark_accessed()
        return dict.keys(self)

    def values(self) -> dict_values[Any, Any]:
        self.mark_accessed()
        self._mark_shared()
        return dict.values(self)

    def items(self) -> dict_items[Any, Any]:
        self.mark_accessed()
        self._mark_shared()
        return dict.items(self)

    def copy(self) -> dict[Any, Any]:
        """A plain dict with the same values."""
        self.mark_accessed()
        self._mark_shared()
        return dict.copy(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return dict, (self.copy(),)  # copy.deepcopy() and pickle get the values, never the connection

    def __eq__(self, other: object) -> bool:
        self.mark_accessed()
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        self.mark_accessed()
        return dict.__ne__(self, other)

    def __or__(self, other: Any) -> dict[Any, Any]:
        merged: dict[Any, Any] = self.copy() | other
        return merged

    def __ror__(self, other: Any) -> dict[Any, Any]:
        return other | self.copy()  # type: ignore[no-any-return]  # a dict, or NotImplemented raised by it

    def __repr__(self) -> str:
        try:
            self.mark_accessed()
        except SessionError as exc:
            return f"<{type(self).__name__}: {exc}>"
        return dict.__repr__(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.accessed:
            self.mark_accessed()
        if self.written is not True or not self.modified:
            self.modified = self.written = self.exchange.touched = True
        if type(value) not in _IMMUTABLE or type(key) is not str:
            self._mark_shared()  # whoever wrote a list may still have it in hand
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: Any) -> None:
        self.mark_modified()
        dict.__delitem__(self, key)

    def __ior__(self, other: Any) -> Self:
        self.mark_modified()
        self._mark_shared()
        dict.update(self, other)
        return self

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.mark_modified()
        self._mark_shared()
        dict.update(self, *args, **kwargs)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        self.mark_accessed()
        self._mark_shared()
        if not dict.__contains__(self, key):
            self.mark_modified()
        return dict.setdefault(self, key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        self.mark_accessed()
        if dict.__contains__(self, key):
            self.mark_modified()
        return dict.pop(self, key, *default)

    def popitem(self) -> tuple[Any, Any]:
        self.mark_accessed()
        item = dict.popitem(self)
        self.mark_modified()
        return item

    def clear(self) -> None:
        self.mark_modified()
        dict.clear(self)


class Session(LazyDict):
    """One visitor's session: a ``dict`` with a name, a lifetime and flashes.

    Whatever can be encoded may be put into it; what changed is found when the session is committed, by comparing
    encoded values, so ``session["cart"].append(x)`` is saved like any other change.

    Attributes:
        accessed: whether this request used the session in any way.
        modified: whether a method of the dict changed it, or ``mark_modified()`` was called. For information:
            a commit compares values.
    """

    __slots__ = ()

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name it is configured under."""
        return self.profile.name

    @property
    def cookie_name(self) -> str:
        """The name of its cookie."""
        return self.profile.cookie_name

    @property
    def handle(self) -> str | None:
        """The public name of its record, as 32 hexadecimal digits; safe to log. None if there is no record."""
        self.mark_accessed()
        loaded = self.loaded
        return loaded.handle.hex() if loaded and loaded.handle else None

    @property
    def error(self) -> CookieRefused | None:
        """Why the cookie that the browser presented was refused; None if it was accepted or there was none."""
        self.mark_accessed()
        return self.refusal

    @property
    def is_new(self) -> bool:
        """Whether nothing was found for this visitor, or it was invalidated."""
        self.mark_accessed()
        return self.loaded is None

    @property
    def created_at(self) -> float:
        """When it was created, in POSIX seconds; now, if it is new."""
        self.mark_accessed()
        loaded = self.loaded
        return float(loaded.record.created_at) if loaded else self.exchange.now()

    @property
    def expires_at(self) -> float:
        """When it ends if nothing renews it, in POSIX seconds; for a new session, if it were committed now."""
        self.mark_accessed()
        lifetime, loaded = lifetime_of(self), self.loaded
        if loaded is None:
            now = self.exchange.now()
            return lifetime.expires_at(renewed_at=now, started_at=now)
        return lifetime.expires_at(renewed_at=loaded.renewed_at, started_at=loaded.record.started_at)

    @property
    def max_age(self) -> float | None:
        """The lifetime in force, in seconds, chosen at run time or configured; None: until the browser closes."""
        self.mark_accessed()
        return lifetime_of(self).max_age

    # -- attributes: fields of the record that the application sets -------------------------------------------------

    @property
    def owner(self) -> Owner | None:
        """The principal that the session belongs to, a user id as a rule; None for an anonymous one.

        Setting another one regenerates the session (OWASP: renew the session id after any privilege change).

        Raises:
            TypeError: set to anything but a str, an int or None.
            ValueError: set to what cannot be stored: an int of more than 64 bits, a lone surrogate.
            ResponseStarted: set to another principal after the response started.
        """
        owner: Owner | None = self._attribute("owner")
        return owner

    @owner.setter
    def owner(self, owner: Owner | None) -> None:
        owner = _plain_owner(owner, self.profile.name)
        if owner != self._attribute("owner"):
            if self.exchange.started:
                raise ResponseStarted(f"session {self.name!r}: another owner after the response started; {DEAD_COOKIE}")
            self._edit(regenerated=True, attributes={**self.edits.attributes, "owner": owner})
            self.owner_epoch = None

    @property
    def label(self) -> dict[str, str]:
        """A few words about this session for the owner's list of sessions, such as device and address; assign a dict.

        Raises:
            TypeError: assigned anything but a dict of str to str.
            ValueError: on assignment, longer than 1024 characters all together, or with a lone surrogate.
        """
        return dict(self._attribute("label"))

    @label.setter
    def label(self, label: Mapping[str, str]) -> None:
        self._set_attribute("label", _plain_label(label, self.name))

    def remember(self, max_age: int) -> None:
        """Keep the session for ``max_age`` seconds, over restarts of the browser, until ``forget()``.

        The choice is stored with the session, so it survives later commits.

        Raises:
            ValueError: ``max_age`` is not a positive number of seconds.
            ResponseStarted: the cookie cannot reach the browser any more.
        """
        if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not 1 <= max_age <= 1e10:
            raise ValueError(
                f"remember({max_age!r}): must be a positive number of seconds; invalidate() ends a session"
            )
        self._need_cookie("another lifetime")
        self._set_attribute("remember", int(max_age))

    def forget(self) -> None:
        """Keep the session until the browser closes; ``ResponseStarted`` as for ``remember()``."""
        self._need_cookie("another lifetime")
        self._set_attribute("remember", 0)

    @property
    def cookie_options(self) -> CookieOptions:
        """The attributes of this session's cookie; assign ``session.cookie_options.replace(...)`` to change them.

        What differs from the configuration is stored with the session, so it survives later commits.

        Raises:
            ValueError: on assignment, attributes that browsers refuse or that contradict each other.
            ResponseStarted: on assignment, when the cookie cannot reach the browser any more.
        """
        return self.profile.effective_options(self._attribute("cookie"))

    @cookie_options.setter
    def cookie_options(self, options: CookieOptions) -> None:
        self._need_cookie("other cookie attributes")
        profile = self.profile
        options.validate(profile.cookie_name)
        chosen = {field.name: getattr(options, field.name) for field in fields(CookieOptions)}
        overrides = {name: value for name, value in chosen.items() if value != getattr(profile.options, name)}
        self._set_attribute("cookie", overrides)

    def _attribute(self, name: str) -> Any:
        self.mark_accessed()
        if name in self.edits.attributes:
            return self.edits.attributes[name]
        return getattr(self.loaded.record if self.loaded else _EMPTY, name)

    def _set_attribute(self, name: str, value: Any) -> None:
        """Note the new value of the record's field; the stored one again is no change."""
        self.mark_accessed()
        stored = getattr(self.loaded.record if self.loaded else _EMPTY, name)
        attributes = {**self.edits.attributes, name: value}
        if value == stored:
            del attributes[name]
        self._edit(attributes=attributes)

    def _need_cookie(self, what: str) -> None:
        self.mark_accessed()
        if self.exchange.started:
            raise ResponseStarted(f"session {self.name!r}: {what} after the response started; it needs a cookie")

    def _edit(self, **changed: Any) -> None:
        self.edits = replace(self.edits, **changed)
        self.exchange.touched = True

    # -- flashes ----------------------------------------------------------------------------------------------------

    def flash(self, message: Any, category: str = "message") -> None:
        """Leave a message for the next request that asks for it.

        Raises:
            SerializationError: the message cannot be stored.
            TypeError, ValueError: the category cannot, as it is no str or has a lone surrogate.
        """
        category = _plain_category(category, self.name)
        self.mark_accessed()
        try:
            encoded = self.profile.serializer.dumps(message)
        except SerializationError as exc:
            raise exc.under(f"flash message in session {self.name!r}") from exc
        self._edit(added=(*self.edits.added, Flash(urandom(8), category, encoded)))

    def flashes(self, category: str | None = None) -> list[FlashMessage]:
        """The waiting messages, oldest first; they are gone afterwards. With ``category``, only those of it.

        Raises:
            TypeError: the category is no str.
        """
        taken = self._waiting(category)
        if taken:
            edits = self.edits
            consumed = edits.consumed | {flash.id for flash in taken if flash not in edits.added}
            self._edit(consumed=consumed, added=tuple(flash for flash in edits.added if flash not in taken))
        return self._decoded(taken)

    def peek_flashes(self, category: str | None = None) -> list[FlashMessage]:
        """The waiting messages, which stay for another request; ``category`` as for ``flashes()``."""
        return self._decoded(self._waiting(category))

    def _waiting(self, category: str | None) -> list[Flash]:
        wanted = None if category is None else _plain_category(category, self.name)
        self.mark_accessed()
        return [flash for flash in waiting_flashes(self) if wanted is None or flash.category == wanted]

    def _decoded(self, flashes: Iterable[Flash]) -> list[FlashMessage]:
        loads = self.profile.serializer.loads
        return [FlashMessage(flash.category, loads(flash.message)) for flash in flashes]

    # -- login, logout ----------------------------------------------------------------------------------------------

    def regenerate(self) -> None:
        """Give the session a new secret; call it at login and at every change of privileges.

        Values and handle stay, the old cookie is worthless from the commit on (session fixation, OWASP ASVS V7.2.4);
        of a cookie session, which no server can end, an old copy stays good until it expires.
        It restarts the ``absolute_timeout``.

        Raises:
            ResponseStarted: the new cookie cannot reach the browser any more.
        """
        self.mark_accessed()
        if self.exchange.started:
            raise ResponseStarted(f"session {self.name!r}: regenerate() after the response started; {DEAD_COOKIE}")
        self._edit(regenerated=True)

    def invalidate(self) -> None:
        """End the session: values gone, record deleted, cookie expired. What is set afterwards begins a new one.

        After the response started, the record on the server is still deleted.

        Raises:
            ResponseStarted: a cookie session after the response started; its cookie cannot be expired any more.
        """
        self.mark_accessed()
        if self.exchange.started and not isinstance(self.backend, RecordBackend):
            raise ResponseStarted(
                f"session {self.name!r}: invalidate() after the response started; a cookie session lives in the browser"
            )
        doomed, superseded = self.loaded or self.edits.doomed, self.superseded
        fill(self, error=self.refusal)
        self._edit(doomed=doomed, ended=True)
        self.superseded = superseded
        self.modified = self.exchange.ended = True

    def clear(self) -> None:
        """Drop values, flashes and owner, also those that a parallel request has added meanwhile.

        With nothing set afterwards it is ``invalidate()``: many applications log out with it.
        """
        super().clear()
        self.views = None
        self._edit(cleared=True, added=(), attributes={**self.edits.attributes, "owner": None})

    # -- now, instead of when the response starts -------------------------------------------------------------------

    async def save(self) -> None:
        """Commit now instead of when the response starts; what was saved is the new base.

        Raises:
            SerializationError, CookieTooLarge: a value cannot be stored; nothing was written.
            SessionSuperseded: a logout, a login or a ``clear()`` elsewhere was faster; the changes are dropped.
            ResponseStarted: the browser would have to get a cookie for it, and cannot any more.
            StoreError: the store could not do it.
        """
        self.mark_accessed()
        await save(self)

    async def reload(self) -> None:
        """Read the session anew, dropping unsaved changes; a logout in between leaves it empty, with an ``error``.

        Raises:
            NotSupported: a cookie session lives in the browser; there is nothing newer to read.
            StoreError: the store could not do it.
        """
        if not isinstance(self.backend, RecordBackend):
            raise NotSupported(
                f"session {self.name!r} lives in its cookie, there is nothing newer to read; use a server-side store"
            )
        self.mark_accessed()
        await reload(self)

    def model(self, cls: type[M], default: Callable[[], M] | None = None) -> M:
        """The session as an object of that class; see ``SessionRegistry.model``."""
        self.mark_accessed()
        if self.views is None:
            self.views = Views(self.name, self.profile.serializer)
        model = self.views.get(cls, dict.copy(self), default)
        self._mark_shared()
        return model


# -- attributes, checked at once: whatever is kept can be stored and read ---------------------------------------------


def _plain_owner(owner: object, session: str) -> Owner | None:
    if owner is None:
        return None
    if isinstance(owner, str):
        return _plain_text(owner, f"session {session!r}: owner")
    if isinstance(owner, bool) or not isinstance(owner, int):
        raise TypeError(f"session {session!r}: owner must be a str, an int or None, not {type(owner).__name__}")
    if not SMALLEST_OWNER <= owner <= LARGEST_OWNER:
        raise ValueError(f"session {session!r}: owner {owner!r:.40} has more than 64 bits; write str(...)")
    return int.__int__(owner)


def _plain_label(label: object, session: str) -> dict[str, str]:
    what = f"session {session!r}: label"
    pairs: list[tuple[Any, Any]] = [*label.items()] if isinstance(label, Mapping) else [(None, None)]
    if not all(isinstance(word, str) for pair in pairs for word in pair):
        raise TypeError(f"{what} must be a dict of str to str, such as {{'device': 'phone'}}")
    if (size := sum(len(key) + len(word) for key, word in pairs)) > LONGEST_LABEL:
        raise ValueError(f"{what} has {size} characters; write at most {LONGEST_LABEL}")
    return {_plain_text(key, what): _plain_text(word, what) for key, word in pairs}


def _plain_category(category: object, session: str) -> str:
    what = f"session {session!r}: the category of a flash message"
    if not isinstance(category, str):
        raise TypeError(f"{what} must be a str, not {type(category).__name__}")
    return _plain_text(category, what)


def _plain_text(value: str, what: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ValueError(f"{what} {value!r:.40} has a lone surrogate, which cannot be stored") from exc
    return str.__str__(value)  # plain, whatever a subclass shows
