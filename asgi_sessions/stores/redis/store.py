"""Sessions in Redis or Valkey, shared by all processes of an application."""

import asyncio
import logging
import struct
import weakref
from binascii import hexlify
from collections.abc import Collection, Coroutine, Mapping
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Redis, RedisCluster

from ..._engine.record import HANDLE_SIZE
from ...exceptions import NotSupported, StoreError, StoreFull, StoreTimeout, StoreUnavailable
from ..base import RecordStore, Stored
from ..owners import portions
from .connection import BROKEN, Lines, pack
from .routes import route_to
from .scripts import BAR, CREATE, DELETE, DELIST, ENLIST, LISTED, QUARANTINE, SWAP, TOUCH, Script

logger = logging.getLogger("asgi_sessions")

VERSION_BYTES = 8
ENTRY = struct.Struct(">16sd")  # handle and mark, as the scripts pack them
DELISTED_AT_ONCE = 1000  # entries in one command, so that no other waits for long
LATEST = 2**52  # milliseconds; a sorted set's scores are exact up to here
PERMISSIONS = (
    "this user needs GET and EVALSHA (or EVAL), and for the scripts GETRANGE, SET, PEXPIREAT and DEL,"
    " for owners ZADD, ZRANGE, ZREM, ZSCORE, TIME and PEXPIRETIME, too, on the keys {prefix}*"
)


class RedisStore(RecordStore):
    """Keeps each session under one key, ``prefix`` + handle in hex, with Redis's own expiry.

    Commands of concurrent requests share one connection per event loop (on a cluster: and node) and go out together;
    a lone one goes out at once. A connection that breaks is replaced, and what was under way is repeated, once: every
    write is safe to repeat.

    Deadlines are absolute, so the clocks of the application and of Redis have to agree. Redis 6.2 or any Valkey; for
    lists of an owner's sessions Redis 7.0.
    Keys under ``prefix`` that are no records (of another type, or under 8 bytes) are never read, overwritten or
    deleted: to the application they are sessions that do not exist. The sessions of an owner are listed in a sorted
    set under ``prefix`` + ``owner:`` + the hash of the owner in hex.

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
        self._owner_prefix = self._key_prefix + b"owner:"
        key_size = len(self._key_prefix) + 2 * HANDLE_SIZE
        self._get = b"*2\r\n$3\r\nGET\r\n$%d\r\n" % key_size  # packed, but for the key
        self._timeout = timeout
        self._lines = Lines()
        self._route = route_to(client, self._lines, connect_timeout)
        self._by_digest = True
        weakref.finalize(self, self._lines.abandon)

    def __repr__(self) -> str:
        return f"RedisStore({self._route}, prefix={self._prefix!r})"

    @property
    def write_timeout(self) -> float:
        """``timeout``, in seconds: it is that of one operation in all."""
        return self._timeout

    async def open(self) -> None:
        """Connect, log in, and find out whether reading is allowed.

        Raises:
            StoreUnavailable: one of these failed.
        """
        await self._ask(pack([b"GET", self._key_prefix]), self._key_prefix)

    async def close(self) -> None:
        await self._lines.aclose()

    async def read(self, handle: bytes) -> Stored | None:
        key = self._key_prefix + hexlify(handle)
        return _stored(await self._ask(self._get + key + b"\r\n", key))

    async def deadline(self, handle: bytes) -> float | None:
        key = self._key(handle)
        milliseconds = await self._ask(pack([b"PEXPIRETIME", key]), key)
        return milliseconds / 1000 if milliseconds is not None and milliseconds > 0 else None

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        return bool(await self._run(CREATE, self._key(handle), (new + data, _milliseconds(expires_at))))

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        args = (old, new + data) if expires_at is None else (old, new + data, _milliseconds(expires_at))
        kept = await self._run(SWAP, self._key_prefix + hexlify(handle), args)
        return Stored(new, data) if kept == 1 else _stored(kept)

    async def touch(self, handle: bytes, version: bytes, expires_at: float) -> bool:
        return bool(await self._run(TOUCH, self._key(handle), (version, _milliseconds(expires_at))))

    async def delete(self, handle: bytes, version: bytes | None = None) -> Stored | None:
        return _stored(await self._run(DELETE, self._key(handle), () if version is None else (version,)))

    async def quarantine(self, handle: bytes, version: bytes) -> None:
        """Rename it to ``{key}:corrupt``, where it ends at its deadline; without the right to RENAME it stays."""
        try:
            await self._run(QUARANTINE, self._key(handle), (version,))
        except StoreError as exc:
            logger.warning("session record %s was not put aside: %s", handle.hex(), exc)

    async def enlist(self, owner: bytes, handle: bytes, expires_at: float) -> bytes:
        """See ``OwnerIndex.enlist``; one round trip."""
        return bytes(await self._run(ENLIST, self._owner_key(owner), (handle, _milliseconds(expires_at))))

    async def delist(self, owner: bytes, handles: Collection[bytes] | Mapping[bytes, int]) -> None:
        """See ``OwnerIndex.delist``; one round trip for each thousand."""
        for part in portions(handles, DELISTED_AT_ONCE):
            packed = b"".join([ENTRY.pack(handle, mark or 0) for handle, mark in part.items()])
            await self._run(DELIST, self._owner_key(owner), (packed,))

    async def listed(self, owner: bytes) -> dict[bytes, int]:
        """See ``OwnerIndex.listed``; one round trip."""
        packed = await self._run(LISTED, self._owner_key(owner), ())
        return {handle: int(mark) for handle, mark in ENTRY.iter_unpack(packed)}

    async def bar(self, owner: bytes, generation: bytes, until: float) -> None:
        """See ``OwnerIndex.bar``; one round trip."""
        await self._run(BAR, self._owner_key(owner), (generation, _milliseconds(until)))

    def _owner_key(self, owner: bytes) -> bytes:
        # Twice as long in hex as a handle, so that no record's key is one of these.
        return self._owner_prefix + hexlify(owner)

    def _key(self, handle: bytes) -> bytes:
        # Hex costs 16 bytes per key; it can be typed into redis-cli, and never contains a cluster's {hash tag}.
        return self._key_prefix + hexlify(handle)

    def _run(self, script: Script, key: bytes, args: tuple[bytes, ...]) -> Coroutine[Any, Any, Any]:
        """Run a script; a plain function, as each coroutine more takes its time at each step."""
        if self._by_digest:
            return self._ask(script.by_digest(key, args), key, script)
        return self._ask(script.by_source(key, args), key)

    async def _ask(self, command: bytes, key: bytes, script: Script | None = None) -> Any:
        """Send a packed command; returns the reply, or None where a record's key is of another type.

        Args:
            script: what the command runs by its digest.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as exc:
            raise NotSupported("RedisStore needs asyncio, as redis-py does; on trio, use another store") from exc
        deadline = loop.time() + self._timeout
        tries, refused = self._route.tries, None
        try:
            while True:
                try:
                    reply = await self._route.send(command, key, loop, deadline)
                except BROKEN:
                    tries -= 1
                    if not tries:
                        raise
                except (redis_errors.NoScriptError, redis_errors.NoPermissionError) as exc:
                    if script is None:
                        raise
                    command, script, refused = script.again(command), None, exc
                else:
                    if refused is not None:
                        self._by_digest = isinstance(refused, redis_errors.NoScriptError)
                    return reply
        except (redis_errors.RedisError, redis_errors.RedisClusterException, OSError) as exc:
            if "WRONGTYPE" in str(exc) and not key.startswith(self._owner_prefix):
                return None  # somebody else's key, of another type; an index, though, must not look empty
            raise self._store_error(exc) from exc

    def _store_error(self, exc: Exception) -> StoreError:
        reason = f"{self._route}: {exc}"
        if isinstance(exc, redis_errors.TimeoutError):
            return StoreTimeout(f"{reason} (limit: {self._timeout:g} s for one operation)")
        if isinstance(exc, redis_errors.OutOfMemoryError) or "OOM command not allowed" in reason:
            return StoreFull(reason)
        denied = "ACL failure" in reason or "can't run this command" in reason
        if denied or isinstance(exc, redis_errors.NoPermissionError):
            return StoreUnavailable(f"{reason}; {PERMISSIONS.format(prefix=self._prefix)}")
        return StoreUnavailable(reason)


def _stored(value: bytes | None) -> Stored | None:
    if value is None or len(value) < VERSION_BYTES:
        return None
    return Stored(value[:VERSION_BYTES], value[VERSION_BYTES:])


def _milliseconds(at: float) -> bytes:
    # Redis refuses deadlines before 1970 as errors; for us they are deadlines like others that have passed.
    return b"%d" % int(max(1, min(at * 1000, LATEST)))
