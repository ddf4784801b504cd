"""``keygen``: a key for ``secret_key``."""

from __future__ import annotations

import argparse

from ..crypto.keys import generate_key
from .parsers import Commands, add_command

EXAMPLES = """\
examples:
  asgi-sessions keygen
  export ASGI_SESSIONS_SECRET_KEY="$(asgi-sessions keygen)"

Keep it where the application's other secrets are: whoever has it can make sessions.
"""


def add_parser(commands: Commands) -> None:
    add_command(commands, "keygen", run, "print a new secret_key", EXAMPLES)


def run(options: argparse.Namespace) -> int:
    print(generate_key())
    return 0
