"""A result as text: aligned tables for the terminal, Markdown for the README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .applications import SCENARIOS
from .targets import Verdict, verdicts

Result = Mapping[str, Any]
Row = Sequence[str]

PER_REQUEST = ("Redis commands", "round trips", "thread hops", "file calls", "Set-Cookie bytes")


def terminal(result: Result) -> str:
    """Everything that was measured."""
    parts = [
        machine(result),
        *(f"{title}\n{aligned(rows)}" for title, rows in _sections(result)),
        *(f"not measured: {name}: {reason}" for name, reason in result.get("missing", {}).items()),
    ]
    return "\n\n".join(parts)


def markdown(result: Result) -> str:
    """The tables of the README."""
    tables = [
        _times(result, "300 B", 1, "asyncio"),
        _times(result, "300 B", 64, "asyncio"),
        _load(result),
        _targets(result),
    ]
    return "\n\n".join([machine(result), *(_markdown_table(rows) for rows in tables if len(rows) > 1)])


def short(result: Result) -> str:
    """The one table of the README: microseconds added for a session of 300 bytes, and requests/s under uvicorn."""
    scenarios = ("untouched", "read", "write")
    chosen = [row for row in result["times"] if (row["size"], row["at_once"], row["loop"]) == ("300 B", 1, "asyncio")]
    times = {(row["contender"], row["scenario"]): row["median"] for row in chosen}
    load = {row["contender"]: row["median"] for row in result.get("load", ())}
    names = [name for name in dict.fromkeys(row["contender"] for row in chosen) if "no autoload" not in name]
    rows: list[Row] = [["", "untouched", "read", "by strangers", "write", "requests/s"]]
    for name in names:
        figures = {scenario: times.get((name, scenario)) for scenario in (*scenarios, "strangers")}
        if None not in [figures[scenario] for scenario in scenarios]:
            cells = [_rounded(figures[each]) for each in ("untouched", "read", "strangers", "write")]
            rows.append([name, *cells, _number(load.get(name))])
    return _markdown_table(rows)


def growing(result: Result) -> str:
    """The README's other table: microseconds for an operation of a store by the number of sessions in it."""
    rows: list[Row] = [["sessions stored", "files, read", "files, write", "Redis, read", "Redis, write"]]
    found = {(row["store"], row["sessions"]): row for row in result["scale"]}
    for number in dict.fromkeys(row["sessions"] for row in result["scale"]):
        cells = [
            _rounded(found[store, number][operation]["median"]) if (store, number) in found else ""
            for store in ("files", "Redis")
            for operation in ("read", "write")
        ]
        rows.append([f"{number:,}", *cells])
    return _markdown_table(rows)


def machine(result: Result) -> str:
    about = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return (
        f"Measured on {about['date']}: {about['cpu']}, {about['cores']} cores, {about['python']}, "
        f"{about['system']}; medians of {about['rounds']} interleaved rounds. {versions}."
    )


def aligned(rows: Sequence[Row]) -> str:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _markdown_table(rows: Sequence[Row]) -> str:
    header, *body = rows
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))


def _sections(result: Result) -> Iterable[tuple[str, Sequence[Row]]]:
    shapes = dict.fromkeys((row["size"], row["at_once"], row["loop"]) for row in result.get("times", ()))
    for size, at_once, loop in shapes:
        yield f"time added, us: {size}, {at_once} at once, {loop}", _times(result, size, at_once, loop)
    if result.get("counts"):
        yield from _counted(result)
    if result.get("load"):
        yield "under uvicorn", _load(result)
    if result.get("owners"):
        yield "owners: us per operation", _owners(result)
    if result.get("scale"):
        yield "scale: us per operation of the store, by sessions stored", _scale(result)
    targets = _targets(result)
    if len(targets) > 1:
        yield "targets", targets


def _times(result: Result, size: str, at_once: int, loop: str) -> list[Row]:
    shape = (size, at_once, loop)
    chosen = [row for row in result.get("times", ()) if (row["size"], row["at_once"], row["loop"]) == shape]
    cells = {(row["contender"], row["scenario"]): row for row in chosen}
    scenarios = [scenario for scenario in SCENARIOS if any(row["scenario"] == scenario for row in chosen)]
    names = dict.fromkeys(row["contender"] for row in chosen)
    rows: list[Row] = [[f"us added, {at_once} at once, {size}", *scenarios]]
    rows += [[name, *(_spread(cells.get((name, scenario))) for scenario in scenarios)] for name in names]
    return rows


def _spread(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return ""
    digits = 1 if figure["median"] < 100 else 0
    return f"{figure['median']:,.{digits}f} ({figure['low']:,.{digits}f} to {figure['high']:,.{digits}f})"


def _load(result: Result) -> list[Row]:
    found = result.get("load", ())
    return [["requests/s", "uvicorn, uvloop, 32 connections"], *([row["contender"], _spread(row)] for row in found)]


def _counted(result: Result) -> Iterable[tuple[str, Sequence[Row]]]:
    contenders = result["counts"]["contenders"]
    how = {"file calls": f", by {result['counts']['file calls counted by']}"}
    for kind in PER_REQUEST:
        chosen = {name: found[kind] for name, found in contenders.items() if kind in found}
        scenarios = [scenario for scenario in SCENARIOS if any(scenario in found for found in chosen.values())]
        if chosen:
            rows = [[name, *(_number(found.get(each)) for each in scenarios)] for name, found in chosen.items()]
            yield f"{kind} per request{how.get(kind, '')}", [[kind, *scenarios], *rows]
    yield "bytes", _bytes(contenders)


def _bytes(contenders: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    kinds = {"cookie bytes": "cookie", "stored bytes": "a session in Redis", "memory bytes": "10,000 in memory"}
    rows = [[name, *(_number(found.get(kind)) for kind in kinds)] for name, found in contenders.items()]
    return [["bytes", *kinds.values()], *(row for row in rows if any(row[1:]))]


def _owners(result: Result) -> list[Row]:
    cells = {(row["operation"], row["store"]): row for row in result["owners"]}
    stores = [*dict.fromkeys(store for _, store in cells)]
    rows: list[Row] = [["", *stores, "round trips"]]
    for operation in dict.fromkeys(operation for operation, _ in cells):
        found = [cells.get((operation, store)) for store in stores]
        trips = next((row.get("round trips") for row in found if row), None)
        rows.append([operation, *map(_spread, found), _number(trips)])
    return rows


def _scale(result: Result) -> list[Row]:
    header = ["store", "sessions", "read", "write", "pruning, in all", "a step", "the longest"]
    return [header, *map(_scale_row, result["scale"])]


def _scale_row(row: Result) -> Row:
    prune = row.get("prune")
    return [
        row["store"],
        f"{row['sessions']:,}",
        _spread(row["read"]),
        _spread(row["write"]),
        f"{prune['seconds']:.3f} s" if prune else "",
        f"{prune['step_ms']:.2f} ms" if prune else "",
        f"{prune['longest_ms']:.2f} ms" if prune else "",
    ]


def _targets(result: Result) -> list[Row]:
    rows: list[Row] = [["target", "unit", "ours", "reference", "ratio", "required", ""]]
    return rows + [_target(verdict) for verdict in verdicts(result)]


def _target(verdict: Verdict) -> Row:
    return [
        verdict.what,
        verdict.unit,
        _number(verdict.ours),
        _number(verdict.reference),
        "" if verdict.ratio is None else f"{verdict.ratio:.2f} x",
        verdict.required,
        {True: "ok", False: "short", None: "not measured"}[verdict.ok],
    ]


def _rounded(microseconds: float | None) -> str:
    return "" if microseconds is None else f"{microseconds:.1f}" if microseconds < 10 else f"{microseconds:,.0f}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.1f}"
