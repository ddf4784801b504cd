"""Cookies as people copy them: from a browser's tools, from a log, from ``curl --include``."""

from __future__ import annotations

import re

Pair = tuple[str, bytes]

_HEADER = re.compile(r"(?P<set>set-)?cookie:\s*", re.IGNORECASE)
_PADDED = re.compile(r"[\w+/-]+={1,2}\.[\w.-]+")  # a value of Starlette's middleware: its "=" follows no name
_ATTRIBUTES = {"domain", "expires", "httponly", "max-age", "partitioned", "path", "priority", "samesite", "secure"}


def pairs_in(text: str, default_name: str) -> list[Pair]:
    """The cookies in a text, in order, as names and raw values.

    Args:
        text: a bare value, ``name=value``, or lines of headers, of which those that are about cookies count.
        default_name: of a bare value.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    headers = [line for line in lines if _HEADER.match(line)]
    pairs = [pair for line in headers or lines for pair in _pairs_in_line(line, default_name)]
    return list(dict.fromkeys(pairs))


def _pairs_in_line(line: str, default_name: str) -> list[Pair]:
    header = _HEADER.match(line)
    parts = [part.strip() for part in line[header.end() if header else 0 :].split(";")]
    if header is None and len(parts) == 1 and ("=" not in line or _PADDED.fullmatch(line)):
        return [(default_name, _raw(line))]
    if header is not None and header["set"]:
        parts = parts[:1]
    elif header is None:
        parts = parts[:1] + [part for part in parts[1:] if part.partition("=")[0].strip().lower() not in _ATTRIBUTES]
    found = [part.partition("=") for part in parts if "=" in part]
    return [(name.strip(), _raw(value.strip())) for name, _, value in found]


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
