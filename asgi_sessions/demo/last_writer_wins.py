"""The usual way to keep sessions on a server, for comparison only: read everything, write everything back."""

from __future__ import annotations

import json
from secrets import token_urlsafe

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LastWriterWins"]

COOKIE = "last-writer-wins"


class LastWriterWins:
    """Sessions in a dict, as many packages keep them in Redis: GET before the request, SET after it.

    Nothing in it is made worse than usual: an empty session is deleted, ids are made by the server, a response
    that logs out expires the cookie. What it lacks is a look at what others have written meanwhile.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        presented = HTTPConnection(scope).cookies.get(COOKIE, "")
        known = presented in self._kept
        key = presented if known else token_urlsafe()
        scope["last_writer_wins"] = session = json.loads(self._kept[key]) if known else {}

        async def save(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = f"{COOKIE}={key}; HttpOnly; SameSite=Lax; Path=/"
                if session:
                    self._kept[key] = json.dumps(session)
                    MutableHeaders(scope=message).append("set-cookie", cookie)
                elif known:
                    self._kept.pop(key, None)
                    MutableHeaders(scope=message).append("set-cookie", f"{cookie}; Max-Age=0")
            await send(message)

        await self._app(scope, receive, save)
