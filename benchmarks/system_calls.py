"""System calls that concern a directory, counted by strace where it can run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

MARK = "/benchmarks-mark/"  # asking whether such a file exists shows in the trace where a measurement begins and ends


def strace(log: Path) -> list[str]:
    """The command that traces the one that follows it; nothing if there is no strace, or it may not trace."""
    program = shutil.which("strace")
    if program is None:
        return []
    command = [program, "-f", "-y", "-qq", "-e", "trace=%file,%desc", "-o", str(log)]
    works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if works else []


def mark(name: str) -> None:
    os.path.exists(f"{MARK}{name}")  # noqa: PTH110 - the plain call


def counted(log: Path, directory: Path) -> dict[str, int]:
    """Mark -> calls between it and the next mark that name a path under the directory, or a file open there."""
    found: dict[str, int] = {}
    name = ""
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if marked := re.search(rf'"{MARK}([^"]*)"', line):
            name = marked[1]
        elif str(directory) in line and " resumed>" not in line and name:
            found[name] = found.get(name, 0) + 1
    return found
