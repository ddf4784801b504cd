"""A load generator: keep-alive connections that each ask again as soon as they are answered.

Run as a program, it reads one JSON order per line from its standard input and answers each with one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

from .server import FILL
from .worker import loop_factory

CONNECTIONS = 32
COUNTED = b"\r\n\r\n0"  # the end of each answer: the counter of a session that nobody raises
FILLED = b"\r\n0\r\n\r\n"  # the last chunk
REQUEST = b"GET %s HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n%s\r\n"


class Connection(asyncio.Protocol):
    """One visitor; ``answered`` counts its complete answers."""

    def __init__(self) -> None:
        self.answered = 0
        self._asking = False
        self._request = b""
        self._received = b""
        self._idle: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle and not self._idle.done():
            self._idle.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(self._ending):
            return
        if not self._received.startswith(b"HTTP/1.1 200 "):
            self._asking = False
        self.answered += 1
        if self._asking:
            self._received = b""
            self._transport.write(self._request)
        elif self._idle and not self._idle.done():
            self._idle.set_result(self._received)

    def start(self, request: bytes, ending: bytes = COUNTED) -> asyncio.Future[bytes]:
        """Begin to ask; the future has the last answer, after ``stop``."""
        self._request, self._ending, self._received, self._asking = request, ending, b"", True
        self._idle = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._idle

    def stop(self) -> None:
        self._asking = False

    async def begin_session(self) -> bytes:
        """The request with the cookies of a new session."""
        answering = self.start(REQUEST % (FILL.encode(), b""), FILLED)
        self.stop()
        lines = (await answering).partition(b"\r\n\r\n")[0].split(b"\r\n")
        cookies = [line.partition(b":")[2].strip() for line in lines if line.lower().startswith(b"set-cookie:")]
        pairs = [b"first=1", *(cookie.partition(b";")[0] for cookie in cookies), b"last=2"]
        return REQUEST % (b"/", b"Cookie: %s\r\n" % b"; ".join(pairs))


class Load:
    """The connections to each server, kept open from round to round."""

    def __init__(self) -> None:
        self._open: dict[int, list[tuple[Connection, bytes]]] = {}

    async def connect(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._open[port] = []
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            self._open[port].append((connection, await connection.begin_session()))

    async def run(self, port: int, seconds: float) -> float:
        """Requests per second."""
        visitors = self._open[port]
        before = sum(connection.answered for connection, _ in visitors)
        start = time.perf_counter()
        answering = [connection.start(request) for connection, request in visitors]
        await asyncio.sleep(seconds)
        answered = sum(connection.answered for connection, _ in visitors) - before
        elapsed = time.perf_counter() - start
        for connection, _ in visitors:
            connection.stop()
        for answer in await asyncio.wait_for(asyncio.gather(*answering), 10):
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ValueError(f"answered {answer[:60]!r}")
        return answered / elapsed


def main() -> None:
    core = json.loads(sys.stdin.readline())["core"]
    if core is not None:
        os.sched_setaffinity(0, [core])
    load = Load()
    with asyncio.Runner(loop_factory=loop_factory("uvloop")) as runner:
        for line in sys.stdin:
            order = json.loads(line)
            try:
                answer = {"answer": runner.run(getattr(load, order.pop("do"))(**order))}
            except Exception as exc:
                answer = {"error": f"{type(exc).__name__}: {exc}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
