"""The application of the tests with several processes; ``SESSION_STORE`` is a directory or the URL of a server."""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_sessions import FilesystemStore, RedisStore, SessionMiddleware, get_sessions
from tests.browser import KEY


async def write(request: Request) -> JSONResponse:
    request.session[request.query_params["key"]] = True
    return JSONResponse(None)


async def increment(request: Request) -> JSONResponse:
    async with get_sessions(request).exclusive(timeout=30) as session:
        session["n"] = session.get("n", 0) + 1
    return JSONResponse(None)


async def fill_sets(request: Request) -> JSONResponse:
    request.session["tags"] = {"red", "green", "blue", "black", "white"}
    request.session["pairs"] = frozenset({("a", 1), ("b", 2), ("c", 3)})
    return JSONResponse(None)


async def read(request: Request) -> JSONResponse:
    """Reads everything, nested values too, so that the commit has to compare."""
    return JSONResponse({str(key): repr(value) for key, value in request.session.items()})


async def count(request: Request) -> JSONResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return JSONResponse(request.session["count"])


place = os.environ["SESSION_STORE"]
store = RedisStore(place, timeout=1.0) if "://" in place else FilesystemStore(place)

app = Starlette(
    routes=[
        Route("/write", write),
        Route("/increment", increment),
        Route("/fill-sets", fill_sets),
        Route("/count", count),
        Route("/", read),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key=KEY, store=store)],
)
