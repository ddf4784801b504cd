"""What one request knows of its sessions, and did to them.

Theory of operation. A session's state is *pending* until its first use, when a backend *fills* it: with what it
loaded, or with nothing, which makes it a new session. From then on the application changes the session's dict (found
at commit, by comparing encodings), and its *edits* (everything else). ``plan.decide`` turns both into a ``Plan``, the
exchange carries it out, and ``plan.settle`` makes what was committed the new base, so that a later commit starts from
there. What the application does while a commit is under way stays to be committed by the next one: ``written`` tells
later changes of the dict from committed ones, ``Edits.since`` does it for edits, and ``filling`` tells that the
session was filled anew (``invalidate()``, ``reload()``), so that the outcome belongs to its past.

A state ends *superseded* if a logout, a login or a ``clear()`` elsewhere was faster: it commits nothing and sends no
cookie any more, until it is filled again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ..cookies import CookieScope
from ..exceptions import CookieRefused, SessionError
from ..models import Views
from .profile import CookieProfile, RecordProfile
from .record import Edits, Loaded

if TYPE_CHECKING:
    import anyio

SECURE = frozenset({"https", "wss"})  # schemes
Headers = Iterable[tuple[bytes, bytes]]


class Settings(msgspec.Struct):
    """What the exchanges of one middleware share.

    Attributes:
        clock: POSIX seconds.
        commit_timeout: seconds that all commits of one response may take together.
        warned: the warnings that were given: about a cookie without Secure behind an https proxy, and about the type
            of a foreign session in the scope.
    """

    clock: Callable[[], float]
    commit_timeout: float
    warned: set[str]


class Exchange(msgspec.Struct, eq=False, gc=False):
    """One request and its response, or one websocket.

    It refers neither to the scope nor to the sessions: a reference cycle would leave each request to the garbage
    collector. A struct is made in half the time of another object.

    Attributes:
        headers: the request's.
        scheme: of the connection; see ``SECURE``.
        now: POSIX seconds.
        accessed: whether the application used any of the sessions.
        touched: whether there may be something to commit: False as long as all was only read, and nothing was due for
            renewal when it was loaded.
        ended: whether it ended one of them.
        started: whether the response headers are gone.
        stored: whether one of the sessions lives on the server.
        epochs: whether the owner of one of the cookie sessions has an epoch.
        committing: whether the commit before the response is under way.
        committed: set when it is over; None until somebody waits for that.
        lock: see ``exchange.saving``; None until it is needed.
        set_cookies: by name, path and domain: the values of Set-Cookie that wait to be sent, if any.
    """

    settings: Settings
    headers: Headers
    scheme: str | None
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


class Backend(Protocol):
    """Where a session is loaded from; one class for each kind, in ``backends``."""

    def load_now(self, state: SessionState) -> None:
        """Load it without I/O; SessionNotLoaded if that is impossible."""

    async def load(self, state: SessionState) -> None:
        """Load it; StoreError or NotSupported if the store cannot be read."""


class SessionState(dict[Any, Any]):
    """The engine's part of a ``Session``; applications leave its attributes alone.

    Attributes:
        accessed: whether this request used the session in any way.
        modified: whether a method of the dict changed it; for information.
        base: the encoded dict as it was loaded or last committed.
        pending: it is not loaded yet.
        loaded: None for a new session.
        edits: changes beside the dict.
        written: a method of the dict changed it since the last commit; the encoded dict: but not since then.
        shared: a value that can change unseen was handed out, or anything set but a scalar under a str.
        filling: how often it was filled.
        superseded: it commits nothing any more.
        views: the models that the application sees it through.
        failure: why it could not be loaded before the application ran; raised when it is used.
        refusal: why the cookie was refused.
        adopted: the browser has a cookie of another library that stands for this session.
        owner_epoch: the epoch of the owner that was set, once it is known.
        holder: of the lease, inside an exclusive section.
    """

    # What most requests ask for has slots: in 3.11 any other attribute of a dict's subclass takes five times as long.
    __slots__ = (
        "__dict__", "__weakref__", "accessed", "backend", "base", "edits", "exchange", "loaded", "modified", "pending",
        "profile", "shared", "written",
    )  # fmt: skip

    accessed: bool
    modified: bool
    backend: Backend
    profile: CookieProfile | RecordProfile
    exchange: Exchange
    base: bytes
    pending: bool
    loaded: Loaded | None
    edits: Edits
    written: bool | bytes
    shared: bool
    filling = 0
    superseded = False
    views: Views | None = None
    failure: SessionError | None = None
    refusal: CookieRefused | None = None
    adopted = False
    owner_epoch: int | None = None
    holder = b""
