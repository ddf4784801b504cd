"""Requests per second under uvicorn: every server on one core, the load generator on another."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from .bench import Workbench
from .contenders import Contender
from .environments import Unavailable, program
from .server import BARE
from .times import spread

SECONDS = 1.0  # of one round of one contender, in so many turns: a machine that gets slower does so for all
TURNS = 4
WARMING = 0.05  # seconds before each turn
SERVED = (
    "asgi_sessions, signed cookie",
    "asgi_sessions, encrypted cookie",
    "asgi_sessions, files",
    "asgi_sessions, Redis",
    "Starlette, signed cookie",
    "starsessions, signed cookie",
    "starsessions, Redis",
    "Litestar, encrypted cookie",
    "Litestar, files",
    "Litestar, Redis",
)


def measure(bench: Workbench, contenders: Sequence[Contender], rounds: int) -> list[dict[str, Any]]:
    """Each server is up all the time and idle but in its own turn; the turns are interleaved."""
    names = [each.name for each in contenders if each.name in SERVED and bench.verify(each.name, "uvloop", "300 B", ())]
    cores = _cores()
    ports: dict[str, int] = {}
    samples: dict[str, list[float]] = {}
    with contextlib.ExitStack() as closing:
        load = closing.enter_context(program("load", {"core": cores[1]}))
        _place_redis(bench.redis_url, cores[2])
        for name in (BARE, *names):
            with _dropping(bench, name):
                ports[name] = closing.enter_context(_served(name, bench, cores[0]))
                load.ask("connect", port=ports[name])
                samples[name] = []
        for _ in range(rounds * TURNS):
            for name in [name for name in samples if name not in bench.missing]:
                with _dropping(bench, name):
                    load.ask("run", port=ports[name], seconds=WARMING)
                    samples[name].append(load.ask("run", port=ports[name], seconds=SECONDS / TURNS))
    kept = {name: found for name, found in samples.items() if name not in bench.missing}
    return [{"contender": name, **spread(_by_round(found))} for name, found in kept.items()]


def _by_round(turns: Sequence[float]) -> list[float]:
    """The mean of each round's turns."""
    return [statistics.fmean(turns[at : at + TURNS]) for at in range(0, len(turns), TURNS)]


@contextlib.contextmanager
def _dropping(bench: Workbench, name: str) -> Iterator[None]:
    """Who fails is out; without the bare application there is nothing to compare with."""
    try:
        yield
    except Unavailable as exc:
        if name == BARE:
            raise
        bench.drop(name, Unavailable(f"under uvicorn: {exc}"))


@contextlib.contextmanager
def _served(contender: str, bench: Workbench, core: int | None) -> Iterator[int]:
    setting = {"contender": contender, "core": core, **bench.setting()}
    with program("server", setting) as server:
        yield int(server.listen())


def _cores() -> tuple[int | None, int | None, int | None]:
    """For the servers, for the load generator, and for Redis if there is a third; None: wherever the system likes."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None, None
    cores: list[int | None] = [*sorted(os.sched_getaffinity(0)), None, None]
    return (cores[0], cores[1], cores[2]) if cores[1] is not None else (None, None, None)


def _place_redis(url: str, core: int | None) -> None:
    if core is None:
        return
    with redis.Redis.from_url(url) as client:
        os.sched_setaffinity(client.info("server")["process_id"], [core])
