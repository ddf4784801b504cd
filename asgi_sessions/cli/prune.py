"""``prune``: clean up after a FilesystemStore from outside, by cron for example."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ..stores.filesystem.files import RecordFiles
from .parsers import Commands, add_command

BAR = 40  # characters

EXAMPLES = """\
examples:
  asgi-sessions prune /var/lib/myapp/sessions
  17 * * * *  asgi-sessions prune /var/lib/myapp/sessions > /dev/null     (a crontab line: every hour)

Sessions that have not expired stay, also while the application runs.
"""


def add_parser(commands: Commands) -> None:
    parser = add_command(commands, "prune", run, "remove the expired sessions of a FilesystemStore", EXAMPLES)
    parser.add_argument("path", type=Path, help="the store's directory")


def run(options: argparse.Namespace) -> int:
    if not options.path.is_dir():
        print(f"{options.path} is not a directory", file=sys.stderr)
        return 1
    files = RecordFiles(options.path, fsync=False, max_bytes=0, clock=time.time)
    folders = files.folders()
    removed = 0
    try:
        for done, folder in enumerate(folders, start=1):
            removed += sum(files.prune(folder))
            _show_progress(done, len(folders), removed)
    except OSError as exc:
        print(f"\n{exc.filename or options.path}: {exc.strerror}", file=sys.stderr)
        return 1
    print(f"{removed} expired sessions removed from {options.path}")
    return 0


def _show_progress(done: int, total: int, removed: int) -> None:
    if sys.stderr.isatty():
        bar = "#" * (BAR * done // total)
        end = "\n" if done == total else ""
        print(f"\r[{bar:<{BAR}}] {done}/{total} folders, {removed} removed", end=end, file=sys.stderr, flush=True)
