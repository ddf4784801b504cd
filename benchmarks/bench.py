"""What every part of the suite needs: a Redis of its own, workers where they are needed, and who dropped out."""

from __future__ import annotations

import contextlib
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import redis

from asgi_sessions.demo.valkey import find_program, valkey

from .contenders import BY_NAME, PINS
from .environments import Unavailable, Worker, program

Missing = dict[str, str]  # contender -> why it is not measured


class Unfaithful(Exception):
    """This package does not do what is to be measured."""


class Workbench:
    """
    Attributes:
        missing: contenders that dropped out, and why.
    """

    def __init__(self, redis_url: str, directory: Path) -> None:
        self.redis_url = redis_url
        self.directory = directory
        self.key = secrets.token_hex(32)
        self.missing: Missing = {}
        self._workers: dict[tuple[str, str], Worker] = {}
        self._closing = contextlib.ExitStack()

    def close(self) -> None:
        self._closing.close()

    def restart(self) -> None:
        """Stop all workers; each contender's next one is a new process."""
        self._workers.clear()
        self._closing.close()

    def worker(self, contender: str, loop: str = "asyncio") -> Worker:
        """The process in which a contender runs.

        Raises:
            Unavailable: its environment could not be made.
        """
        environment = BY_NAME[contender].environment
        if (environment, loop) not in self._workers:
            started = program("worker", {"loop": loop, **self.setting()}, environment)
            self._workers[environment, loop] = self._closing.enter_context(started)
        return self._workers[environment, loop]

    def setting(self) -> dict[str, str]:
        """What contenders are built with, wherever they run."""
        return {"redis_url": self.redis_url, "directory": str(self.directory), "key": self.key}

    def verify(self, contender: str, loop: str, size: str, scenarios: Iterable[str]) -> bool:
        """Whether the contender does what is to be timed; who does not is out."""
        if contender in self.missing:
            return False
        try:
            self.worker(contender, loop).ask("verify", contender=contender, size=size, scenarios=list(scenarios))
        except Unavailable as exc:
            self.drop(contender, exc)
        return contender not in self.missing

    def drop(self, contender: str, reason: Unavailable) -> None:
        """
        Raises:
            Unfaithful: it is this package; figures of something that does not work are worth nothing.
        """
        if BY_NAME[contender].is_ours:
            raise Unfaithful(f"{contender}: {reason}") from reason
        text = str(reason).partition("\n")[0]
        if "ModuleNotFoundError" in text:
            text += f"; the bench extra has it (compared with: {', '.join(f'{k} {v}' for k, v in PINS.items())})"
        self.missing[contender] = text
        print(f"{contender} drops out: {text}", file=sys.stderr)

    def versions_apart(self) -> dict[str, str]:
        """Of the contenders that have an environment of their own, and of the redis-py that they use."""
        found: dict[str, str] = {}
        for (environment, _), each in self._workers.items():
            if environment:
                there = each.ask("versions", packages=[environment, "redis"])
                found |= {environment: there[environment], f"redis for {environment}": there["redis"]}
        return found


@contextlib.contextmanager
def own_redis() -> Iterator[str]:
    """A Valkey server without persistence and memory limit, on a socket."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, valkey(find_program(), Path(directory)) as url:
        with redis.Redis.from_url(url) as client:
            client.config_set("appendonly", "no")
            client.config_set("maxmemory", "0")
        yield url


@contextlib.contextmanager
def workbench() -> Iterator[Workbench]:
    with own_redis() as url, tempfile.TemporaryDirectory(prefix="bench-files-") as directory:
        made = Workbench(url, Path(directory))
        try:
            yield made
        finally:
            made.close()
