"""How commands get to the server that has the key: one server, Sentinel's, or a cluster."""

import asyncio
import logging
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import ConnectionPool, Redis, RedisCluster

from .connection import BROKEN, Line, Lines, unpack

logger = logging.getLogger("asgi_sessions")

# What the cluster client deals with itself: redirects, failovers, nodes that are gone.
REDIRECTED = *BROKEN, redis_errors.AskError, redis_errors.TryAgainError, redis_errors.ClusterDownError


class PoolRoute:
    """One server, or the one that Sentinel calls the master: connections as the pool would make them."""

    tries = 2  # a connection that breaks is replaced, and the command goes out again

    def __init__(self, pool: ConnectionPool, lines: Lines) -> None:
        self._pool = pool
        self._lines = lines
        self._line: Line | None = None  # the one that was used last

    def __str__(self) -> str:
        if hasattr(self._pool, "service_name"):
            return f"Redis service {self._pool.service_name}"
        options = self._pool.connection_kwargs
        where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        return f"Redis at {where}"

    def send(self, command: bytes, key: bytes, loop: asyncio.AbstractEventLoop, deadline: float) -> asyncio.Future[Any]:
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
                await self._client.initialize()
                try:
                    return await self._line(key, loop).call(command, deadline)
                except REDIRECTED:
                    name, *args = unpack(command)
                    return await self._client.execute_command(name.decode(), *args)
        except TimeoutError as exc:
            raise redis_errors.TimeoutError("no answer in time") from exc

    def _line(self, key: bytes, loop: asyncio.AbstractEventLoop) -> Line:
        node = self._client.get_node_from_key(key)  # type: ignore[arg-type]  # bytes are fine
        if node is None:  # for redis-py's type only: it returns no None for a primary
            raise redis_errors.ConnectionError("no node has the key's slot")
        return self._lines.get(loop, node.name, lambda: node.connection_class(**node.connection_kwargs))


def route_to(client: str | Redis | RedisCluster, lines: Lines, connect_timeout: float) -> PoolRoute | ClusterRoute:
    """Choose the route of a store's commands.

    Raises:
        ValueError: an unusable URL, or a client that decodes responses.
        TypeError: neither a URL nor an asyncio client of redis-py.
    """
    route: PoolRoute | ClusterRoute
    if isinstance(client, RedisCluster):
        route, options = ClusterRoute(client, lines), client.get_connection_kwargs()
    elif isinstance(client, str | Redis):
        pool = _pool(client, connect_timeout) if isinstance(client, str) else client.connection_pool
        route, options = PoolRoute(pool, lines), pool.connection_kwargs
    else:
        raise TypeError(f"RedisStore takes a URL or a client of redis.asyncio, not a {type(client).__module__} object")
    if options.get("decode_responses"):
        raise ValueError("RedisStore keeps bytes: give it a client with decode_responses=False")
    if not isinstance(client, str) and not options.get("socket_timeout"):
        logger.warning(
            "the Redis client passed to RedisStore has no socket_timeout: RedisStore limits its own commands,"
            " but what the application does with this client may hang when the server does"
        )
    return route


def _pool(url: str, connect_timeout: float) -> ConnectionPool:
    # RESP 2, as the newer protocol gains nothing here. The socket timeout bounds the handshake; after it, the store's
    # own deadlines take over.
    options = {"protocol": 2, "socket_timeout": connect_timeout, "socket_connect_timeout": connect_timeout}
    try:
        return ConnectionPool.from_url(url, **options)
    except ValueError:
        # Without the reason and the cause: they may quote a part of the password.
        raise ValueError(
            "RedisStore cannot use this URL: it should look like redis://user:password@host:6379/0, rediss://..."
            " or unix:///path?db=0, with special characters percent-encoded and options that redis-py knows"
        ) from None
