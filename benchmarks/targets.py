"""What this package has to reach, against references measured in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .contenders import OURS

STARLETTE, STARSESSIONS = "Starlette, signed cookie", "starsessions, Redis"
LITESTAR = "Litestar, encrypted cookie"
STORED_EXTRA = 200  # bytes per session in Redis, over a SET of the same values
SMALLER_COOKIE = 0.9  # of Starlette's
LEAST = 0.01  # us; noise can make what costs next to nothing look negative
ROUND_TRIPS = {"untouched": 0, "read": 1, "write": 2}

Result = Mapping[str, Any]

#: row, our contender, the reference, how many times faster we must be, scenario, requests at once
FASTER = (
    ("untouched, signed cookie", "signed cookie", STARLETTE, 9, "untouched", 1),
    ("untouched, encrypted cookie", "encrypted cookie", STARLETTE, 9, "untouched", 1),
    ("untouched, memory, no autoload", "memory, no autoload", STARLETTE, 9, "untouched", 1),
    ("untouched, files, no autoload", "files, no autoload", STARLETTE, 9, "untouched", 1),
    ("untouched, Redis, no autoload", "Redis, no autoload", STARLETTE, 9, "untouched", 1),
    ("signed cookie, read", "signed cookie", STARLETTE, 1.6, "read", 1),
    ("signed cookie, write", "signed cookie", STARLETTE, 2.3, "write", 1),
    ("encrypted cookie, read", "encrypted cookie", LITESTAR, 6, "read", 1),
    ("encrypted cookie, write", "encrypted cookie", LITESTAR, 4.5, "write", 1),
    ("Redis, read, 1 at once", "Redis", STARSESSIONS, 2.5, "read", 1),
    ("Redis, read, 64 at once", "Redis", STARSESSIONS, 12, "read", 64),
    ("Redis, write, 64 at once", "Redis", STARSESSIONS, 6, "write", 64),
    ("files, read", "files", "Litestar, files", 5, "read", 1),
    ("files, write", "files", "Litestar, files", 2, "write", 1),
)
MORE_REQUESTS = 4.5  # times starsessions' requests/s under uvicorn, sessions in Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One row of the table of targets.

    Attributes:
        ours, reference: as measured, or for a limit the limit; None: not measured in this run.
        ratio: how many times better ours is, the median of the rounds' ratios; None for limits.
        required: the ratio that is needed, or the limit, in words.
        ok: None if something was not measured.
    """

    what: str
    unit: str
    ours: float | None
    reference: float | None
    required: str
    ratio: float | None = None
    ok: bool | None = None


def verdicts(result: Result) -> list[Verdict]:
    """One for each target that this run had anything to do with."""
    every = [*_times(result), *_load(result), *_round_trips(result), *_sizes(result)]
    return [verdict for verdict in every if verdict.ours is not None or verdict.reference is not None]


def _times(result: Result) -> list[Verdict]:
    found = {
        (row["contender"], row["scenario"], row["at_once"]): row
        for row in result.get("times", ())
        if row["size"] == "300 B" and row["loop"] == "asyncio"
    }
    return [
        _better(
            what,
            "us",
            found.get((f"{OURS}, {kind}", scenario, at_once)),
            found.get((reference, scenario, at_once)),
            factor,
        )
        for what, kind, reference, factor, scenario, at_once in FASTER
    ]


def _load(result: Result) -> list[Verdict]:
    found = {row["contender"]: row for row in result.get("load", ())}
    ours, reference = found.get(f"{OURS}, Redis"), found.get(STARSESSIONS)
    return [_better("uvicorn, Redis, read", "requests/s", ours, reference, MORE_REQUESTS)]


def _better(what: str, unit: str, ours: Result | None, reference: Result | None, factor: float) -> Verdict:
    """Requests per second are better when larger, times when smaller."""
    ratio = None
    if ours is not None and reference is not None:
        ratio = _ratio(ours, reference) if unit == "requests/s" else _ratio(reference, ours)
    return Verdict(
        what=what,
        unit=unit,
        ours=None if ours is None else ours["median"],
        reference=None if reference is None else reference["median"],
        ratio=ratio,
        required=f"{factor:g} x",
        ok=None if ratio is None else ratio >= factor,
    )


def _ratio(above: Result, below: Result) -> float:
    """The median of each round's ratio: within a round, the machine had about the same speed for both."""
    pairs: Iterable[tuple[float, float]] = zip(above["samples"], below["samples"], strict=False)
    return statistics.median(max(one, LEAST) / max(other, LEAST) for one, other in pairs)


def _round_trips(result: Result) -> list[Verdict]:
    counts = result.get("counts", {}).get("contenders", {})
    verdicts = []
    for scenario, limit in ROUND_TRIPS.items():
        kind = "Redis, no autoload" if scenario == "untouched" else "Redis"
        ours = counts.get(f"{OURS}, {kind}", {}).get("round trips", {}).get(scenario)
        reference = counts.get(STARSESSIONS, {}).get("round trips", {}).get(scenario)
        verdicts.append(_limit(f"round trips, {scenario}", "per request", ours, reference, limit))
    renewing = counts.get(f"{OURS}, Redis, renewal due", {}).get("round trips", {}).get("read")
    limit = ROUND_TRIPS["read"] + 1
    return [*verdicts, _limit("round trips, read, renewal due", "per request", renewing, None, limit)]


def _sizes(result: Result) -> list[Verdict]:
    counts = result.get("counts", {}).get("contenders", {})
    values = result.get("counts", {}).get("values in Redis, bytes")
    stored = counts.get(f"{OURS}, Redis", {}).get("stored bytes")
    cookie = counts.get(f"{OURS}, signed cookie", {}).get("cookie bytes")
    theirs = counts.get(STARLETTE, {}).get("cookie bytes")
    return [
        _limit("Redis memory per session", "bytes", stored, values, None if values is None else values + STORED_EXTRA),
        _limit("signed cookie", "bytes", cookie, theirs, None if theirs is None else int(theirs * SMALLER_COOKIE)),
    ]


def _limit(what: str, unit: str, ours: float | None, reference: float | None, limit: float | None) -> Verdict:
    return Verdict(
        what=what,
        unit=unit,
        ours=ours,
        reference=reference,
        required="" if limit is None else f"at most {limit}",
        ok=None if ours is None or limit is None else ours <= limit,
    )
