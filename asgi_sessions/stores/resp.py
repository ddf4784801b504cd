"""Redis's wire protocol: commands out, replies in, whole or in pieces.

Specification: https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP 2 and 3).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

__all__ = ["ProtocolError", "Replies", "pack", "parts_format", "pieces", "unpack"]

MAX_LINE = 64 * 1024  # bytes; an error's text or a number is shorter by far
MAX_DEPTH = 32  # levels of arrays in arrays

_END = b"\r\n"
_INTEGER, _BULK, _ERROR, _SIMPLE, _NULL, _PUSH = b":$-+_>"
_BULKS = frozenset(b"$=!")  # with a length: strings, with a format before them, and errors
_AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}  # with a number of elements, or of pairs
_LINES = frozenset(b",#(")  # as text: numbers and booleans, which none of our commands is answered with


class ProtocolError(Exception):
    """What came is no reply: whatever follows can not be understood either."""


class _Incomplete(Exception):
    """The rest of a reply has not come yet."""

    def __init__(self, size: int) -> None:
        self.size = size  # bytes that have to be there, at least


def pack(command: Sequence[bytes]) -> bytes:
    """A command as the server wants it."""
    return b"*%d\r\n" % len(command) + parts_format(len(command)) % pieces(command)


@cache
def parts_format(parts: int) -> bytes:
    """What ``pieces`` of so many parts are formatted by."""
    # A sixth of the time of redis-py's pack_command, which has to deal with arguments that are not bytes yet.
    return b"$%d\r\n%b\r\n" * parts


def pieces(parts: Sequence[bytes]) -> tuple[int | bytes, ...]:
    """The size of each part, and the part."""
    found: list[int | bytes] = []
    for part in parts:
        found.append(len(part))
        found.append(part)
    return tuple(found)


def unpack(command: bytes) -> list[bytes]:
    """The parts of a command that was packed."""
    (parts,) = Replies(ProtocolError).feed(command)
    return list(parts)


class Replies:
    """Takes the bytes of one connection, gives its replies in order.

    A reply is bytes, an int, None, or a list of replies; an error is given as what ``error`` makes of its text. What
    the server pushes by itself (RESP 3) is left out.

    Args:
        error: makes an exception of an error's text.
    """

    __slots__ = ("_error", "_pieces", "_size", "_wanted")

    def __init__(self, error: Callable[[str], Exception]) -> None:
        self._error = error
        self._pieces: list[bytes] = []  # of a reply that is not complete
        self._size = 0
        self._wanted = 0  # bytes without which it is not worth another look, so that large replies are read once

    def feed(self, data: bytes) -> Iterator[Any]:
        """The replies that are complete now.

        Raises:
            ProtocolError: this is no reply.
        """
        if self._pieces:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
        at, size = 0, len(data)
        try:
            while at < size:
                kind = data[at]
                # Nearly all are one of these two: those that are complete without a call, which halves the time.
                if kind == _BULK:
                    start = data.find(_END, at) + 2
                    stop = start + int(data[at + 1 : start]) if start > 1 else size
                    if start <= stop <= size - 2:
                        yield data[start:stop]
                        at = stop + 2
                        continue
                elif kind == _INTEGER and (end := data.find(_END, at)) > 0:
                    yield int(data[at + 1 : end])
                    at = end + 2
                    continue
                reply, at = self._read(data, at, 0)
                if kind != _PUSH:
                    yield reply
        except _Incomplete as exc:
            self._pieces = [data[at:]]
            self._size = size - at
            self._wanted = exc.size - at
        except ValueError as exc:
            raise ProtocolError("the server sent what is no number where one has to be") from exc

    def _read(self, data: bytes, at: int, depth: int) -> tuple[Any, int]:
        """The reply that begins at ``at``, and where the next one does."""
        end = data.find(_END, at)
        if end < 0:
            if len(data) - at > MAX_LINE:
                raise ProtocolError("the server sent a line without an end")
            raise _Incomplete(len(data) + 1)
        kind = data[at]
        if kind in _BULKS:
            return self._bulk(data, kind, int(data[at + 1 : end]), end + 2)
        if kind == _INTEGER:
            return int(data[at + 1 : end]), end + 2
        if kind == _ERROR:
            return self._error(data[at + 1 : end].decode("utf-8", "replace")), end + 2
        if kind == _NULL:
            return None, end + 2
        if kind == _SIMPLE or kind in _LINES:
            return data[at + 1 : end], end + 2
        if kind not in _AGGREGATES or depth == MAX_DEPTH:
            raise ProtocolError(f"the server sent what is no reply: {data[at : at + 20]!r}")
        return self._aggregate(data, int(data[at + 1 : end]) * _AGGREGATES[kind], end + 2, depth)

    def _bulk(self, data: bytes, kind: int, length: int, start: int) -> tuple[Any, int]:
        if length < 0:
            return None, start
        stop = start + length
        if len(data) < stop + 2:
            raise _Incomplete(stop + 2)
        if kind == _BULK:
            return data[start:stop], stop + 2
        if kind == ord("="):
            return data[start + len("txt:") : stop], stop + 2
        return self._error(data[start:stop].decode("utf-8", "replace")), stop + 2

    def _aggregate(self, data: bytes, count: int, at: int, depth: int) -> tuple[Any, int]:
        if count < 0:
            return None, at
        elements = []
        for _ in range(count):
            element, at = self._read(data, at, depth + 1)
            elements.append(element)
        return elements, at
