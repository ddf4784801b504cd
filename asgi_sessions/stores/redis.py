"""Sessions in Redis or Valkey, shared by all processes of an application."""

import asyncio
import logging
import weakref
from collections.abc import Mapping, Sequence
from hashlib import sha1
from typing import Any, Protocol

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..exceptions import NotSupported, StoreError, StoreFull, StoreTimeout, StoreUnavailable
from .base import RecordStore, Stored
from .coalescer import Line, Lines

__all__ = ["RedisStore"]

logger = logging.getLogger("asgi_sessions")

VERSION_BYTES = 8
PERMISSIONS = (
    "this user needs GET and EVALSHA (or EVAL), and for the scripts GETRANGE, SET, PEXPIREAT and DEL,"
    " on the keys {prefix}*"
)


class Script:
    """A Lua script over one key, as Redis Cluster wants it.

    A value is the record's version, 8 bytes, then its data. What is shorter is not ours, and stays as it is.
    """

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        # Redis names scripts by their SHA-1; nothing secret, nothing to forge.
        self.digest = sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def by_digest(self, key: bytes, args: Sequence[bytes]) -> list[bytes]:
        return [b"EVALSHA", self.digest, b"1", key, *args]

    def by_source(self, key: bytes, args: Sequence[bytes]) -> list[bytes]:
        return [b"EVAL", self.source, b"1", key, *args]


# ARGV: value, deadline. 1 if the key has the value's version now.
CREATE = Script("""\
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PXAT', ARGV[2]) then return 1 end
if redis.call('GETRANGE', KEYS[1], 0, 7) == string.sub(ARGV[1], 1, 8) then return 1 end
return 0
""")

# ARGV: version, value, deadline or nothing. 1 if it was replaced now, else what is kept.
SWAP = Script("""\
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version == ARGV[1] then
  if ARGV[3] then redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
  else redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') end
  return 1
end
if #version < 8 then return false end
return redis.call('GET', KEYS[1])
""")

# ARGV: version, deadline. 1 if the deadline was moved.
TOUCH = Script("""\
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
return redis.call('PEXPIREAT', KEYS[1], ARGV[2])
""")

# ARGV: version or nothing. What is kept, if anything.
DELETE = Script("""\
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if #version < 8 then return false end
if ARGV[1] and version ~= ARGV[1] then return redis.call('GET', KEYS[1]) end
redis.call('DEL', KEYS[1])
return false
""")

# ARGV: version. Renames a record that is still that one; its deadline goes along, and the cluster's hash slot stays.
QUARANTINE = Script("""\
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
local aside = KEYS[1] .. ':corrupt'
if not string.find(KEYS[1], '{', 1, true) then aside = '{' .. KEYS[1] .. '}:corrupt' end
redis.call('RENAME', KEYS[1], aside)
return 1
""")


class RedisStore(RecordStore):
    """Keeps each session under one key, ``prefix`` + handle in hex, with Redis's own expiry.

    Commands of concurrent requests share one connection per event loop (on a cluster: and node) and go out together;
    a lone one goes out at once. A connection that breaks is replaced, and what was under way is repeated, once: every
    write is safe to repeat.

    Deadlines are absolute, so the clocks of the application and of Redis have to agree. Redis 6.2 or any Valkey.
    Keys under ``prefix`` that are no records (of another type, or under 8 bytes) are never read, overwritten or
    deleted: to the application they are sessions that do not exist.

    Args:
        client: a URL (``redis://``, ``rediss://`` or ``unix://``, redis-py's options as query parameters), or a client
            of ``redis.asyncio``: ``Redis`` with any connection pool, Sentinel's too, or ``RedisCluster``. The store
            makes connections of its own after the client's settings; ``close()`` does not close the client.
        prefix: of all keys. Applications that share a database need different ones.
        timeout: seconds for one operation in all: waiting, connecting and repeating included.
        connect_timeout: seconds for making one connection; a passed client keeps its own.

    Raises:
        ValueError: an unusable URL, a client with ``decode_responses=True``, or a timeout that is not positive.
        TypeError: neither a URL nor an asyncio client of redis-py.
    """

    def __init__(
        self,
        client: str | Redis | RedisCluster,
        *,
        prefix: str = "session:",
        timeout: float = 2.0,
        connect_timeout: float = 1.0,
    ) -> None:
        super().__init__()
        if timeout <= 0 or connect_timeout <= 0:
            raise ValueError(f"timeout and connect_timeout must be positive, not {timeout!r} and {connect_timeout!r}")
        self._prefix = prefix
        self._key_prefix = prefix.encode()
        self._timeout = timeout
        self._lines = Lines()
        self._route = _route(client, self._lines, connect_timeout)
        self._by_digest = True
        weakref.finalize(self, self._lines.abandon)

    def __repr__(self) -> str:
        return f"RedisStore({self._route}, prefix={self._prefix!r})"

    async def open(self) -> None:
        """Connect, log in, and find out whether reading is allowed.

        Raises:
            StoreUnavailable: one of these failed.
        """
        await self._ask([b"GET", self._key_prefix], self._key_prefix)

    async def close(self) -> None:
        await self._lines.aclose()

    async def read(self, handle: bytes) -> Stored | None:
        key = self._key(handle)
        return _stored(await self._ask([b"GET", key], key))

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return bool(await self._run(CREATE, handle, new + data, _milliseconds(expires_at)))

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        deadline = () if expires_at is None else (_milliseconds(expires_at),)
        kept = await self._run(SWAP, handle, old, new + data, *deadline)
        return Stored(new, data) if kept == 1 else _stored(kept)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        return bool(await self._run(TOUCH, handle, version, _milliseconds(expires_at)))

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        return _stored(await self._run(DELETE, handle, *(() if version is None else (version,))))

    async def quarantine(self, handle: bytes, version: bytes) -> None:
        """Rename it to ``{key}:corrupt``, where it ends at its deadline; without the right to RENAME it stays."""
        try:
            await self._run(QUARANTINE, handle, version)
        except StoreError as exc:
            logger.warning("session record %s was not put aside: %s", handle.hex(), exc)

    def _key(self, handle: bytes) -> bytes:
        # Hex costs 16 bytes per key; it can be typed into redis-cli, and never contains a cluster's {hash tag}.
        return self._key_prefix + handle.hex().encode()

    async def _run(self, script: Script, handle: bytes, *args: bytes) -> Any:
        key = self._key(handle)
        source = script.by_source(key, args)
        if not self._by_digest:
            return await self._ask(source, key)
        return await self._ask(script.by_digest(key, args), key, source)

    async def _ask(self, command: list[bytes], key: bytes, instead: list[bytes] | None = None) -> Any:
        deadline = _now() + self._timeout
        try:
            try:
                return await self._route.send(command, key, deadline)
            except (NoScriptError, NoPermissionError) as exc:
                if instead is None:
                    raise
                reply = await self._route.send(instead, key, deadline)
                self._by_digest = isinstance(exc, NoScriptError)
                return reply
        except (RedisError, RedisClusterException, OSError) as exc:
            if "WRONGTYPE" in str(exc):
                return None  # somebody else's key, of another type
            raise self._store_error(exc) from exc

    def _store_error(self, exc: Exception) -> StoreError:
        reason = f"{self._route}: {exc}"
        if isinstance(exc, RedisTimeoutError):
            return StoreTimeout(f"{reason} (limit: {self._timeout:g} s for one operation)")
        if isinstance(exc, OutOfMemoryError) or "OOM command not allowed" in reason:
            return StoreFull(reason)
        if isinstance(exc, NoPermissionError) or "ACL failure" in reason or "can't run this command" in reason:
            return StoreUnavailable(f"{reason}; {PERMISSIONS.format(prefix=self._prefix)}")
        return StoreUnavailable(reason)


class Route(Protocol):
    """How commands get to the server that has the key."""

    async def send(self, command: list[bytes], key: bytes, deadline: float) -> Any: ...


class PoolRoute:
    """One server, or the one that Sentinel calls the master: connections as the pool would make them."""

    def __init__(self, pool: ConnectionPool, lines: Lines) -> None:
        self._pool = pool
        self._lines = lines

    def __str__(self) -> str:
        options = self._pool.connection_kwargs
        where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        return (
            f"Redis service {self._pool.service_name}" if hasattr(self._pool, "service_name") else f"Redis at {where}"
        )

    async def send(self, command: list[bytes], key: bytes, deadline: float) -> Any:
        line = self._lines.get(None, self._pool.make_connection)
        try:
            return await line.call(command, deadline)
        except RedisConnectionError:
            pass
        except ReadOnlyError:
            line.close()  # a master that was made a replica; its name may lead to the new one by now
        return await self._lines.get(None, self._pool.make_connection).call(command, deadline)


class ClusterRoute:
    """A cluster: a line to each node while all goes well, the client's own ways for redirects and failovers."""

    def __init__(self, client: RedisCluster, lines: Lines) -> None:
        self._client = client
        self._lines = lines

    def __str__(self) -> str:
        return "Redis cluster"

    async def send(self, command: list[bytes], key: bytes, deadline: float) -> Any:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._send(command, key, deadline)
        except TimeoutError as exc:
            raise RedisTimeoutError("no answer in time") from exc

    def _line(self, node: ClusterNode | None) -> Line:
        if node is None:  # for redis-py's type only: it returns no None for a primary
            raise RedisConnectionError("no node has the key's slot")
        return self._lines.get(node.name, lambda: node.connection_class(**node.connection_kwargs))

    async def _send(self, command: list[bytes], key: bytes, deadline: float) -> Any:
        await self._client.initialize()
        try:
            line = self._line(self._client.get_node_from_key(key))  # type: ignore[arg-type]  # bytes are fine
            return await line.call(command, deadline)
        except (RedisConnectionError, ReadOnlyError, AskError, TryAgainError, ClusterDownError):
            return await self._client.execute_command(command[0].decode(), *command[1:])


def _route(client: str | Redis | RedisCluster, lines: Lines, connect_timeout: float) -> PoolRoute | ClusterRoute:
    if isinstance(client, str):
        pool = _pool(client, connect_timeout)
        _check(pool.connection_kwargs)
        return PoolRoute(pool, lines)
    if isinstance(client, RedisCluster):
        _check(client.get_connection_kwargs())
        _warn_about_timeouts(client.get_connection_kwargs())
        return ClusterRoute(client, lines)
    if isinstance(client, Redis):
        _check(client.connection_pool.connection_kwargs)
        _warn_about_timeouts(client.connection_pool.connection_kwargs)
        return PoolRoute(client.connection_pool, lines)
    raise TypeError(f"RedisStore takes a URL or a client of redis.asyncio, not a {type(client).__module__} object")


def _pool(url: str, connect_timeout: float) -> ConnectionPool:
    # RESP 2, as the newer protocol gains nothing here. The socket timeout bounds the handshake; after it, the store's
    # own deadlines take over.
    options = {"protocol": 2, "socket_timeout": connect_timeout, "socket_connect_timeout": connect_timeout}
    try:
        return ConnectionPool.from_url(url, **options)
    except ValueError:
        # Without the reason and the cause: they may quote a part of the password.
        raise ValueError(
            "RedisStore can not use this URL: it should look like redis://user:password@host:6379/0, rediss://..."
            " or unix:///path?db=0, with special characters percent-encoded and options that redis-py knows"
        ) from None


def _check(options: Mapping[str, Any]) -> None:
    if options.get("decode_responses"):
        raise ValueError("RedisStore keeps bytes: give it a client with decode_responses=False")


def _warn_about_timeouts(options: Mapping[str, Any]) -> None:
    if not options.get("socket_timeout"):
        logger.warning(
            "the Redis client passed to RedisStore has no socket_timeout: RedisStore limits its own commands,"
            " but what the application does with this client may hang when the server does"
        )


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError as exc:
        raise NotSupported("RedisStore needs asyncio, as redis-py does; on trio, use another store") from exc


def _stored(value: bytes | None) -> Stored | None:
    if value is None or len(value) < VERSION_BYTES:
        return None
    return Stored(value[:VERSION_BYTES], value[VERSION_BYTES:])


def _milliseconds(at: float) -> bytes:
    # Redis refuses deadlines before 1970 as errors; for us they are deadlines like others that have passed.
    return b"%d" % max(1, int(at * 1000))
