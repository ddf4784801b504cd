"""Stands between a client and Redis, and counts commands and round trips."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import hiredis


class Tally:
    """
    Attributes:
        commands: that clients sent; those within a script are the script's affair.
        round_trips: how often a command was sent on a connection that had no reply outstanding.
    """

    def __init__(self) -> None:
        self.commands = 0
        self.round_trips = 0

    def values(self) -> tuple[int, int]:
        return self.commands, self.round_trips


class _Line:
    """One connection, in both directions."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._outstanding = 0
        self._commands = hiredis.Reader()
        self._replies = hiredis.Reader()

    def sent(self, data: bytes) -> None:
        self._commands.feed(data)
        while self._commands.gets() is not False:
            self._tally.commands += 1
            self._tally.round_trips += self._outstanding == 0
            self._outstanding += 1

    def answered(self, data: bytes) -> None:
        self._replies.feed(data)
        while self._replies.gets() is not False:
            self._outstanding -= 1


@contextlib.contextmanager
def counting(url: str) -> Iterator[tuple[str, Tally]]:
    """
    Args:
        url: of a server on a Unix socket.

    Yields:
        The URL to use instead, and what was counted there.
    """
    tally = Tally()
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        address = str(Path(directory) / "proxy")
        loop.run_until_complete(_listen(unquote(urlsplit(url).path), address, tally))
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield f"unix://{quote(address)}", tally
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(_end_tasks())
            loop.close()


async def _listen(upstream: str, address: str, tally: Tally) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(tally)
        from_redis, to_redis = await asyncio.open_unix_connection(upstream)
        with contextlib.suppress(asyncio.CancelledError):  # the end; before 3.12 asyncio reports it as an error
            await asyncio.gather(_pump(reader, to_redis, line.sent), _pump(from_redis, writer, line.answered))

    await asyncio.start_unix_server(connected, address)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, see: Any) -> None:
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            see(data)
            writer.write(data)


async def _end_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
