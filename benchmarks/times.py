"""Time added over the bare application, in interleaved rounds."""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .bench import Workbench
from .cells import Cell
from .environments import Unavailable
from .visitor import Slices

TURNS = 4  # of each cell, in one round

Figure = dict[str, Any]
Sample = dict[str, float]  # us per request: "bare", and what the middleware "added"


def spread(samples: Sequence[float]) -> Figure:
    """Median and quartiles, and what they come from, round by round."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [*samples] * 3
    rounded = [round(each, 3) for each in (median, low, high, *samples)]
    return {"median": rounded[0], "low": rounded[1], "high": rounded[2], "samples": rounded[3:]}


def measure(bench: Workbench, cells: Sequence[Cell], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """One round measures every cell once, so that a machine that gets slower meanwhile does so for all.

    What is compared is measured side by side: all contenders take turns in one scenario, then in the next. Where things
    lie in a process's memory makes it faster or slower by some per cent: each round has processes of its own.

    Args:
        seconds: that one cell takes in one round, about, after as long a time to warm up.
    """
    cells = _faithful(bench, cells)
    samples: dict[Cell, list[Sample]] = {cell: [] for cell in cells}
    for number in range(rounds):
        _show(f"round {number + 1} of {rounds}, {len(cells)} cells")
        bench.restart()
        for _, group in itertools.groupby(sorted(cells, key=_situation), _situation):
            compared = list(group)
            slices: dict[Cell, list[Slices]] = {cell: [] for cell in compared}
            for cell in compared:
                _take_turn(bench, cell, seconds, [])  # warms up
            for cell in compared * TURNS:
                _take_turn(bench, cell, seconds / TURNS, slices[cell])
            for cell in compared:
                if cell.contender not in bench.missing:
                    samples[cell].append(_sample(slices[cell]))
    _show("")
    return [_result(cell, found) for cell, found in samples.items() if cell.contender not in bench.missing]


def _take_turn(bench: Workbench, cell: Cell, seconds: float, slices: list[Slices]) -> None:
    if cell.contender in bench.missing:
        return
    try:
        found = bench.worker(cell.contender, cell.loop).ask(
            "sample",
            contender=cell.contender,
            scenario=cell.scenario,
            size=cell.size,
            at_once=cell.at_once,
            seconds=seconds,
        )
    except Unavailable as exc:
        bench.drop(cell.contender, exc)
    else:
        slices.append(found)


def _sample(turns: Sequence[Slices]) -> Sample:
    """The medians of the slices are compared: a slice in which the machine did something else does not count."""
    bare, wrapped = (statistics.median(us for turn in turns for us in turn[kind]) for kind in ("bare", "wrapped"))
    return {"bare": bare, "added": wrapped - bare}


def _faithful(bench: Workbench, cells: Sequence[Cell]) -> list[Cell]:
    groups: dict[tuple[str, str, str], dict[str, None]] = {}
    for cell in cells:
        groups.setdefault((cell.contender, cell.loop, cell.size), {})[cell.scenario] = None
    for (contender, loop, size), scenarios in groups.items():
        bench.verify(contender, loop, size, scenarios)
    return [cell for cell in cells if cell.contender not in bench.missing]


def _situation(cell: Cell) -> tuple[str, int, str, str]:
    return cell.size, cell.at_once, cell.loop, cell.scenario


def _result(cell: Cell, samples: Sequence[Sample]) -> dict[str, Any]:
    bare = statistics.median(sample["bare"] for sample in samples)
    return {**asdict(cell), **spread([sample["added"] for sample in samples]), "bare": round(bare, 3)}


def _show(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
