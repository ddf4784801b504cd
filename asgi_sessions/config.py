"""What the application configures, checked once and put together for use."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import Any

from msgspec import UNSET, UnsetType

from ._engine.backends import CookieBackend, RecordBackend
from ._engine.cache import Cache
from ._engine.codec import RecordCodec
from ._engine.profile import CookieProfile, Epochs, RecordProfile
from .cookies import CookieOptions, CookieWriter, SameSite
from .crypto.keys import Keyring
from .exceptions import SessionNotConfigured
from .importers import CookieReader
from .lifetime import Lifetime
from .serializers import MessagePackSerializer, Serializer
from .stores.base import RecordStore, Store
from .stores.cookie import CookieStore
from .stores.owners import OwnerIndex

__all__ = ["SessionConfig"]

Backend = CookieBackend | RecordBackend

ADOPTED_KEPT = 256  # sessions named at run time whose derived keys are kept


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """One further session; what it leaves unset comes from the middleware.

    Attributes:
        name: what the application calls it: ``await sessions.get(name)``.
        store: where it lives.
        cookie_name: None: the same as ``name``.
        encrypt: nobody but the server can read its values: the cookie of a cookie session, else the stored bytes.
        serializer: values <-> bytes.
        max_age: seconds that the session and its cookie live; None: the cookie lasts until the browser closes.
        browser_session_ttl: seconds that the record of such a browser-session cookie lives.
        rolling: a request that accesses the session extends it. Otherwise it ends ``max_age`` after its start.
        refresh_interval: seconds; a rolling session is renewed at most once in this time. None: a tenth of the
            lifetime, at least 60 s, at most half of the lifetime.
        absolute_timeout: seconds from the session's creation or its last ``regenerate()`` (login) to an end that no
            activity moves (OWASP Session Management Cheat Sheet). None: no bound.
        path, domain, same_site, https_only, http_only, partitioned: see ``CookieOptions``.
        epochs: for cookie sessions, which no server can delete: a function, async or not, from an owner to a number
            that the application keeps; raising it ends all sessions of the owner. Such a session is loaded like one on
            the server: before the application runs, or by ``await``.
        max_sessions_per_owner: a login beyond it ends the owner's oldest session; None: no limit.
        readers: for cookies of another library; not the middleware's, as a cookie that was made for one session must
            not open another one.
    """

    name: str
    _: KW_ONLY
    store: Store | UnsetType = UNSET
    cookie_name: str | None = None
    encrypt: bool | UnsetType = UNSET
    serializer: Serializer | UnsetType = UNSET
    max_age: float | UnsetType | None = UNSET
    browser_session_ttl: float | UnsetType = UNSET
    rolling: bool | UnsetType = UNSET
    refresh_interval: float | UnsetType | None = UNSET
    absolute_timeout: float | UnsetType | None = UNSET
    path: str | UnsetType = UNSET
    domain: str | UnsetType | None = UNSET
    same_site: SameSite | UnsetType | None = UNSET
    https_only: bool | UnsetType | None = UNSET
    http_only: bool | UnsetType = UNSET
    partitioned: bool | UnsetType = UNSET
    max_sessions_per_owner: int | UnsetType | None = UNSET
    epochs: Epochs | UnsetType | None = UNSET
    readers: Sequence[CookieReader] = ()


class Configuration:
    """All sessions that one middleware knows.

    Raises:
        ValueError: two sessions share a name or a cookie name, or an option cannot be right.
    """

    def __init__(self, keyring: Keyring, default: SessionConfig, further: Iterable[SessionConfig] = ()) -> None:
        self.keyring = keyring
        self.defaults = _fill(default, _DEFAULTS)
        self.default = self._bind(self.defaults)
        self.backends = {default.name: self.default}
        self._adopted: Cache[str, Backend] = Cache(ADOPTED_KEPT)
        if not isinstance(further, Iterable):
            raise TypeError(f"sessions={further!r}: write a list of SessionConfig objects")
        for config in further:
            self._add(config)

    def stores(self) -> Iterator[Store]:
        """Every store once."""
        yield from {id(backend.store): backend.store for backend in self._every()}.values()

    def find(self, name: str | None) -> Backend | None:
        """The session of that name; None: the middleware's own."""
        if name is None:
            return self.default
        return self.backends.get(name) or self._adopted.get(name)

    def adopt(self, name: str, store: Store) -> Backend:
        """The session ``name`` in ``store``, configured or not.

        Raises:
            ValueError: the name belongs to another store, or is no cookie name.
        """
        backend = self.find(name)
        if backend is None:
            backend = self._bind(_fill(SessionConfig(name=name, store=store), self.defaults))
            self._check_cookie_name(backend)
            self._adopted.put(name, backend)
        if backend.store is not store:
            raise ValueError(f"session {name!r} is kept in another store; take another name, or that store")
        return backend

    def unknown(self, name: str) -> SessionNotConfigured:
        known = ", ".join(map(repr, self.backends))
        return SessionNotConfigured(
            f"no session {name!r}; configured: {known}; "
            f"add SessionConfig({name!r}) to the middleware, or name a store: get({name!r}, store=...)"
        )

    def _every(self) -> list[Backend]:
        return [*self.backends.values(), *self._adopted.values()]

    def _add(self, config: SessionConfig) -> None:
        if not isinstance(config, SessionConfig):
            raise TypeError(f"sessions: {config!r} must be a SessionConfig; write [SessionConfig('cart'), ...]")
        if not isinstance(config.name, str) or not config.name:
            raise TypeError(f"sessions: the name {config.name!r} must be a str such as 'cart'")
        if config.name in self.backends:
            raise ValueError(f"sessions: two of the name {config.name!r}; names must differ")
        backend = self._bind(_fill(config, self.defaults))
        self._check_cookie_name(backend)
        self.backends[config.name] = backend

    def _check_cookie_name(self, backend: Backend) -> None:
        for other in self._every():
            if other.profile.cookie_name == backend.profile.cookie_name:
                raise ValueError(
                    f"sessions {other.profile.name!r} and {backend.profile.name!r} share the cookie name "
                    f"{backend.profile.cookie_name!r}; give one of them a cookie_name of its own"
                )

    def _bind(self, config: SessionConfig) -> Backend:
        """Check a configuration whose every option is set, and make it ready for use."""
        cookie_name = config.name if config.cookie_name is None else config.cookie_name
        for option in ("encrypt", "rolling"):
            if not isinstance(value := getattr(config, option), bool):
                raise TypeError(f"session {config.name!r}: {option}={value!r}: write True or False")
        options = CookieOptions(**_options(config, CookieOptions))
        lifetime = Lifetime(**_options(config, Lifetime))
        store, serializer, keyring = config.store, config.serializer, self.keyring
        if not isinstance(store, CookieStore | RecordStore):
            raise TypeError(f"session {config.name!r}: store={store!r} must be a store, such as MemoryStore()")
        if not isinstance(serializer, Serializer):
            raise TypeError(f"session {config.name!r}: serializer={serializer!r} must be one, such as JSONSerializer()")
        _check_max_sessions(config, store)
        _check_epochs(config, store)
        common: dict[str, Any] = {
            "name": config.name,
            "cookie_name": cookie_name,
            "lifetime": lifetime,
            "options": options,
            "serializer": serializer,
            "empty": serializer.dumps({}),
            "writer": CookieWriter(cookie_name, options),
            "readers": _checked_readers(config),
        }
        if isinstance(store, CookieStore):
            sealer = keyring.encrypter(cookie_name) if config.encrypt else keyring.signer(cookie_name)
            codec = RecordCodec(serializer, readable=False)
            epochs = config.epochs or None
            return CookieBackend(CookieProfile(**common, sealer=sealer, codec=codec, epochs=epochs), store)
        codec = RecordCodec(serializer, keyring.record_encrypter(cookie_name) if config.encrypt else None)
        profile = RecordProfile(
            **common,
            sealer=keyring.signer(cookie_name),
            codec=codec,
            owner_names=keyring.owner_names(cookie_name),
            max_sessions=config.max_sessions_per_owner or None,
        )
        return RecordBackend(profile, store, _checked_write_timeout(config.name, store))


def _options(config: SessionConfig, cls: type[CookieOptions] | type[Lifetime]) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(cls) if field.init}


def _checked_readers(config: SessionConfig) -> tuple[CookieReader, ...]:
    readers = config.readers
    if not isinstance(readers, Iterable) or not all(isinstance(reader, CookieReader) for reader in readers):
        raise TypeError(f"session {config.name!r}: readers={readers!r}: write a list such as [StarletteCookies(...)]")
    return tuple(readers)


def _checked_write_timeout(name: str, store: RecordStore) -> float:
    timeout: object = store.write_timeout
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        what = f"{type(store).__name__}.write_timeout={timeout!r}"
        raise ValueError(f"session {name!r}: {what}: must be a number of seconds, 0 or more, as a property")
    return timeout


def _check_max_sessions(config: SessionConfig, store: Store) -> None:
    limit = config.max_sessions_per_owner
    if limit is None or limit is UNSET:
        return
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"session {config.name!r}: max_sessions_per_owner={limit!r}: write a number from 1, or None")
    if not isinstance(store, OwnerIndex):
        raise ValueError(
            f"session {config.name!r}: max_sessions_per_owner={limit} needs a store with an index of owners, "
            f"which {type(store).__name__} has not; use a MemoryStore, FilesystemStore or RedisStore"
        )


def _check_epochs(config: SessionConfig, store: Store) -> None:
    if config.epochs is None:
        return
    if not callable(config.epochs):
        raise TypeError(f"session {config.name!r}: epochs={config.epochs!r}: write a function that returns a number")
    if not isinstance(store, CookieStore):
        raise ValueError(
            f"session {config.name!r}: epochs are for cookie sessions; those of this store can be listed and ended, "
            "see SessionManager"
        )


_OPTIONS: dict[str, Any] = {f.name: f.default for cls in (CookieOptions, Lifetime) for f in fields(cls) if f.init}
_DEFAULTS = SessionConfig(
    "session",
    store=CookieStore(),
    encrypt=False,
    serializer=MessagePackSerializer(),
    max_sessions_per_owner=None,
    epochs=None,
    **_OPTIONS,
)


def _fill(config: SessionConfig, defaults: SessionConfig) -> SessionConfig:
    unset = [field.name for field in fields(SessionConfig) if getattr(config, field.name) is UNSET]
    filled = replace(config, **{name: getattr(defaults, name) for name in unset})
    if "epochs" in unset and not isinstance(filled.store, CookieStore):
        filled = replace(filled, epochs=None)
    return filled
