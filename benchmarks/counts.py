"""Figures that do not depend on the machine: what one request sends, calls and leaves behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import redis

from .applications import SMALL
from .bench import Workbench
from .cells import ESSENTIAL
from .contenders import Contender
from .counting import TIMES
from .environments import Unavailable, Worker, program
from .redis_proxy import Tally, counting
from .system_calls import counted, strace

IN_MEMORY = 10_000  # sessions
IN_REDIS = 10  # sessions that MEMORY USAGE is averaged over

Counts = dict[str, Any]


def measure(bench: Workbench, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Contender -> what -> figure, or scenario -> figure; and what the bare values take in Redis."""
    fit = [each for each in contenders if bench.verify(each.name, "asyncio", "300 B", ())]
    found: dict[str, Counts] = {each.name: {} for each in fit}
    with counting(bench.redis_url) as (url, tally):
        for each in fit:
            with _worker(bench, each, url) as worker:
                _count(bench, each, worker, tally, found[each.name])
    log = bench.directory / "strace.log"
    tracer = strace(log)
    files = [each for each in fit if each.kind.startswith("files")]
    if tracer:
        for each in files:
            found[each.name]["file calls"] = _traced(bench, each, tracer, log)
    return {
        "file calls counted by": "strace" if tracer else "Python's audit events, without read, write, stat and close",
        "values in Redis, bytes": _bare_values(bench.redis_url),
        "contenders": {name: counts for name, counts in found.items() if name not in bench.missing},
    }


@contextlib.contextmanager
def _worker(bench: Workbench, contender: Contender, redis_url: str, prefix: Sequence[str] = ()) -> Iterator[Worker]:
    setting = {**bench.setting(), "loop": "asyncio", "redis_url": redis_url}
    with program("worker", setting, contender.environment, prefix) as worker:
        yield worker


def _count(bench: Workbench, contender: Contender, worker: Worker, tally: Tally, counts: Counts) -> None:
    try:
        for scenario in ESSENTIAL:
            if scenario in contender.scenarios:
                _count_scenario(contender, worker, tally, counts, scenario)
        if "read" in contender.scenarios:
            counts["cookie bytes"] = worker.ask("cookie_bytes", contender=contender.name)
        if contender.kind == "Redis":
            counts["stored bytes"] = _stored(bench.redis_url, worker, contender)
        if contender.kind == "memory":
            counts["memory bytes"] = worker.ask("memory", contender=contender.name, sessions=IN_MEMORY)
    except Unavailable as exc:
        bench.drop(contender.name, exc)


def _count_scenario(contender: Contender, worker: Worker, tally: Tally, counts: Counts, scenario: str) -> None:
    worker.ask("begin", contender=contender.name, scenario=scenario)
    before = tally.values()
    found = worker.ask("per_request")
    sent = [after - earlier for after, earlier in zip(tally.values(), before, strict=True)]
    counts.setdefault("Set-Cookie bytes", {})[scenario] = found["Set-Cookie bytes"]
    if contender.kind.startswith("Redis"):
        counts.setdefault("Redis commands", {})[scenario] = sent[0] / TIMES
        counts.setdefault("round trips", {})[scenario] = sent[1] / TIMES
    if contender.kind.startswith("files"):
        counts.setdefault("thread hops", {})[scenario] = found["thread hops"]
        counts.setdefault("file calls", {})[scenario] = found["file events"]


def _traced(bench: Workbench, contender: Contender, tracer: Sequence[str], log: Path) -> dict[str, float]:
    log.unlink(missing_ok=True)
    scenarios = [scenario for scenario in ESSENTIAL if scenario in contender.scenarios]
    with _worker(bench, contender, bench.redis_url, tracer) as worker:
        for scenario in scenarios:
            worker.ask("begin", contender=contender.name, scenario=scenario)
            worker.ask("per_request")
    calls = counted(log, bench.directory)
    return {scenario: calls.get(scenario, 0) / TIMES for scenario in scenarios}


def _stored(url: str, worker: Worker, contender: Contender) -> float:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        for _ in range(IN_REDIS):
            worker.ask("cookie_bytes", contender=contender.name)
        return sum(int(client.memory_usage(key)) for key in client.scan_iter()) / IN_REDIS


def _bare_values(url: str) -> int:
    """MEMORY USAGE of a SET of the small session's values alone, under a key as long as ours."""
    with redis.Redis.from_url(url) as client:
        key = "session:" + 32 * "0"
        client.set(key, msgspec.msgpack.encode(SMALL))
        return int(client.memory_usage(key))
