"""A result as an SVG picture that looks right on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from .contenders import OURS
from .report import machine
from .server import BARE

Result = Mapping[str, Any]
Row = Mapping[str, Any]

WIDTH, MARGIN, GAP = 880, 24, 32
NAMES, VALUES = 180, 62  # room left and right of the bars
LONGEST_SPREAD = 1.25  # of the longest bar; what reaches further is cut
BAR, PITCH, TITLE = 14, 22, 46

STYLE = """
  svg { color-scheme: light dark; font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
  .page { fill: #ffffff; } .text { fill: #1f2328; } .quiet { fill: #59636e; }
  .title { font-size: 14px; font-weight: 600; } .name { text-anchor: end; } .own { font-weight: 600; }
  .bar { fill: #c3cad2; } .ours { fill: #2f6fdb; } .spread { stroke: #59636e; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } .text { fill: #e6edf3; } .quiet { fill: #9198a1; }
    .bar { fill: #3d444d; } .ours { fill: #4c8dff; } .spread { stroke: #9198a1; }
  }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars of one unit, ours among them."""

    title: str
    unit: str
    rows: Sequence[Row]
    digits: int = 1

    @property
    def height(self) -> int:
        return TITLE + PITCH * len(self.rows)


def svg(result: Result) -> str:
    """Two columns of panels for times, and the requests per second below them."""
    times, load = _panels_of_times(result), _panel_of_load(result)
    column = (WIDTH - 2 * MARGIN - GAP) / 2
    parts: list[str] = []
    top = float(MARGIN)
    for pair in (times[start : start + 2] for start in range(0, len(times), 2)):
        for panel, left in zip(pair, (MARGIN, MARGIN + column + GAP), strict=False):
            parts += _drawn(panel, left, top, column)
        top += max(panel.height for panel in pair) + GAP / 2
    if load:
        parts += _drawn(load, MARGIN, top, WIDTH - 2 * MARGIN)
        top += load.height + GAP / 2
    about = result["machine"]
    foot = (
        f"{about['cpu']}, {about['cores']} cores, {about['python']}, {about['date']}; bars: medians, lines: quartiles"
    )
    parts.append(_text(MARGIN, top + 12, "quiet", foot))
    height = round(top + 12 + MARGIN)
    label = escape(machine(result), {'"': "&quot;"})
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
    ]
    return "\n".join([*head, *parts, "</svg>\n"])


def _panels_of_times(result: Result) -> list[Panel]:
    panels = []
    for title, kinds, at_once in (
        ("Cookie", ("signed cookie", "encrypted cookie"), 1),
        ("Redis, one request at a time", ("Redis",), 1),
        ("Redis, 64 requests at once", ("Redis",), 64),
        ("Files", ("files",), 1),
    ):
        for scenario in ("read", "write"):
            rows = list(_chosen(result, kinds, scenario, at_once))
            if rows:
                panels.append(Panel(title=f"{title}: {scenario}", unit="µs added, less is better", rows=rows))
    return panels


def _chosen(result: Result, kinds: Sequence[str], scenario: str, at_once: int) -> Iterable[Row]:
    wanted = (scenario, at_once, "300 B", "asyncio")
    for row in result.get("times", ()):
        shape = (row["scenario"], row["at_once"], row["size"], row["loop"])
        if shape == wanted and row["contender"].partition(", ")[2] in kinds:
            yield row


def _panel_of_load(result: Result) -> Panel | None:
    rows = sorted(result.get("load", ()), key=lambda row: -row["median"])
    title = "Under uvicorn, 32 connections, reading a session"
    return Panel(title=title, unit="requests/s, more is better", rows=rows, digits=0) if rows else None


def _drawn(panel: Panel, left: float, top: float, width: float) -> list[str]:
    room = width - NAMES - VALUES
    widest = max(row["median"] for row in panel.rows)
    longest = max(row["high"] for row in panel.rows)
    scale = room / max(min(longest, LONGEST_SPREAD * widest), 0.01)
    parts = [_text(left, top + 14, "text title", panel.title), _text(left, top + 31, "quiet", panel.unit)]
    for number, row in enumerate(panel.rows):
        parts += _bar(panel, row, left + NAMES, top + TITLE + number * PITCH, room, scale)
    return parts


def _bar(panel: Panel, row: Row, left: float, top: float, room: float, scale: float) -> list[str]:
    ours = row["contender"].startswith(OURS)
    middle = top + BAR / 2
    low, median, high = (min(max(row[key] * scale, 0), room) for key in ("low", "median", "high"))
    name = row["contender"].removesuffix(" cookie") if row["contender"] != BARE else "no session"
    kinds = ("text name own", "bar ours") if ours else ("text name", "bar")
    bar = f'x="{left:.1f}" y="{top:.1f}" width="{median:.1f}" height="{BAR}"'
    spread = f'x1="{left + low:.1f}" x2="{left + high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"'
    return [
        _text(left - 8, middle + 4, kinds[0], name),
        f'<rect class="{kinds[1]}" {bar} rx="2"/>',
        f'<line class="spread" {spread}/>',
        _text(left + max(median, high) + 6, middle + 4, "quiet", f"{row['median']:,.{panel.digits}f}"),
    ]


def _text(x: float, y: float, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
