"""What somebody else, or a broken disk, left where a record should be: in the directory and in Redis."""

import contextlib
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from asgi_sessions import CookieRefused, MalformedSession, UnknownSession

from .case import Case, live_cookie, opened
from .target import HANDLE, SECRET, Headers, Target, cookies

MAGIC = b"ASR1"


def place(target: Target, handle: bytes = HANDLE) -> Path:
    name = handle.hex()
    return target.path / "sessions" / name[:2] / name


@contextlib.contextmanager
def redis_of(target: Target) -> Iterator[tuple[Any, bytes]]:
    """A client, and the key under which a record would be."""
    with contextlib.closing(redis.Redis.from_url(target.redis_url)) as client:
        yield client, f"{target.path}:{HANDLE.hex()}".encode()


def _file(name: str, make: Callable[[Path, Target], Any]) -> Case:
    async def send(target: Target) -> Headers:
        file = place(target)
        file.parent.mkdir(parents=True, mode=0o700)
        make(file, target)
        return cookies(target.seal(HANDLE + SECRET))

    return Case(name=f"file: {name}", send=send, error=UnknownSession, kinds=("filesystem",), reads=True)


def _content(name: str, content: bytes) -> Case:
    return _file(name, lambda file, target: file.write_bytes(content))


def _sparse(file: Path, target: Target) -> None:
    file.write_bytes(MAGIC)
    os.truncate(file, 2**33)


def _socket(file: Path, target: Target) -> None:
    # The name of a socket is too short for most paths: bind it nearby, by a relative path.
    folder, here = os.open(file.parent, os.O_RDONLY), os.open(".", os.O_RDONLY)
    try:
        os.fchdir(folder)
        with socket.socket(socket.AF_UNIX) as endpoint:
            endpoint.bind(file.name)
    finally:
        os.fchdir(here)
        os.close(folder)
        os.close(here)


def _expired(file: Path, target: Target) -> None:
    file.write_bytes(MAGIC + bytes(100))
    os.utime(file, (0, 0))


async def _copied(target: Target) -> Headers:
    """Another visitor's file under my handle: it has his hash, not mine."""
    handle = opened(target, await live_cookie(target))[:16]
    place(target).parent.mkdir(parents=True, exist_ok=True)
    place(target).write_bytes(place(target, handle).read_bytes())
    os.utime(place(target), (5e9, 5e9))
    return cookies(target.seal(HANDLE + SECRET))


async def _linked(target: Target) -> Headers:
    """Another visitor's file, linked to under my handle, with his own secret."""
    token = opened(target, await live_cookie(target))
    place(target).parent.mkdir(parents=True, exist_ok=True)
    place(target).symlink_to(place(target, token[:16]))
    return cookies(target.seal(HANDLE + token[16:]))


FILES: list[Case] = [
    _content("empty", b""),
    _content("one byte", b"A"),
    _content("the magic number only", MAGIC),
    _content("the magic number and zeros", MAGIC + bytes(100)),
    _content("another magic number", b"ASR9" + bytes(100)),
    _content("64 KB of ones", b"\xff" * 2**16),
    _content("four megabytes of zeros", bytes(2**22)),
    _content("a pickle", pickle.dumps({"user": "ann"})),
    _content("JSON", b'{"values":{"user":"ann"},"created_at":1,"started_at":1}'),
    _content("a program", b"#!/bin/sh\necho hello\n"),
    _file("eight sparse gigabytes", _sparse),
    _file("expired garbage", _expired),
    _file("a link to a file of the system", lambda file, target: file.symlink_to("/etc/passwd")),
    _file("a link to an endless device", lambda file, target: file.symlink_to("/dev/zero")),
    _file("a link to nowhere", lambda file, target: file.symlink_to("nowhere")),
    _file("a link to itself", lambda file, target: file.symlink_to(file)),
    _file("a directory", lambda file, target: file.mkdir()),
    _file("a named pipe that nobody writes to", lambda file, target: os.mkfifo(file)),
    _file("a socket", _socket),
    Case(name="file: a copy of another visitor's", send=_copied, error=UnknownSession, kinds=("filesystem",)),
    Case(name="file: a link to another visitor's", send=_linked, error=UnknownSession, kinds=("filesystem",)),
]


def _key(name: str, make: Callable[[Any, bytes], Any], error: type[CookieRefused] = UnknownSession) -> Case:
    async def send(target: Target) -> Headers:
        with redis_of(target) as (client, key):
            make(client, key)
        return cookies(target.seal(HANDLE + SECRET))

    put_aside = error is MalformedSession
    return Case(name=f"redis: {name}", send=send, error=error, kinds=("redis",), reads=True, put_aside=put_aside)


def _value(name: str, value: bytes, error: type[CookieRefused]) -> Case:
    return _key(name, lambda client, key: client.set(key, value), error)


REDIS: list[Case] = [
    _key("a list", lambda client, key: client.rpush(key, b"x" * 100)),
    _key("a set", lambda client, key: client.sadd(key, b"x" * 100)),
    _key("a sorted set", lambda client, key: client.zadd(key, {b"x" * 100: 1})),
    _key("a hash", lambda client, key: client.hset(key, b"user", b"ann")),
    _key("a stream", lambda client, key: client.xadd(key, {b"user": b"ann"})),
    _key("a HyperLogLog", lambda client, key: client.pfadd(key, b"x"), MalformedSession),
    _key("a bitmap", lambda client, key: client.setbit(key, 8 * 2**16, 1), MalformedSession),
    _value("an empty value", b"", UnknownSession),
    _value("one byte", b"x", UnknownSession),
    _value("a counter", b"12345", UnknownSession),
    _value("seven bytes", b"1234567", UnknownSession),
    _value("a version and no data", b"version!", MalformedSession),
    _value("a version and a byte that MessagePack never uses", b"version!\xc1", MalformedSession),
    _value("a counter of ten digits", b"1234567890", MalformedSession),
    _value("another application's JSON", b'{"user": "ann", "exp": 4000000000}', MalformedSession),
    _value("another application's pickle", pickle.dumps({"user": "ann"}), MalformedSession),
    _value("half a megabyte of zeros", bytes(2**19), MalformedSession),
    _value("half a megabyte of brackets", b"\x91" * 2**19, MalformedSession),
]

STORED: list[Case] = [*FILES, *REDIS]
