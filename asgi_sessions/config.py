"""What the application configures, checked once and put together for use."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import partial

from msgspec import UNSET, UnsetType

from ._engine.opener import Opener
from ._engine.record import Loaded, Owner, RecordCodec, Token, token_of
from .cookies import CookieOptions, CookieWriter, SameSite
from .crypto.keys import Keyring
from .crypto.seal import OwnerNames, Sealer
from .exceptions import SessionNotConfigured
from .importers import CookieReader
from .lifetime import Lifetime
from .serializers import MessagePackSerializer, Serializer
from .session import Policy
from .stores.base import RecordStore, Store
from .stores.cookie import CookieStore
from .stores.owners import OwnerIndex

__all__ = ["Binding", "Configuration", "SessionConfig"]

Epochs = Callable[[Owner], int | Awaitable[int]]

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
        max_age, browser_session_ttl, rolling, refresh_interval, absolute_timeout: see ``Lifetime``; seconds.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding(Policy):
    """One session's configuration, with everything static put together: keys, codec, cookie suffixes."""

    store: Store
    sealer: Sealer
    opener: Opener[Loaded] | Opener[Token]  # of its cookies: of a cookie session's, or of one on the server
    codec: RecordCodec
    writer: CookieWriter
    readers: tuple[CookieReader, ...]
    write_timeout: float  # seconds; of a store's writing verbs
    owner_names: OwnerNames
    indexed: bool  # whether the store lists the sessions of an owner
    max_sessions: int | None  # of one owner
    epochs: Epochs | None


class Configuration:
    """All sessions that one middleware knows.

    Raises:
        ValueError: two sessions share a name or a cookie name, or an option can not be right.
    """

    def __init__(self, keyring: Keyring, default: SessionConfig, further: Iterable[SessionConfig]) -> None:
        self.keyring = keyring
        self.defaults = default
        self.default = self._bind(default)
        self.bindings = {default.name: self.default}
        self._adopted: dict[str, Binding] = {}
        if not isinstance(further, Iterable):
            raise TypeError(f"sessions={further!r}: write a list of SessionConfig objects")
        for config in further:
            self._add(config)

    def stores(self) -> Iterator[Store]:
        """Every store once."""
        bindings = [*self.bindings.values(), *self._adopted.values()]
        yield from {id(binding.store): binding.store for binding in bindings}.values()

    def find(self, name: str) -> Binding | None:
        return self.bindings.get(name) or self._adopted.get(name)

    def adopt(self, name: str, store: Store) -> Binding:
        """The session ``name`` in ``store``, configured or not.

        Raises:
            ValueError: the name belongs to another store, or is no cookie name.
        """
        binding = self.find(name)
        if binding is None:
            binding = self._bind(_fill(SessionConfig(name=name, store=store), self.defaults))
            self._check_cookie_name(binding)
            if len(self._adopted) >= ADOPTED_KEPT:
                self._adopted.pop(next(iter(self._adopted)))
            self._adopted[name] = binding
        if binding.store is not store:
            raise ValueError(f"session {name!r} is kept in another store; take another name, or that store")
        return binding

    def unknown(self, name: str) -> SessionNotConfigured:
        known = ", ".join(map(repr, self.bindings))
        return SessionNotConfigured(
            f"no session {name!r}; configured: {known}; "
            f"add SessionConfig({name!r}) to the middleware, or name a store: get({name!r}, store=...)"
        )

    def _add(self, config: SessionConfig) -> None:
        if not isinstance(config, SessionConfig):
            raise TypeError(f"sessions: {config!r} must be a SessionConfig; write [SessionConfig('cart'), ...]")
        if not isinstance(config.name, str) or not config.name:
            raise TypeError(f"sessions: the name {config.name!r} must be a str such as 'cart'")
        if config.name in self.bindings:
            raise ValueError(f"sessions: two of the name {config.name!r}; names must differ")
        binding = self._bind(_fill(config, self.defaults))
        self._check_cookie_name(binding)
        self.bindings[config.name] = binding

    def _check_cookie_name(self, binding: Binding) -> None:
        for other in (*self.bindings.values(), *self._adopted.values()):
            if other.cookie_name == binding.cookie_name:
                raise ValueError(
                    f"sessions {other.name!r} and {binding.name!r} share the cookie name {binding.cookie_name!r}; "
                    "give one of them a cookie_name of its own"
                )

    def _bind(self, config: SessionConfig) -> Binding:
        cookie_name = config.name if config.cookie_name is None else config.cookie_name
        for option in ("encrypt", "rolling"):
            if not isinstance(value := getattr(config, option), bool):
                raise TypeError(f"session {config.name!r}: {option}={value!r}: write True or False")
        options = CookieOptions(**{field.name: getattr(config, field.name) for field in fields(CookieOptions)})
        lifetime = Lifetime(**{field.name: getattr(config, field.name) for field in fields(Lifetime) if field.init})
        writer = CookieWriter(cookie_name, options)
        store, serializer = config.store, config.serializer
        if not isinstance(store, CookieStore | RecordStore):
            raise TypeError(f"session {config.name!r}: store={store!r} must be a store, such as MemoryStore()")
        if not isinstance(serializer, Serializer):
            raise TypeError(f"session {config.name!r}: serializer={serializer!r} must be one, such as JSONSerializer()")
        server_side = not isinstance(store, CookieStore)
        _check_max_sessions(config, store)
        _check_epochs(config, server_side=server_side)
        keyring, encrypt = self.keyring, config.encrypt is True
        sealer = keyring.encrypter(cookie_name) if encrypt and not server_side else keyring.signer(cookie_name)
        codec = RecordCodec(
            serializer,
            keyring.record_encrypter(cookie_name) if encrypt and server_side else None,
            readable=server_side,
        )
        opener: Opener[Loaded] | Opener[Token] = Opener(writer.name, sealer, token_of)
        if isinstance(store, CookieStore):
            opener = Opener(writer.name, sealer, partial(store.read, codec=codec, lifetime=lifetime))
        return Binding(
            name=config.name,
            cookie_name=cookie_name,
            lifetime=lifetime,
            options=options,
            serializer=serializer,
            empty=serializer.dumps({}),
            server_side=server_side,
            waits=server_side or config.epochs is not None,
            epochs=config.epochs or None,
            store=store,
            sealer=sealer,
            opener=opener,
            codec=codec,
            writer=writer,
            readers=_checked_readers(config),
            owner_names=keyring.owner_names(cookie_name),
            write_timeout=_checked_write_timeout(config.name, store),
            indexed=server_side and isinstance(store, OwnerIndex),
            max_sessions=config.max_sessions_per_owner or None,
        )


def _checked_readers(config: SessionConfig) -> tuple[CookieReader, ...]:
    readers = config.readers
    if not isinstance(readers, Iterable) or not all(isinstance(reader, CookieReader) for reader in readers):
        raise TypeError(f"session {config.name!r}: readers={readers!r}: write a list such as [StarletteCookies(...)]")
    return tuple(readers)


def _checked_write_timeout(name: str, store: Store) -> float:
    timeout: object = store.write_timeout if isinstance(store, RecordStore) else math.inf
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


def _check_epochs(config: SessionConfig, *, server_side: bool) -> None:
    if config.epochs is None:
        return
    if not callable(config.epochs):
        raise TypeError(f"session {config.name!r}: epochs={config.epochs!r}: write a function that returns a number")
    if server_side:
        raise ValueError(
            f"session {config.name!r}: epochs are for cookie sessions; those of this store can be listed and ended, "
            "see SessionManager"
        )


def defaults(**options: object) -> SessionConfig:
    """The middleware's own session: every option set."""
    options.setdefault("epochs", None)
    if options["store"] is None:
        options["store"] = CookieStore()
    if options["serializer"] is None:
        options["serializer"] = MessagePackSerializer()
    return SessionConfig(**options)  # type: ignore[arg-type]  # checked when it is bound


def _fill(config: SessionConfig, defaults: SessionConfig) -> SessionConfig:
    unset = [field.name for field in fields(SessionConfig) if getattr(config, field.name) is UNSET]
    filled = replace(config, **{name: getattr(defaults, name) for name in unset})
    if "epochs" in unset and not isinstance(filled.store, CookieStore):
        filled = replace(filled, epochs=None)
    return filled
