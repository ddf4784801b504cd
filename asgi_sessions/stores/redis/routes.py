"""How commands get to the server that has the key: one server, Sentinel's, or a cluster."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .connection import Line, Lines
from .resp import unpack

__all__ = ["ClusterRoute", "PoolRoute", "Route", "route_to"]

logger = logging.getLogger("asgi_sessions")


class Route(Protocol):
    """How commands get to the server that has the key.

    Attributes:
        tries: how often a command is sent; each time that its connection breaks, it goes out again by another one.
    """

    tries: int

    def send(self, command: bytes, key: bytes, loop: asyncio.AbstractEventLoop, deadline: float) -> Awaitable[Any]: ...


class PoolRoute:
    """One server, or the one that Sentinel calls the master: connections as the pool would make them."""

    tries = 2

    def __init__(self, pool: ConnectionPool, lines: Lines) -> None:
        self._pool = pool
        self._lines = lines
        self._line: Line | None = None  # the one that was used last

    def __str__(self) -> str:
        options = self._pool.connection_kwargs
        where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        return (
            f"Redis service {self._pool.service_name}" if hasattr(self._pool, "service_name") else f"Redis at {where}"
        )

    def send(
        self, command: bytes, key: bytes, loop: asyncio.AbstractEventLoop, deadline: float
    ) -> "asyncio.Future[Any]":
        line = self._line
        if line is None or line.loop is not loop or line.dead:
            line = self._line = self._lines.get(loop, None, self._pool.make_connection)
        return line.call(command, deadline)


class ClusterRoute:
    """A cluster: a line to each node while all goes well, the client's own ways for redirects and failovers."""

    tries = 1  # the client tries again by itself

    def __init__(self, client: RedisCluster, lines: Lines) -> None:
        self._client = client
        self._lines = lines

    def __str__(self) -> str:
        return "Redis cluster"

    async def send(self, command: bytes, key: bytes, loop: asyncio.AbstractEventLoop, deadline: float) -> Any:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._send(command, key, loop, deadline)
        except TimeoutError as exc:
            raise RedisTimeoutError("no answer in time") from exc

    def _line(self, loop: asyncio.AbstractEventLoop, node: ClusterNode | None) -> Line:
        if node is None:  # for redis-py's type only: it returns no None for a primary
            raise RedisConnectionError("no node has the key's slot")
        return self._lines.get(loop, node.name, lambda: node.connection_class(**node.connection_kwargs))

    async def _send(self, command: bytes, key: bytes, loop: asyncio.AbstractEventLoop, deadline: float) -> Any:
        await self._client.initialize()
        try:
            line = self._line(loop, self._client.get_node_from_key(key))  # type: ignore[arg-type]  # bytes are fine
            return await line.call(command, deadline)
        except (RedisConnectionError, ReadOnlyError, AskError, TryAgainError, ClusterDownError):
            name, *args = unpack(command)
            return await self._client.execute_command(name.decode(), *args)


def route_to(client: str | Redis | RedisCluster, lines: Lines, connect_timeout: float) -> PoolRoute | ClusterRoute:
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
