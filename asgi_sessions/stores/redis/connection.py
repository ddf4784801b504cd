"""Many callers, one connection: commands go out together, replies come back in order.

Redis answers the commands of a connection in the order in which it got them, so one connection can carry the
commands of many callers. What is submitted while other commands are under way is written as one piece at the next
turn of the event loop, or as soon as it is enough for the server to begin with; a lone command is written on the spot.
Nobody waits for anybody else's reply.

redis-py makes the connection: address, TLS, login, database. From then on the bytes are given to hiredis here, as they
come in: redis-py's ``read_response()`` needs a task, which costs more than the rest of a round trip.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextvars import Context
from itertools import chain
from typing import Any

from hiredis import PushNotification, Reader
from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

MAX_BATCH_COMMANDS = 512
ENOUGH = 32  # commands that are written at once: the server works on them while the next ones are being made
MAX_BATCH_BYTES = 256 * 1024  # a few socket buffers: more in one piece gains nothing and copies more

PART = b"$%d\r\n%b\r\n"  # of a command: its size and itself

_NOTHING = object()  # there is no complete reply yet

Connect = Callable[[], AbstractConnection]
Call = tuple[asyncio.Future[Any], float, bytes]  # the reply, the deadline, the packed command


class Line(asyncio.Protocol):
    """One connection from its first byte to its last; it never reconnects, ``Lines`` opens another one.

    Whatever breaks the order of commands and replies (an error of the connection, a deadline that passed) closes the
    connection, so that no reply can reach anybody but the caller it is meant for. A caller who is cancelled leaves: its
    reply is read and dropped, everybody else goes on.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self.dead = False
        self.loop = asyncio.get_running_loop()
        self._connection = connection
        self._pending: deque[Call] = deque()
        self._sent: deque[Call] = deque()
        self._transport: asyncio.WriteTransport | None = None  # none as long as the connection is being made
        self._replies = Reader(replyError=connection._parser.parse_error, notEnoughData=_NOTHING)
        self._timer: asyncio.TimerHandle | None = None
        self._watched = math.inf  # the deadline that the timer is set to
        self._flushing = False  # what is pending goes out at the next turn of the event loop
        self._full = False  # what is pending waits for room
        self._ended = self.loop.create_future()
        # An empty context: a connection outlives the request that happened to need it first.
        self._task = asyncio.create_task(self._run(), name="RedisStore connection", context=Context())

    def call(self, command: bytes, deadline: float) -> asyncio.Future[Any]:
        """Send a command; the future gets its reply.

        Args:
            command: packed.
            deadline: by the event loop's clock.

        Raises:
            redis.exceptions.RedisError: the server's answer to this command is an error.
            redis.exceptions.TimeoutError: no reply by the deadline, or to an earlier command by its own.
            redis.exceptions.ConnectionError: the connection broke; whether the command took place is unknown.
        """
        reply: asyncio.Future[Any] = asyncio.Future(loop=self.loop)
        call = (reply, deadline, command)
        if deadline < self._watched:
            self._watch(deadline)
        pending, transport = self._pending, self._transport
        if self.dead:
            _fail(call, redis_errors.ConnectionError, "the connection is closed")
        elif self._sent or pending or transport is None:
            pending.append(call)
            if not self._flushing:
                self._flush_soon()
            elif len(pending) >= ENOUGH and transport is not None:
                self._write_pending(transport)
        else:
            self._sent.append(call)
            self._write(transport, command)
        return reply

    def close(self) -> None:
        """Break off; those who still wait get an error."""
        self._die(redis_errors.RedisError, "the connection was closed by this application")

    async def aclose(self) -> None:
        """Break off, and wait until the connection is closed."""
        self.close()
        await asyncio.wait([self._task])

    # -- from connecting to closing -----------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._connect()
            await self._ended
        except Exception as exc:  # whatever it was: those who wait are told, with this as the cause
            # On unix sockets redis-py wraps a timeout while logging in.
            timed_out = any(isinstance(error, redis_errors.TimeoutError) for error in (exc, exc.__cause__))
            self._die(redis_errors.TimeoutError if timed_out else redis_errors.ConnectionError, str(exc), exc)
        finally:
            self.close()
            if self._transport is not None:
                # A close would go on writing what was given up, and on TLS wait for the answer of a hung server.
                self._transport.abort()
            await self._connection.disconnect(nowait=True)

    async def _connect(self) -> None:
        connection = self._connection
        connection.retry = Retry(NoBackoff(), 0)
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has annotated most, not this
        reader, writer = connection._reader, connection._writer
        if reader is None or writer is None or reader.at_eof() or writer.transport.is_closing():
            raise redis_errors.ConnectionError("the server closed the connection")
        self._transport = writer.transport
        self._transport.set_write_buffer_limits(high=MAX_BATCH_BYTES)
        self._transport.set_protocol(self)
        self._flush_soon()

    def _die(self, kind: type[redis_errors.RedisError], reason: str, cause: Exception | None = None) -> None:
        if self.dead:
            return
        self.dead = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watched = math.inf
        for call in chain(self._sent, self._pending):
            _fail(call, kind, reason, cause)
        self._sent.clear()
        self._pending.clear()
        if not self._ended.done():
            self._ended.set_result(None)
        if self._transport is None and self._task is not asyncio.current_task():
            self._task.cancel()  # a timeout inside redis-py may swallow it; then the connection ends once it is made

    # -- what the transport calls -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        sent, replies = self._sent, self._replies
        try:
            replies.feed(data)
            while (reply := replies.gets()) is not _NOTHING:
                if isinstance(reply, PushNotification):
                    continue  # what the server says by itself (RESP 3)
                if not sent:
                    self._die(redis_errors.ConnectionError, "the server sent a reply that nobody asked for")
                    return
                waiter = sent.popleft()[0]
                if isinstance(reply, Exception):
                    self._refuse(waiter, reply)
                elif not waiter.done():
                    waiter.set_result(reply)
        except Exception as exc:  # also what redis-py makes of an error's text may fail
            self._die(redis_errors.ConnectionError, f"the server sent what is no reply: {exc}", exc)

    def _refuse(self, waiter: asyncio.Future[Any], error: Exception) -> None:
        if not waiter.done():
            waiter.set_exception(error)
        # Logged out, loading its data, a master that was made a replica...: that concerns all.
        if isinstance(error, redis_errors.ConnectionError | redis_errors.ReadOnlyError):
            self._die(redis_errors.ConnectionError, str(error), error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._die(redis_errors.ConnectionError, str(exc or "the server closed the connection"), exc)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._flush_soon()

    # -- writing ------------------------------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if self._transport is not None and self._pending and not self._flushing and not self._full:
            self._flushing = True
            self.loop.call_soon(self._flush, self._transport)

    def _flush(self, transport: asyncio.WriteTransport) -> None:
        self._flushing = False
        self._write_pending(transport)

    def _write_pending(self, transport: asyncio.WriteTransport) -> None:
        while self._pending and not self._full and not self.dead:
            self._write(transport, b"".join(self._next_batch()))

    def _write(self, transport: asyncio.WriteTransport, packed: bytes) -> None:
        try:
            transport.write(packed)
        except Exception as exc:  # uvloop's transports raise once they are closed
            self._die(redis_errors.ConnectionError, str(exc), exc)

    def _next_batch(self) -> list[bytes]:
        """Take the commands that go out in one piece; those who were cancelled meanwhile send nothing."""
        pending, sent = self._pending, self._sent
        commands = [command for reply, _, command in pending if not reply.done()]
        if len(commands) < len(pending):
            pending = self._pending = deque([call for call in pending if not call[0].done()])
        if len(commands) > MAX_BATCH_COMMANDS or sum(map(len, commands)) > MAX_BATCH_BYTES:
            del commands[_fitting(commands) :]
            sent.extend([pending.popleft() for _ in commands])
        else:
            sent.extend(pending)
            pending.clear()
        return commands

    # -- deadlines ----------------------------------------------------------------------------------------------------

    def _watch(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._watched = deadline
        self._timer = self.loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._watched = math.inf
        now = self.loop.time()
        first = min((deadline for _, deadline, _ in chain(self._sent, self._pending)), default=None)
        if first is None:
            return
        if first > now:
            self._watch(first)
            return
        # Calls that were not written yet and still have time go out again on the next connection.
        for call in self._pending:
            if call[1] > now:
                _fail(
                    call, redis_errors.ConnectionError, "the connection was given up: the server did not answer others"
                )
        self._die(redis_errors.TimeoutError, "no answer in time")


def _fitting(commands: Sequence[bytes]) -> int:
    """Count the commands that go into one batch."""
    size = 0
    for number, command in enumerate(commands):
        if number == MAX_BATCH_COMMANDS or size >= MAX_BATCH_BYTES:
            return number
        size += len(command)
    return len(commands)


def _fail(call: Call, kind: type[redis_errors.RedisError], reason: str, cause: Exception | None = None) -> None:
    reply, _, _ = call
    if not reply.done():
        error = kind(reason)  # one for each: a shared exception would collect the tracebacks of all callers
        error.__cause__ = cause
        reply.set_exception(error)


class Lines:
    """The open lines of a store: one per event loop and address, opened when needed."""

    def __init__(self) -> None:
        self._lines: dict[tuple[asyncio.AbstractEventLoop, Hashable], Line] = {}

    def get(self, loop: asyncio.AbstractEventLoop, address: Hashable, connect: Connect) -> Line:
        """The running event loop's line to ``address``; a new one over ``connect()`` if there is none."""
        line = self._lines.get((loop, address))
        if line is None or line.dead:
            for key in [key for key in list(self._lines) if key[0].is_closed()]:
                self._lines.pop(key, None)
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


# -- commands on the wire: https://redis.io/docs/latest/develop/reference/protocol-spec/ -------------------------------


def pack(command: Sequence[bytes]) -> bytes:
    """Encode a command."""
    return b"*%d\r\n%b" % (len(command), pack_parts(command))


def pack_parts(parts: Sequence[bytes]) -> bytes:
    """Encode some parts of a command, in less time than redis-py, whose arguments need not be bytes yet."""
    return b"".join([PART % (len(part), part) for part in parts])


def unpack(command: bytes) -> list[bytes]:
    """Decode a command that was packed."""
    reader = Reader()
    reader.feed(command)
    return list(reader.gets())
