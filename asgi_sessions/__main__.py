"""The command line: ``python -m asgi_sessions``, also installed as ``asgi-sessions``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .keyring import generate_key
from .stores.files import RecordFiles

__all__ = ["main"]

BAR = 40  # characters

EXAMPLES = """\
examples:
  python -m asgi_sessions keygen
  python -m asgi_sessions demo --port 8000
  python -m asgi_sessions prune /var/lib/myapp/sessions
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 the command failed, 2 (from argparse) the command line can not be right.
    """
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asgi-sessions",
        description="Tools around the sessions of asgi_sessions.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    keygen = commands.add_parser("keygen", help="print a new secret_key")
    keygen.set_defaults(run=_keygen)

    demo = commands.add_parser("demo", help="serve the demo page, with embedded stores")
    demo.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    demo.add_argument("--port", type=int, default=8000, help="port to listen on, 0 picks one (default: %(default)s)")
    demo.add_argument(
        "--data",
        type=Path,
        help="keep keys and sessions in this directory (default: one in the user's cache directory)",
    )
    demo.set_defaults(run=_demo)

    prune = commands.add_parser("prune", help="remove the expired sessions of a FilesystemStore")
    prune.add_argument("path", type=Path, help="the store's directory")
    prune.set_defaults(run=_prune)
    return parser


def _keygen(options: argparse.Namespace) -> int:
    print(generate_key())
    return 0


def _demo(options: argparse.Namespace) -> int:
    try:
        from .demo import serve
    except ModuleNotFoundError as exc:
        missing = (exc.name or str(exc)).partition(".")[0]
        print(f"The demo needs {missing}: pip install 'asgi-session-registry[demo]'", file=sys.stderr)
        return 1
    return serve(options.host, options.port, options.data)


def _prune(options: argparse.Namespace) -> int:
    files = RecordFiles(options.path, fsync=False, max_bytes=0, clock=time.time)
    if not options.path.is_dir():
        print(f"{options.path} is not a directory", file=sys.stderr)
        return 1
    folders = files.folders()
    removed = 0
    try:
        for done, folder in enumerate(folders, start=1):
            removed += files.prune(folder)
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


if __name__ == "__main__":
    raise SystemExit(main())
