"""Parsers and options that the commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..lifetime import DAY, Lifetime

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object  # argparse has no public name for what add_subparsers() returns


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], summary: str, examples: str
) -> argparse.ArgumentParser:
    """A command's parser.

    Args:
        run: does it, and returns the exit code.
        examples: shown below the options as they are; percent signs are kept.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples.replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_max_age(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-age",
        type=_seconds,
        default=14 * DAY,
        metavar="SECONDS",
        help="what the application's middleware has as max_age (default: %(default)s, 14 days)",
    )


def _seconds(text: str) -> float:
    try:
        return Lifetime(max_age=float(text)).duration
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
