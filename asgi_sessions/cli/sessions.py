"""``sessions``: list and revoke the sessions of an owner, in the application's store."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import anyio

from .._engine.record import Owner
from ..crypto.keys import generate_key
from ..exceptions import StoreError
from ..manager import SessionInfo, SessionManager
from ..stores import FilesystemStore, RecordStore, RedisStore
from .keys import FALLBACK_KEYS, KEY, NoKey, asked_keys
from .parsers import Commands, add_command, add_max_age
from .reports import moment, printable

STORE = "ASGI_SESSIONS_STORE"
URLS = "redis://HOST:PORT/DB, rediss://..., unix://PATH or file:DIRECTORY"

EXAMPLES = f"""\
examples:
  asgi-sessions sessions list alice@example.org --store redis://localhost:6379/0
  asgi-sessions sessions list 7 --int --store file:/var/lib/myapp/sessions --json
  asgi-sessions sessions revoke 2f6c...e1 --store redis://localhost:6379/0
  asgi-sessions sessions revoke --owner alice@example.org --store redis://localhost:6379/0

The store is taken from {STORE} if --store is not given, the key from
{KEY}, former ones from {FALLBACK_KEYS};
without the first it is asked for. An owner is a text; --int makes it the number.

exit codes: 0 done, 1 no such session or the store failed, 2 no usable key or store.
"""

Work = Callable[[SessionManager], Awaitable[int]]


class NoStore(Exception):
    """No store was given, or it cannot be one; the message says what to write."""


def add_parser(commands: Commands) -> None:
    parser = add_command(commands, "sessions", _list, "list and revoke the sessions of an owner", EXAMPLES)
    actions = parser.add_subparsers(required=True, metavar="action")
    listing = add_command(actions, "list", _list, "list the sessions of an owner", EXAMPLES)
    listing.add_argument("owner", help="as the application set it: session.owner = ...")
    listing.add_argument("--json", action="store_true", help="a line of JSON for each session")
    revoking = add_command(actions, "revoke", _revoke, "end one session, or all of an owner", EXAMPLES)
    which = revoking.add_mutually_exclusive_group(required=True)
    which.add_argument("handle", nargs="?", help="of the session to end, as the list shows it")
    which.add_argument("--owner", help="end all sessions of this owner")
    for each in (listing, revoking):
        _add_options(each)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--int", action="store_true", help="the owner is a number: 7 is not the text '7'")
    parser.add_argument("--store", default=os.environ.get(STORE), help=URLS)
    parser.add_argument("--prefix", help="what a RedisStore has as prefix (default: its own)")
    parser.add_argument("--name", default="session", help="the session's cookie name (default: %(default)s)")
    parser.add_argument("--encrypt", action="store_true", help="the application has encrypt=True")
    add_max_age(parser)


def _list(options: argparse.Namespace) -> int:
    async def work(manager: SessionManager) -> int:
        found = [info async for info in manager.list(_owner(options))]
        for info in sorted(found, key=lambda info: info.created_at):
            print(json.dumps(asdict(info)) if options.json else _line(info, time.time()))
        if not found:
            print("no sessions", file=sys.stderr)
        return 0 if found else 1

    return _manage(options, work)


def _revoke(options: argparse.Namespace) -> int:
    async def work(manager: SessionManager) -> int:
        if options.owner is not None:
            ended = await manager.revoke_all(_owner(options))
        else:
            ended = int(await manager.revoke(options.handle))
        print(f"{ended} sessions ended" if ended != 1 else "1 session ended")
        return 0 if ended else 1

    return _manage(options, work)


def _manage(options: argparse.Namespace, work: Work) -> int:
    async def manage() -> int:
        store = _store(options)
        try:
            return await work(_manager(options, store))
        finally:
            await store.close()

    try:
        return anyio.run(manage)
    except StoreError as exc:
        print(exc, file=sys.stderr)
        return 1
    except (NoKey, NoStore, ValueError) as exc:
        print(exc, file=sys.stderr)
        return 2


def _manager(options: argparse.Namespace, store: RecordStore) -> SessionManager:
    revokes_one = getattr(options, "handle", None) is not None
    key, former = (generate_key(), []) if revokes_one and not os.environ.get(KEY) else asked_keys()
    return SessionManager(
        store, key, options.name, fallback_keys=former, encrypt=options.encrypt, max_age=options.max_age
    )


def _store(options: argparse.Namespace) -> RecordStore:
    kind, _, where = (options.store or "").partition(":")
    if kind in ("redis", "rediss", "unix"):
        return RedisStore(options.store, **({} if options.prefix is None else {"prefix": options.prefix}))
    if kind == "file" and Path(where).is_dir():
        return FilesystemStore(where)
    if kind == "file":
        raise NoStore(f"{where or options.store} is not a directory")
    raise NoStore(f"which store? write --store {URLS}, or set {STORE}")


def _owner(options: argparse.Namespace) -> Owner:
    if not options.int:
        return str(options.owner)
    try:
        return int(options.owner)
    except ValueError:
        raise ValueError(f"{options.owner!r} is no number; leave --int out for a text") from None


def _line(info: SessionInfo, now: float) -> str:
    parts = [info.handle, f"created {moment(info.created_at, now)}"]
    if info.renewed_at is not None:
        parts.append(f"renewed {moment(info.renewed_at, now)}")
    if info.expires_at is not None:
        parts.append(f"expires {moment(info.expires_at, now)}")
    parts += [f"{printable(word)}: {printable(text)}" for word, text in info.label.items()]
    return "\n  ".join(parts)
