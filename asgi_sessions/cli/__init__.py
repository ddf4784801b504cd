"""The command line: ``python -m asgi_sessions``, also installed as ``asgi-sessions``.

The commands are a module each: ``add_parser`` declares the arguments, ``run`` does the work.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from . import demo, inspect, keygen, prune, sessions

COMMANDS = (keygen, inspect, sessions, prune, demo)

EXAMPLES = """\
examples:
  python -m asgi_sessions keygen
  python -m asgi_sessions inspect 'session=gaR1...'
  python -m asgi_sessions sessions list alice@example.org --store redis://localhost:6379/0
  python -m asgi_sessions prune /var/lib/myapp/sessions
  python -m asgi_sessions demo --port 8000

asgi-sessions COMMAND --help tells more.

exit codes: 0 done, 1 refused or failed, 2 it cannot be done like this, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 the command refused or failed, 2 (from argparse, too) the command line, or a key,
        cannot be right, 130 interrupted by Ctrl+C.
    """
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        code = run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        _forget_stdout()
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asgi-sessions",
        description="Tools around the sessions of asgi_sessions.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _forget_stdout() -> None:
    """Redirect stdout, whose reader is gone, to nowhere: Python flushes it once more at exit, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
