"""Every error of this package, sorted by whose fault it is.

::

    SessionError
    ├── CookieRefused            the client's: never raised to the application, kept as ``session.error``
    │   ├── MalformedSession     not one of our tokens, or authentic and yet not readable
    │   ├── BadCookieSignature   forged, altered, or sealed under a key, mode or cookie name that is not ours
    │   ├── ExpiredSession       older than its lifetime allows, or dated in the future
    │   ├── UnknownSession       authentic, but the store holds no such record (logged out, revoked, expired)
    │   ├── NewerFormat          authentic, but written by a newer version, or in an unknown format; left alone
    │   ├── RegeneratedSession   its secret was replaced by ``regenerate()`` a moment ago
    │   └── DuplicateCookie      several cookies of one name that contradict each other (cookie tossing)
    ├── SessionNotConfigured     the application's: no registry in the scope, or no session of that name
    ├── SessionNotLoaded         the application's: used before it was loaded
    ├── SerializationError       the application's: a value that cannot be stored; names the key path
    ├── ModelMismatch            the application's: a session's values do not fit the model; names the field
    ├── CookieTooLarge           the application's: over 4096 bytes; names the size, the limit, the largest keys
    ├── ResponseStarted          the application's: too late to reach the browser
    ├── NotSupported             the application's: this store cannot do that
    ├── SessionSuperseded        nobody's: a logout, a login or a ``clear()`` elsewhere was faster
    └── StoreError               the system's; always raised ``from`` its cause
        ├── StoreUnavailable     unreachable, refused, broken: the outcome may be unknown
        │   ├── StoreTimeout     no answer within the deadline
        │   │   └── LeaseTimeout an exclusive section was not free in time
        │   └── StoreFull        out of memory or out of disk
        └── SessionConflict      too many parallel commits to one session
            └── LeaseExpired     an exclusive section outlived its lease; nothing of it was committed
"""

from collections.abc import Sequence
from typing import ClassVar


class SessionError(Exception):
    """The root of this package's errors."""


class CookieRefused(SessionError):
    """Why a presented cookie was not accepted; found in ``session.error``, never raised to the application.

    Attributes:
        stage: how far the cookie got before it was refused; of several, the one that got furthest is reported.
    """

    stage: ClassVar[int] = 0


class MalformedSession(CookieRefused):
    """Not one of our tokens, or authentic and yet not readable."""


class BadCookieSignature(CookieRefused):
    """Forged, altered, or sealed under a key, mode or cookie name that is not ours."""

    stage = 1


class ExpiredSession(CookieRefused):
    """Older than its lifetime allows, or issued more than 60 s in the future."""

    stage = 3


class UnknownSession(CookieRefused):
    """Authentic, but the store holds no such record: logged out, revoked or expired."""

    stage = 2


class NewerFormat(CookieRefused):
    """Written by a newer version of this package, or in a format that this one does not know; left alone."""

    stage = 2


class RegeneratedSession(CookieRefused):
    """Its secret was replaced by ``regenerate()`` a moment ago; this request can neither read nor write."""

    stage = 4


class DuplicateCookie(CookieRefused):
    """Several cookies of one name that contradict each other (cookie tossing)."""

    stage = 5


class SessionNotConfigured(SessionError, LookupError):
    """There is no ``SessionMiddleware`` around this connection, or it knows no session of that name."""


class SessionNotLoaded(SessionError, RuntimeError):
    """A session was used before it was loaded; the message says what to await."""


class SerializationError(SessionError, TypeError):
    """A value that cannot be stored.

    Attributes:
        path: where it is, as Python would index it: ``session['cart'][0]``.
        reason: what is wrong with it, e.g. ``"socket objects cannot be stored"``.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def under(self, prefix: str) -> "SerializationError":
        """The same error, its path seen from further out."""
        return SerializationError(prefix + self.path, self.reason)


class ModelMismatch(SessionError, ValueError):
    """A session's values do not fit the model, or a model was changed into what would not fit it any more.

    Attributes:
        session: the session's name.
        model: the name of the model's class.
        field: the field that is wrong, which is the session's key; None where it is not a single field's fault.
        reason: what is wrong with it; does not quote the value.
    """

    def __init__(self, session: str, model: str, field: str | None, reason: str, advice: str) -> None:
        where = "" if field is None else f", field {field!r}"
        super().__init__(f"session {session!r} does not fit {model}{where}: {reason}; {advice}")
        self.session = session
        self.model = model
        self.field = field
        self.reason = reason


class CookieTooLarge(SessionError, ValueError):
    """A cookie whose name and value together exceed what browsers keep.

    Attributes:
        session: the session's name.
        size, limit: bytes of name and value together.
        largest: the largest top-level keys with their encoded sizes in bytes, largest first.
    """

    def __init__(self, session: str, size: int, limit: int, largest: Sequence[tuple[object, int]] = ()) -> None:
        keys = ", ".join(f"{key!r} ({length} bytes)" for key, length in largest)
        super().__init__(
            f"session {session!r}: the cookie would take {size} bytes, browsers keep at most {limit}"
            + (f"; largest keys: {keys}" if keys else "")
            + "; store less, or use a server-side store"
        )
        self.session = session
        self.size = size
        self.limit = limit
        self.largest = tuple(largest)


class ResponseStarted(SessionError, RuntimeError):
    """The response has started: this can no longer reach the browser."""


class NotSupported(SessionError, RuntimeError):
    """The session's store cannot do that; the message says why and which store can."""


class SessionSuperseded(SessionError):
    """A logout, a login or a ``clear()`` elsewhere was faster; the changes of this request were dropped."""


class StoreError(SessionError):
    """A store could not do its work; ``__cause__`` is what it met."""


class StoreUnavailable(StoreError):
    """The store is unreachable, refuses, or broke off; whether a write took place may be unknown."""


class StoreTimeout(StoreUnavailable):
    """The store did not answer within its deadline; whether a write took place may be unknown."""


class LeaseTimeout(StoreTimeout):
    """Another holder kept the exclusive section for longer than this one was ready to wait."""


class StoreFull(StoreUnavailable):
    """The store is out of memory or out of disk; the record is what it was before."""


class SessionConflict(StoreError):
    """Other processes committed to the same session in between, more often than the commit was retried."""


class LeaseExpired(SessionConflict):
    """An exclusive section took longer than its lease, so somebody else may have entered; nothing was committed."""
