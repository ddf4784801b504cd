"""Which cells of the big matrix are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .applications import SCENARIOS, SIZES
from .contenders import Contender

AT_ONCE = (1, 8, 64)
LOOPS = ("asyncio", "uvloop")
ESSENTIAL = ("untouched", "read", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """
    Attributes:
        at_once: concurrent visitors, each with a session of its own.
    """

    contender: str
    scenario: str
    size: str = "300 B"
    at_once: int = 1
    loop: str = "asyncio"


def default(contenders: Sequence[Contender]) -> list[Cell]:
    """Everything once, and more of what depends on size, concurrency or event loop: some minutes."""
    return [*_everything_once(contenders), *_crowds(contenders), *_large(contenders), *_on_uvloop(contenders)]


def quick(contenders: Sequence[Contender]) -> list[Cell]:
    return [
        Cell(contender=each.name, scenario=scenario)
        for each in contenders
        for scenario in ESSENTIAL
        if scenario in each.scenarios
    ] + [cell for cell in _crowds(contenders) if cell.scenario in ("read", "write")]


def full(contenders: Sequence[Contender]) -> list[Cell]:
    return [
        Cell(contender=each.name, scenario=scenario, size=size, at_once=at_once, loop=loop)
        for loop in LOOPS
        for size in SIZES
        for at_once in AT_ONCE
        for each in contenders
        for scenario in SCENARIOS
        if scenario in each.scenarios
    ]


def _everything_once(contenders: Sequence[Contender]) -> Iterator[Cell]:
    for each in contenders:
        for scenario in each.scenarios:
            yield Cell(contender=each.name, scenario=scenario)


def _crowds(contenders: Sequence[Contender]) -> Iterator[Cell]:
    for each in contenders:
        if each.has_server:
            for at_once, scenario in ((8, "read"), (64, "read"), (64, "write")):
                yield Cell(contender=each.name, scenario=scenario, at_once=at_once)


def _large(contenders: Sequence[Contender]) -> Iterator[Cell]:
    for each in contenders:
        if "write" in each.scenarios:
            for scenario in ("read", "write"):
                yield Cell(contender=each.name, scenario=scenario, size="3 KB")


def _on_uvloop(contenders: Sequence[Contender]) -> Iterator[Cell]:
    for each in contenders:
        if "write" in each.scenarios:
            for scenario in ("read", "write"):
                yield Cell(contender=each.name, scenario=scenario, loop="uvloop")
            if each.has_server:
                yield Cell(contender=each.name, scenario="read", loop="uvloop", at_once=64)
