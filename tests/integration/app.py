"""What the server tests serve: one visitor, three sessions, three stores; and an application without a framework."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_sessions import CookieStore, FilesystemStore, RedisStore, SessionConfig, SessionMiddleware, get_sessions
from tests.browser import KEY

NAMES = ("session", "cart", "recent")


async def show(request: Request) -> Response:
    sessions = get_sessions(request)
    client = request.client
    return JSONResponse({name: await sessions.get(name) for name in NAMES} | {"port": client and client.port})


async def write(request: Request) -> Response:
    for name, value in request.query_params.items():
        session = await get_sessions(request).get(name)
        session[value] = session.get(value, 0) + 1
    return Response()


async def login(request: Request) -> Response:
    for name in NAMES:
        session = await get_sessions(request).get(name)
        session.owner = "alice"
        session.remember(30 * 86400)
        session.flash("Welcome!")
    return Response()


async def flashes(request: Request) -> Response:
    sessions = get_sessions(request)
    return JSONResponse({name: (await sessions.get(name)).flashes() for name in NAMES})


async def logout(request: Request) -> Response:
    for name in NAMES:
        (await get_sessions(request).get(name)).invalidate()
    return Response()


async def stream(request: Request) -> Response:
    """Sends one chunk, and the rest when ``/go`` was asked for."""
    cart = await get_sessions(request).get("cart")
    request.app.state.go = anyio.Event()
    cart["streamed"] = 1

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await request.app.state.go.wait()
        cart["streamed"] += 1
        await cart.save()
        yield b"second"

    return StreamingResponse(chunks())


async def go(request: Request) -> Response:
    request.app.state.go.set()
    return Response()


async def socket(websocket: WebSocket) -> None:
    """Takes words into the cart until the client says goodbye, and leaves it to the middleware to save them."""
    cart = await get_sessions(websocket).get("cart")
    websocket.session["connected"] = True
    cart["words"] = []
    await websocket.accept()
    async for word in websocket.iter_text():
        cart["words"].append(word)
        if word == "goodbye":
            return
        await websocket.send_json(cart["words"])


async def refused(websocket: WebSocket) -> None:
    websocket.session["refused"] = True
    await websocket.send_denial_response(Response("no", status_code=403))


def create() -> Starlette:
    directory, url = Path(os.environ["TEST_DIRECTORY"]), os.environ["TEST_REDIS"]
    sessions = [
        SessionConfig("cart", store=FilesystemStore(directory / "carts"), max_age=3600),
        SessionConfig("recent", store=RedisStore(url), cookie_name="__Secure-recent", encrypt=True, max_age=None),
    ]
    routes: list[Any] = [
        Route("/", show),
        *(Route(f"/{view.__name__}", view, methods=["POST"]) for view in (write, login, flashes, logout, go)),
        Route("/stream", stream),
        WebSocketRoute("/socket", socket),
        WebSocketRoute("/refused", refused),
    ]
    middleware = Middleware(SessionMiddleware, secret_key=KEY, store=CookieStore(), sessions=sessions)
    return Starlette(routes=routes, middleware=[middleware])


async def _plain(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http", "no lifespan here"
    cart = await scope["sessions"].get("cart")
    cart["n"] = cart.get("n", 0) + 1
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"%d" % cart["n"]})


def create_plain() -> SessionMiddleware:
    store = FilesystemStore(Path(os.environ["TEST_DIRECTORY"]) / "carts")
    return SessionMiddleware(_plain, KEY, sessions=[SessionConfig("cart", store=store)])
