"""The process that holds the contenders of one environment under one event loop, and measures when it is told to.

It reads one JSON object per line from its standard input and answers each with one. The first one is the setting.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .applications import SCENARIOS
from .contenders import BY_NAME
from .counting import audit, begin, cookie_bytes, memory, per_request
from .machine import installed
from .subject import Setting, Subject
from .visitor import Slices, Strangers, Visitor, arrive, sample, verify

STRANGERS = 2000  # more than anybody remembers


class Bench:
    """The contenders that were asked for so far, with their visitors."""

    def __init__(self, redis_url: str, directory: Path, key: str) -> None:
        self._redis_url = redis_url
        self._directory = directory
        self._key = key
        self._subjects: dict[str, Subject] = {}
        self._visitors: dict[tuple[str, str, int], list[Visitor]] = {}
        self._applications: dict[str, dict[str, Any]] = {}

    async def verify(self, contender: str, size: str, scenarios: list[str]) -> None:
        await verify(self.subject(contender), size, scenarios)

    async def sample(self, contender: str, scenario: str, size: str, at_once: int, seconds: float) -> Slices:
        prepared = self._applications.setdefault(contender, {})
        visitors = await self.visitors(contender, size, STRANGERS if SCENARIOS[scenario].by_strangers else at_once)
        if SCENARIOS[scenario].by_strangers:
            visitors = [Strangers(visitors)]
        return await sample(self.subject(contender), scenario, visitors, seconds, prepared)

    async def begin(self, contender: str, scenario: str) -> None:
        audit(str(self._directory))
        self._regular = await begin(self.subject(contender), scenario)

    async def per_request(self) -> dict[str, float]:
        return await per_request(self._regular)

    async def cookie_bytes(self, contender: str) -> int:
        return await cookie_bytes(self.subject(contender))

    async def memory(self, contender: str, sessions: int) -> int:
        return await memory(self.subject(contender), sessions)

    async def versions(self, packages: list[str]) -> dict[str, str]:
        return installed(packages)

    def subject(self, name: str) -> Subject:
        if name not in self._subjects:
            contender = BY_NAME[name]
            module = importlib.import_module(f"{__package__}.peers.{contender.module}")
            directory = Path(tempfile.mkdtemp(dir=self._directory))
            setting = Setting(redis_url=self._redis_url, directory=directory, key=self._key)
            self._subjects[name] = module.build(contender.kind, setting)
        return self._subjects[name]

    async def visitors(self, contender: str, size: str, number: int) -> list[Visitor]:
        key = (contender, size, number)
        if key not in self._visitors:
            self._visitors[key] = await arrive(self.subject(contender), size, number)
        return self._visitors[key]


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name == "asyncio":
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anything else prints is not an answer
    setting = json.loads(sys.stdin.readline())
    bench = Bench(setting["redis_url"], Path(setting["directory"]), setting["key"])
    with asyncio.Runner(loop_factory=loop_factory(setting["loop"])) as runner:
        for line in sys.stdin:
            order = json.loads(line)
            try:
                answer = {"answer": runner.run(getattr(bench, order.pop("do"))(**order))}
            except Exception as exc:
                answer = {"error": f"{type(exc).__name__}: {exc}"}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
