"""Redis's wire protocol, as far as commands are concerned; hiredis reads the replies.

Specification: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from collections.abc import Sequence
from functools import cache
from typing import cast

import hiredis

__all__ = ["pack", "parts_format", "pieces", "unpack"]


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
    reader = hiredis.Reader()
    reader.feed(command)
    return cast(list[bytes], reader.gets())  # a command is an array of strings
