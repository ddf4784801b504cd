"""The benchmark suite: what it makes of a result, and that a small run works."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import plot, report, targets, times
from benchmarks.cells import Cell
from benchmarks.environments import Unavailable

OURS, STARLETTE = "asgi_sessions, signed cookie", "Starlette, signed cookie"
ROOT = Path(__file__).parent.parent


def time(contender, scenario, us, size="300 B"):
    return {
        "contender": contender,
        "scenario": scenario,
        "size": size,
        "at_once": 1,
        "loop": "asyncio",
        "median": us,
        "low": us - 1,
        "high": us + 1,
        "samples": [us - 1, us, us + 1],
        "bare": 5.0,
    }


@pytest.fixture
def result():
    return {
        "machine": {
            "date": "2026-01-02",
            "cpu": 'A <fast> & "quiet" CPU',
            "cores": 2,
            "load": 0.0,
            "python": "CPython 3.11.7",
            "system": "Linux x86_64",
            "rounds": 3,
            "versions": {"starlette": "1.10.0"},
        },
        "missing": {"redsession, Redis": "pip could not install it"},
        "times": [
            time(OURS, "read", 7.0),
            time(OURS, "write", 30.0),
            time(STARLETTE, "read", 18.0),
            time(STARLETTE, "write", 40.0),
            time(STARLETTE, "read", 50.0, size="3 KB"),
        ],
        "load": [
            {
                "contender": "asgi_sessions, Redis",
                **dict.fromkeys(("median", "low", "high"), 25_000),
                "samples": [25_000],
            },
            {"contender": "starsessions, Redis", **dict.fromkeys(("median", "low", "high"), 5_000), "samples": [5_000]},
        ],
        "counts": {
            "file calls counted by": "strace",
            "values in Redis, bytes": 300,
            "contenders": {
                OURS: {"cookie bytes": 400},
                STARLETTE: {"cookie bytes": 410},
                "asgi_sessions, Redis": {"stored bytes": 384, "round trips": {"read": 1.0, "write": 3.0}},
            },
        },
    }


def verdict(result, what):
    return next(each for each in targets.verdicts(result) if each.what == what)


def test_a_target_that_is_reached_is_ok_and_one_that_falls_short_says_so(result):
    assert verdict(result, "signed cookie, read").ok is True
    assert verdict(result, "signed cookie, write").ok is False
    assert verdict(result, "uvicorn, Redis, read").ratio == 5
    assert verdict(result, "round trips, read").ok is True
    assert verdict(result, "round trips, write").ok is False
    assert verdict(result, "Redis memory per session").ok is True
    assert verdict(result, "signed cookie").ok is False  # not ten per cent smaller


def test_a_ratio_is_that_of_the_rounds_and_not_of_the_medians(result):
    ours, theirs = result["times"][0], result["times"][2]
    ours["samples"], theirs["samples"] = [5.0, 10.0, 20.0], [10.0, 20.0, 40.0]

    assert verdict(result, "signed cookie, read").ratio == 2


def test_what_was_not_measured_is_neither_ok_nor_short(result):
    result["times"] = [row for row in result["times"] if row["contender"] == OURS]

    assert verdict(result, "signed cookie, read").ok is None
    assert "not measured" in report.terminal(result)


def test_the_tables_show_each_figure_with_its_spread_and_who_dropped_out(result):
    text = report.terminal(result)

    assert "7.0 (6.0 to 8.0)" in text
    assert "time added, us: 3 KB, 1 at once, asyncio" in text
    assert "not measured: redsession, Redis: pip could not install it" in text
    assert "short" in text


def test_the_tables_for_the_readme_have_as_many_cells_in_each_row(result):
    tables = [part.splitlines() for part in report.markdown(result).split("\n\n") if part.startswith("|")]

    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_the_picture_is_well_formed_and_names_every_contender(result):
    picture = ElementTree.fromstring(plot.svg(result))
    texts = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}

    assert {"asgi_sessions, signed", "Starlette, signed", "starsessions, Redis"} <= texts
    assert "prefers-color-scheme: dark" in plot.svg(result)


class Scripted:
    """A workbench whose workers answer what they are told to; it notes who was asked."""

    def __init__(self, bare, wrapped):
        self.missing, self.asked, self.started = {}, [], []
        self._bare, self._wrapped = bare, wrapped

    def verify(self, contender, loop, size, scenarios):
        return True

    def restart(self):
        self.started.append(len(self.asked))

    def worker(self, contender, loop):
        self._contender = contender
        return self

    def ask(self, do, *, scenario, **order):
        self.asked.append((self._contender, scenario))
        if self._contender == "broken" and len(self.asked) > 9:
            raise Unavailable("it broke")
        turn = self.asked.count((self._contender, scenario)) - 1
        return {"bare": [self._bare], "wrapped": [self._wrapped[turn % len(self._wrapped)]]}

    def drop(self, contender, reason):
        self.missing[contender] = str(reason)


def test_what_is_compared_takes_turns_and_a_slice_that_was_disturbed_does_not_count():
    bench = Scripted(bare=2.0, wrapped=[900.0, 5.0, 5.0, 6.0, 500.0])  # it is slow at first, and once disturbed
    cells = [Cell(contender=name, scenario=scenario) for name in ("a", "b", "broken") for scenario in ("read", "write")]
    found = times.measure(bench, cells, rounds=2, seconds=0.1)

    assert [(row["contender"], row["scenario"]) for row in found] == [
        ("a", "read"), ("a", "write"), ("b", "read"), ("b", "write")
    ]  # fmt: skip
    assert {(row["median"], row["bare"], len(row["samples"])) for row in found} == {(3.5, 2.0, 2)}
    assert (bench.missing, [name for name, _ in bench.asked].count("broken")) == ({"broken": "it broke"}, 4)
    assert bench.asked[:8] == [(name, "read") for name in ("a", "b", "broken", "a", "b", "broken", "a", "b")]
    assert bench.started == [0, 24]  # in each round anew; "broken" is asked no more by then


def test_a_quick_run_measures_this_package_beside_starlette(tmp_path):
    kept = tmp_path / "result.json"
    words = ["--quick", "--rounds", "1", "--only", "s, signed cookie", "starlette", "--scenarios", "read", "write"]
    command = [sys.executable, "-m", "benchmarks", *words, "--json", str(kept)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)

    found = {(row["contender"], row["scenario"]) for row in json.loads(kept.read_text())["times"]}
    assert {(OURS, "read"), (OURS, "write"), (STARLETTE, "read"), (STARLETTE, "write")} <= found
    assert "signed cookie, read" in done.stdout
