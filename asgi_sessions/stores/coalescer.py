"""Many callers, one connection: commands go out together, replies come back in order.

Redis answers the commands of a connection in the order in which it got them, so one connection can carry the
commands of many callers. What is submitted while other commands are under way is written as one piece at the next
turn of the event loop; a lone command is written on the spot. Nobody waits for anybody else's reply.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextvars import Context
from itertools import chain
from typing import Any, NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["MAX_BATCH_BYTES", "MAX_BATCH_COMMANDS", "Line", "Lines"]

MAX_BATCH_COMMANDS = 512
MAX_BATCH_BYTES = 256 * 1024  # a few socket buffers: more in one piece gains nothing and copies more

Connect = Callable[[], AbstractConnection]


class Call(NamedTuple):
    packed: bytes
    deadline: float
    reply: "asyncio.Future[Any]"


def pack(command: Sequence[bytes]) -> bytes:
    # A third of the time of redis-py's pack_command, which has to deal with arguments that are not bytes yet.
    pieces = [b"*%d\r\n" % len(command)]
    pieces += [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
    return b"".join(pieces)


class Line:
    """One connection from its first byte to its last; it never reconnects, ``Lines`` opens another one.

    Whatever breaks the order of commands and replies (an error of the connection, a deadline that passed) closes the
    connection, so that no reply can reach anybody but the caller it is meant for. A caller who is cancelled leaves: its
    reply is read and dropped, everybody else goes on.
    """

    __slots__ = ("_connection", "_drainer", "_flushing", "_pending", "_sent", "_task", "_timer", "_writer", "dead")

    def __init__(self, connection: AbstractConnection) -> None:
        self.dead = False
        self._connection = connection
        self._pending: deque[Call] = deque()
        self._sent: deque[Call] = deque()
        self._writer: asyncio.StreamWriter | None = None  # none as long as the connection is being made
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False  # what is pending goes out at the next turn of the event loop
        self._drainer: asyncio.Task[None] | None = None  # what is pending waits for room
        # An empty context: a connection outlives the request that happened to need it first.
        self._task = asyncio.create_task(self._run(), name="RedisStore connection", context=Context())

    def call(self, command: Sequence[bytes], deadline: float) -> "asyncio.Future[Any]":
        """Send a command; the future gets its reply.

        Args:
            deadline: by the event loop's clock.

        Raises:
            redis.exceptions.ResponseError: the server's answer to this command is an error.
            redis.exceptions.TimeoutError: no reply by the deadline, or to an earlier command by its own.
            redis.exceptions.ConnectionError: the connection broke; whether the command took place is unknown.
        """
        loop = asyncio.get_running_loop()
        call = Call(pack(command), deadline, loop.create_future())
        if self._timer is None or deadline < self._timer.when():
            self._watch(loop, deadline)
        if self.dead:
            _fail(call, RedisConnectionError, "the connection is closed")
        elif self._sent or self._pending or self._writer is None:
            self._pending.append(call)
            self._flush_soon(loop)
        else:
            self._sent.append(call)
            self._write(self._writer, call.packed)
        return call.reply

    def close(self) -> None:
        """Break off; those who still wait get an error."""
        self._die(RedisError, "the connection was closed by this application")

    async def aclose(self) -> None:
        """Break off, and wait until the connection is closed."""
        self.close()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            await self._connect()
            self._flush_soon(asyncio.get_running_loop())
            while not self.dead:  # a timeout inside redis-py may have swallowed that this task was cancelled
                await self._read()
        except Exception as exc:  # whatever it was: those who wait are told, with this as the cause
            # On unix sockets redis-py wraps a timeout while logging in.
            timed_out = isinstance(exc, RedisTimeoutError) or isinstance(exc.__cause__, RedisTimeoutError)
            self._die(RedisTimeoutError if timed_out else RedisConnectionError, str(exc), exc)
        finally:
            self.close()
            if self._writer is not None:
                # A close would go on writing what was given up, and on TLS wait for the answer of a hung server.
                self._writer.transport.abort()
            await self._connection.disconnect(nowait=True)

    async def _connect(self) -> None:
        connection = self._connection
        connection.retry = Retry(NoBackoff(), 0)
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has annotated most, not this
        # From here on deadlines are ours: one timer for all calls under way instead of one per command, and no PING
        # in between, whose reply would be taken for somebody's.
        connection.socket_timeout = None
        connection.health_check_interval = 0
        writer: asyncio.StreamWriter = connection._writer  # type: ignore[assignment]  # it is connected
        writer.transport.set_write_buffer_limits(high=MAX_BATCH_BYTES)
        self._writer = writer

    async def _read(self) -> None:
        try:
            reply = await self._connection.read_response()
        except ResponseError as exc:
            reply = exc
        if not self._sent:
            raise RedisConnectionError("the server sent a reply that nobody asked for")
        waiter = self._sent.popleft().reply
        if waiter.done():
            return
        if isinstance(reply, ResponseError):
            waiter.set_exception(reply)
        else:
            waiter.set_result(reply)

    def _flush_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._writer is not None and self._pending and not self._flushing and self._drainer is None:
            self._flushing = True
            loop.call_soon(self._flush, self._writer)

    def _flush(self, writer: asyncio.StreamWriter) -> None:
        self._flushing = False
        while self._pending and not self.dead:
            if writer.transport.get_write_buffer_size() > MAX_BATCH_BYTES:
                self._drainer = asyncio.create_task(self._drain(writer), context=Context())
                return
            batch = self._next_batch()
            self._sent.extend(batch)
            self._write(writer, b"".join([call.packed for call in batch]))

    def _write(self, writer: asyncio.StreamWriter, packed: bytes) -> None:
        # Not by redis-py's send_packed_command: that calls writelines(). In Python 3.12 and early releases of 3.13 it
        # never makes drain() wait (CVE-2024-12254), and on a transport that was lost this very turn it leaves the
        # event loop watching a file descriptor that the next connection may get.
        try:
            writer.write(packed)
        except Exception as exc:  # uvloop's transports raise once they are closed
            self._die(RedisConnectionError, str(exc), exc)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        try:
            await writer.drain()
        except Exception as exc:
            self._die(RedisConnectionError, str(exc), exc)
        self._drainer = None
        self._flush_soon(asyncio.get_running_loop())

    def _next_batch(self) -> list[Call]:
        batch: list[Call] = []
        size = 0
        while self._pending and len(batch) < MAX_BATCH_COMMANDS and size < MAX_BATCH_BYTES:
            call = self._pending.popleft()
            if not call.reply.done():
                batch.append(call)
                size += len(call.packed)
        return batch

    def _watch(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        first = min((call.deadline for call in chain(self._sent, self._pending)), default=None)
        if first is None:
            return
        loop = asyncio.get_running_loop()
        if first > loop.time():
            self._watch(loop, first)
        else:
            self._give_up(loop.time())

    def _give_up(self, now: float) -> None:
        # Calls that were not written yet and still have time go out again on the next connection.
        in_time = [call for call in self._pending if call.deadline > now]
        for call in in_time:
            _fail(call, RedisConnectionError, "the connection was given up: the server did not answer others")
        self._die(RedisTimeoutError, "no answer in time")

    def _die(self, kind: type[RedisError], reason: str, cause: Exception | None = None) -> None:
        if self.dead:
            return
        self.dead = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in chain(self._sent, self._pending):
            _fail(call, kind, reason, cause)
        self._sent.clear()
        self._pending.clear()
        for task in (self._task, self._drainer):
            if task is not None and task is not asyncio.current_task():
                task.cancel()


def _fail(call: Call, kind: type[RedisError], reason: str, cause: Exception | None = None) -> None:
    if not call.reply.done():
        error = kind(reason)  # one for each: a shared exception would collect the tracebacks of all callers
        error.__cause__ = cause
        call.reply.set_exception(error)


class Lines:
    """The open lines of a store: one per event loop and address, opened when needed."""

    def __init__(self) -> None:
        self._lines: dict[tuple[asyncio.AbstractEventLoop, Hashable], Line] = {}

    def get(self, address: Hashable, connect: Connect) -> Line:
        """The running event loop's line to ``address``; a new one over ``connect()`` if there is none."""
        loop = asyncio.get_running_loop()
        line = self._lines.get((loop, address))
        if line is None or line.dead:
            self._forget_closed_loops()
            line = self._lines[loop, address] = Line(connect())
        return line

    async def aclose(self) -> None:
        """Close all lines, and wait for those of the running event loop."""
        here = asyncio.get_running_loop()
        own = [line for (loop, _), line in self._lines.items() if loop is here]
        self.abandon()
        for line in own:
            await line.aclose()

    def abandon(self) -> None:
        """Have all lines closed by their event loops; callable from anywhere, also without an event loop."""
        for key, line in list(self._lines.items()):
            self._lines.pop(key, None)
            if not key[0].is_closed():
                key[0].call_soon_threadsafe(line.close)

    def _forget_closed_loops(self) -> None:
        for key in [key for key in list(self._lines) if key[0].is_closed()]:
            self._lines.pop(key, None)
