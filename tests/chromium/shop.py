"""A small site for the browser tests: ``python -m tests.chromium.shop DIRECTORY [CERTIFICATE KEY]``.

Its sessions differ in one attribute of their cookies each, and are kept in files.
"""

import socket
import sys
from pathlib import Path

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_sessions import FilesystemStore, SessionConfig, SessionMiddleware, get_session

from ..browser import KEY

PLAIN = [
    SessionConfig("strict", same_site="strict"),
    SessionConfig("hosted", cookie_name="__Host-hosted"),
]
SECURE = [
    SessionConfig("strict", same_site="strict"),
    SessionConfig("everywhere", same_site="none"),
    SessionConfig("framed", same_site="none", partitioned=True),
]


def create_app(directory: Path, secure: bool) -> Starlette:
    further = SECURE if secure else PLAIN

    async def home(request: Request) -> Response:
        return HTMLResponse("<!doctype html><html lang=en><title>shop</title><p>shop")

    async def nothing(request: Request) -> Response:
        return Response(status_code=204)

    async def fill(request: Request) -> Response:
        for name in names:
            (await get_session(request, name))["filled"] = True
        return JSONResponse({})

    async def seen(request: Request) -> Response:
        sessions = [await get_session(request, name) for name in names]
        return JSONResponse([session.name for session in sessions if not session.is_new])

    async def add(request: Request) -> Response:
        await anyio.sleep(0.05)  # so that parallel requests overlap
        request.session[request.path_params["key"]] = True
        return JSONResponse({})

    async def keys(request: Request) -> Response:
        return JSONResponse(sorted(request.session))

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        async for key in websocket.iter_text():
            if not websocket.session.is_new:
                await websocket.session.reload()
                websocket.session[key] = True
                await websocket.session.save()
            await websocket.send_json(sorted(websocket.session))

    names = ["session", *(config.name for config in further)]
    return Starlette(
        routes=[
            Route("/", home),
            Route("/favicon.ico", nothing),
            Route("/fill", fill, methods=["POST"]),
            Route("/seen", seen, methods=["GET", "POST"]),
            Route("/add/{key}", add, methods=["POST"]),
            Route("/keys", keys),
            WebSocketRoute("/talk", talk),
        ],
        middleware=[
            Middleware(
                SessionMiddleware,
                secret_key=KEY,
                session_cookie="__Host-session" if secure else "session",
                store=FilesystemStore(directory),
                sessions=further,
            )
        ],
    )


def main(directory: str, certificate: str | None = None, key: str | None = None) -> None:
    app = create_app(Path(directory), secure=certificate is not None)
    config = uvicorn.Config(app, log_level="warning", ssl_certfile=certificate, ssl_keyfile=key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"shop.test:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
