"""A finding for people and for programs."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pprint import pformat
from typing import Any

from .findings import Finding

LABEL = 10  # characters
KINDS = {
    "cookie": "cookie session: all of it is in the cookie",
    "server-side": "server-side session: the cookie holds its handle and a secret, the store the rest",
}
UNITS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}


def as_text(finding: Finding, now: float) -> str:
    """Lines of labels and values; whatever was in the cookie is written so that a terminal only shows it."""
    return "\n".join(f"{label:<{LABEL}}{text}" for label, text in _rows(finding, now))


def as_json(finding: Finding) -> str:
    """One line. Times are POSIX seconds; what JSON has no word for is written as Python would."""
    content = {field.name: getattr(finding, field.name) for field in fields(finding)}
    content["flashes"] = [{"category": category, "message": message} for category, message in finding.flashes]
    return json.dumps({"accepted": finding.reason is None, **_plain(content)})


def _rows(finding: Finding, now: float) -> Iterator[tuple[str, str]]:
    yield "cookie", printable(finding.name)
    if finding.reason is not None:
        yield "refused", finding.reason
    if finding.mode is not None:
        yield (
            "mode",
            finding.mode + (", under a fallback key: the next response seals it anew" if finding.stale else ""),
        )
    if finding.kind is not None:
        yield "kind", KINDS[finding.kind]
    if finding.handle is not None:
        yield "handle", finding.handle
    for label in ("created", "started", "sealed", "expires"):
        at = getattr(finding, f"{label}_at")
        if at is not None:
            yield label, moment(at, now)
    if finding.kind == "cookie":
        yield from _content(finding)


def _content(finding: Finding) -> Iterator[tuple[str, str]]:
    if finding.remember is not None:
        yield "remember", _span(finding.remember) if finding.remember else "until the browser closes"
    if finding.owner is not None:
        yield "owner", repr(finding.owner)
    width = max(40, shutil.get_terminal_size().columns - LABEL)
    indent = "\n" + " " * LABEL
    yield "values", pformat(finding.values, width=width, sort_dicts=False).replace("\n", indent)
    for category, message in finding.flashes:
        yield "flash", f"{printable(category)}: {message!r}"


def printable(text: str) -> str:
    """The text, escaped if a terminal would obey a part of it."""
    return text if text.isprintable() else repr(text)


def moment(at: float, now: float) -> str:
    """An instant and how far it is, both in POSIX seconds."""
    distance = f"{_span(now - at)} ago" if at <= now else f"in {_span(at - now)}"
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC, {distance}"
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return distance


def _span(seconds: float) -> str:
    """A duration in its two largest units."""
    rest, parts = round(seconds), []
    for unit, size in UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(parts[:2]) or "0 seconds"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_plain(item) for item in value]
    return repr(value)
