"""``demo``: the page that shows what sessions do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .parsers import Commands, add_command

EXAMPLES = """\
examples:
  asgi-sessions demo
  asgi-sessions demo --port 0 --data /tmp/demo
"""


def add_parser(commands: Commands) -> None:
    parser = add_command(commands, "demo", run, "serve the demo page, with embedded stores", EXAMPLES)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on, 0 picks one (default: %(default)s)")
    parser.add_argument(
        "--data",
        type=Path,
        help="keep keys and sessions in this directory (default: one in the user's cache directory)",
    )


def run(options: argparse.Namespace) -> int:
    try:
        from ..demo import serve
    except ModuleNotFoundError as exc:
        missing = (exc.name or str(exc)).partition(".")[0]
        print(f"The demo needs {missing}: pip install 'asgi-session-registry[demo]'", file=sys.stderr)
        return 1
    return serve(options.host, options.port, options.data)
