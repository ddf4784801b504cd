"""The demo's application: every line of it could stand in yours, except the store that loses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from ..config import SessionConfig
from ..exceptions import SessionSuperseded
from ..fastapi import RegistryDep, SessionDep, use_session
from ..session import Session
from ..stores import FilesystemStore, MemoryStore, RedisStore
from . import account, lab, shop
from .guard import HEADERS, refuse_other_sites
from .keys import Keys, RotatingSessions
from .last_writer_wins import LastWriterWins
from .overview import MONTH, Kept, back, describe, for_how_long

__all__ = ["create_app"]

HERE = Path(__file__).parent

router = APIRouter()
templates = Jinja2Templates(HERE / "templates")  # escapes whatever it is given
templates.env.globals["for_how_long"] = for_how_long
templates.env.trim_blocks = templates.env.lstrip_blocks = True


def create_app(*, keys: Keys, carts: Path, redis_url: str) -> FastAPI:
    """
    Args:
        carts: the directory of the cart sessions.
        redis_url: the server of the history sessions.
    """
    files, redis, memory = FilesystemStore(carts), RedisStore(redis_url), MemoryStore()
    app = _application()
    app.state.keys = keys
    app.state.kept = {
        "session": Kept(label="signed cookie", sealed="signed"),
        "settings": Kept(label="encrypted cookie", sealed="encrypted"),
        "cart": Kept(label="files", sealed="signed", store=files),
        "history": Kept(label="Redis (embedded Valkey)", sealed="signed", store=redis),
        "lab": Kept(label="memory of this process", sealed="signed", store=memory),
    }
    app.add_middleware(
        RotatingSessions,
        keys=keys,
        max_age=None,
        sessions=[
            SessionConfig("settings", encrypt=True, max_age=12 * MONTH),
            SessionConfig("cart", store=files, max_age=MONTH),
            SessionConfig("history", store=redis, max_age=MONTH),
            SessionConfig("lab", store=memory),
        ],
    )
    for routes in (router, account.router, shop.router):
        app.include_router(routes)
    app.include_router(lab.router, prefix="/lab/asgi-sessions")
    app.mount("/lab/last-writer-wins", LastWriterWins(_losing()))
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.add_exception_handler(SessionSuperseded, ended_meanwhile)
    return app


def _application() -> FastAPI:
    # FastAPI's documentation pages load their scripts from elsewhere; /openapi.json stays.
    return FastAPI(
        title="asgi_sessions demo", dependencies=[Depends(refuse_other_sites)], docs_url=None, redoc_url=None
    )


def _losing() -> FastAPI:
    app = _application()
    app.include_router(lab.router)
    return app


@router.get("/", response_class=HTMLResponse)
async def home(
    request: Request,
    session: SessionDep,
    cart: shop.CartDep,
    history: shop.HistoryDep,
    settings: Annotated[Session, use_session("settings")],
    sessions: RegistryDep,
) -> HTMLResponse:
    keys: Keys = request.app.state.keys
    kept: dict[str, Kept] = request.app.state.kept
    context = {
        **shop.contents(cart, history),
        "theme": settings.get("theme", "auto"),
        "session": session,
        "flashes": session.flashes(),
        "sessions": [await describe(request, await sessions.get(name), where, keys) for name, where in kept.items()],
        "keys": keys.fingerprints(),
        "writers": lab.WRITERS,
        "sources": lab.sources(),
    }
    return templates.TemplateResponse(request, "home.html", context, headers=HEADERS)


@router.post("/keys/rotate")
async def rotate(request: Request, session: SessionDep) -> RedirectResponse:
    request.app.state.keys.rotate()
    session.flash("A new key seals from now on. Your sessions go on: the former key still opens them.", "success")
    return back("keys")


@router.post("/keys/retire")
async def retire(request: Request, session: SessionDep, sessions: RegistryDep) -> RedirectResponse:
    for name in request.app.state.kept:
        await sessions.get(name)  # what is still sealed under a former key is sealed anew with this response
    request.app.state.keys.retire()
    session.flash("The former keys are retired, and your sessions go on. Older cookies are worthless now.", "success")
    return back("keys")


async def ended_meanwhile(request: Request, exc: Exception) -> RedirectResponse:
    """A logout overtook the request: there is no cart left to change."""
    return back()
