"""``inspect``: what is in a cookie, or why it is refused."""

from __future__ import annotations

import argparse
import sys
import time

from ..crypto.keys import Keyring
from ..lifetime import Lifetime
from .cookies import Pair, pairs_in
from .findings import Finding, examine
from .keys import FALLBACK_KEYS, KEY, NoKey, asked_keys
from .parsers import Commands, add_command, add_max_age
from .reports import as_json, as_text

DEFAULT_NAME = "session"

EXAMPLES = f"""\
examples:
  asgi-sessions inspect 'session=gaR1...'
  asgi-sessions inspect 'Set-Cookie: cart=gaR1...; Path=/; HttpOnly' --json
  asgi-sessions inspect --name cart gaR1...
  curl --silent --include http://localhost:8000/ | asgi-sessions inspect -

The key is taken from {KEY}, former ones from
{FALLBACK_KEYS} (separated by spaces); without the first it is asked
for. Keys are never shown, nor the secret in the cookie of a server-side session.
Of several cookies those sealed under the keys are shown, as text or, with --json, as a
line of JSON each. A value that begins with - has to be written as name=value.

exit codes: 0 accepted, 1 refused, or no such cookie, 2 no usable key.
"""


def add_parser(commands: Commands) -> None:
    parser = add_command(commands, "inspect", run, "show what is in a session's cookie, or why it is refused", EXAMPLES)
    parser.add_argument(
        "cookie", help="a cookie as name=value, its value alone, a Cookie or Set-Cookie header, or - for stdin"
    )
    parser.add_argument("--name", help=f"the cookie's name (default: the one it comes with, else {DEFAULT_NAME!r})")
    add_max_age(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.cookie == "-" else options.cookie
    pairs = pairs_in(text, options.name or DEFAULT_NAME)
    chosen = [pair for pair in pairs if options.name in (None, pair[0])]
    if not chosen:
        print(_missing(options.name, pairs), file=sys.stderr)
        return 1
    try:
        keyring = Keyring(*asked_keys())
    except (NoKey, ValueError) as exc:
        print(exc, file=sys.stderr)
        return 2
    now = time.time()
    findings = [examine(pair, keyring, Lifetime(max_age=options.max_age), now) for pair in chosen]
    shown = [finding for finding in findings if finding.authentic] or findings
    _show(shown, now, json=options.json)
    return 1 if any(finding.reason is not None for finding in shown) else 0


def _missing(name: str | None, pairs: list[Pair]) -> str:
    there = ", ".join(repr(name) for name, _ in pairs) or "none"
    return f"no cookie {'in it' if name is None else f'named {name!r}, but {there}'}"


def _show(findings: list[Finding], now: float, *, json: bool) -> None:
    if json:
        print("\n".join(map(as_json, findings)))
    else:
        print("\n\n".join(as_text(finding, now) for finding in findings))
