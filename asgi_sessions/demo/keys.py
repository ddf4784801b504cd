"""The demo's secret keys: kept in a file, and changed while sessions run."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ..crypto.keys import Keyring, generate_key
from ..exceptions import CookieRefused
from ..middleware import SessionMiddleware

__all__ = ["Keys", "RotatingSessions"]

FORMER_KEPT = 3  # keys that still open; the one before them is retired by the next rotation


class Keys:
    """The key that seals, and the former ones that still open.

    They survive a restart, and so do the sessions; the file is readable by its owner only.

    Attributes:
        all: the one that seals is the first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.all = _read(path)
        if not self.all:
            self._keep(generate_key())

    def rotate(self) -> None:
        """A new key seals from now on; what was sealed before still opens."""
        self._keep(generate_key(), *self.all[:FORMER_KEPT])

    def retire(self) -> None:
        """What is still sealed under a former key is worthless from now on."""
        self._keep(self.all[0])

    def fingerprints(self) -> list[str]:
        """Names for the keys: 24 bits of a hash tell nothing about 256 random ones."""
        return [sha256(b"asgi_sessions demo\x00" + key.encode()).hexdigest()[:6] for key in self.all]

    def opener(self, cookie_name: str, value: str) -> int | None:
        """Which of the keys opens a cookie, by its place in ``all``; None: none of them."""
        for index, key in enumerate(self.all):
            keyring = Keyring(key)
            for sealer in (keyring.signer(cookie_name), keyring.encrypter(cookie_name)):
                with contextlib.suppress(CookieRefused):
                    sealer.unseal(value.encode("utf-8", "replace"), time.time())
                    return index
        return None

    def _keep(self, *keys: str) -> None:
        # Renamed into place: a demo that is killed here must not leave half a key to the next one.
        handle, unfinished = tempfile.mkstemp(dir=self._path.parent)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write("\n".join(keys))
        Path(unfinished).replace(self._path)
        self.all = keys


def _read(path: Path) -> tuple[str, ...]:
    with contextlib.suppress(FileNotFoundError):
        return tuple(path.read_text(encoding="ascii").split())
    return ()


class RotatingSessions:
    """A ``SessionMiddleware`` whose keys change while it serves.

    A site gets the same by giving its processes new settings and restarting them one by one. A request under way
    goes on with the keys that it began with.
    """

    def __init__(self, app: ASGIApp, /, keys: Keys, **options: Any) -> None:
        self._keys = keys
        self._make = partial(SessionMiddleware, app, **options)
        self._renew()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._made_with != self._keys.all:
            self._renew()
        await self._current(scope, receive, send)

    def _renew(self) -> None:
        self._made_with = self._keys.all
        secret_key, *former = self._made_with
        self._current = self._make(secret_key=secret_key, fallback_keys=former)
