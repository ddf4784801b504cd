"""A browser for tests: calls an ASGI application in this process and keeps the cookies that it sets."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import anyio

from asgi_sessions import Session, SessionMiddleware

KEY = "j8Q2vN0xY7cT4mB1sL6fH9aW3pD5kR0e"
OTHER_KEY = "Zx4Wq9Lr2Tn7Vb1Kd6Mg3Hs8Pf5Yc0Ja"

Message = dict[str, Any]
Handler = Callable[..., Awaitable[Any]]


@dataclass
class Response:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def set_cookies(self) -> list[str]:
        return [value.decode("ascii") for name, value in self.headers if name == b"set-cookie"]

    def header(self, name: str) -> str | None:
        values = [value.decode("latin-1") for key, value in self.headers if key.lower() == name.encode()]
        return ", ".join(values) if values else None

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """
    Attributes:
        jar: cookies by name; what a browser with one path and one host would keep.
        late: messages sent after the first body message.
    """

    app: Any
    scheme: str = "http"
    jar: dict[str, str] = field(default_factory=dict)

    async def get(
        self,
        path: str = "/",
        *,
        cookie: str | bytes | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> Response:
        """
        Args:
            cookie: a raw Cookie header in place of the jar's.
        """
        sent: list[Message] = []

        received = False

        async def receive() -> Message:
            nonlocal received
            if received:
                await anyio.sleep_forever()
            received = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(self.scope(path, cookie, headers), receive, send)
        response = response_of(sent)
        self.keep(response)
        return response

    def scope(
        self, path: str, cookie: str | bytes | None = None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> dict[str, Any]:
        if cookie is None:
            cookie = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        raw = cookie if isinstance(cookie, bytes) else cookie.encode("latin-1")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": self.scheme,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"testserver"), *headers, *([(b"cookie", raw)] if raw else [])],
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 1),
        }

    def keep(self, response: Response) -> None:
        for line in response.set_cookies:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.jar.pop(name, None)
                else:
                    self.jar[name] = morsel.value


def response_of(sent: list[Message]) -> Response:
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1, sent
    body = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    return Response(starts[0]["status"], list(starts[0].get("headers", ())), body)


async def respond(send: Any, result: Any = None, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(result).encode()})


def application(routes: dict[str, Handler] | Handler, **options: Any) -> SessionMiddleware:
    """An application of handlers by path: each gets the default session, or the scope if it takes ``scope``."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        handler = routes[scope["path"]] if isinstance(routes, dict) else routes
        if handler.__code__.co_varnames[:1] == ("scope",):
            result = await handler(scope)
        else:
            result = await handler(scope["session"])
        await respond(send, result)

    options.setdefault("secret_key", KEY)
    return SessionMiddleware(app, **options)


class Clock:
    """Time that a test moves."""

    def __init__(self, now: float = 4_000_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def read(session: Session) -> dict[Any, Any]:
    return dict(session)
