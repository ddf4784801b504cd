"""The demo's application: every line of it could stand in yours, except the store that loses."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from ..config import SessionConfig
from ..exceptions import SessionSuperseded
from ..fastapi import RegistryDep, SessionDep
from ..stores import CookieStore, FilesystemStore, MemoryStore, RedisStore
from . import account, devices, lab, shop
from .guard import refuse_other_sites
from .keys import Keys, RotatingSessions
from .last_writer_wins import LastWriterWins
from .overview import MONTH, Kept, describe
from .pages import NoticesDep, SettingsDep, back, show

__all__ = ["create_app"]

HERE = Path(__file__).parent

router = APIRouter()


def create_app(*, keys: Keys, carts: Path, redis_url: str) -> FastAPI:
    """
    Args:
        carts: the directory of the cart sessions.
        redis_url: the server of the logins and of the history sessions.
    """
    files, redis, memory = FilesystemStore(carts), RedisStore(redis_url), MemoryStore()
    app = _application()
    app.state.keys = keys
    app.state.kept = {
        "session": Kept(label="Redis (embedded Valkey)", sealed="signed", store=redis),
        "notices": Kept(label="signed cookie", sealed="signed"),
        "settings": Kept(label="encrypted cookie", sealed="encrypted"),
        "cart": Kept(label="files", sealed="signed", store=files),
        "history": Kept(label="Redis (embedded Valkey)", sealed="signed", store=redis),
        "lab": Kept(label="memory of this process", sealed="signed", store=memory),
    }
    app.add_middleware(
        RotatingSessions,
        keys=keys,
        store=redis,
        max_age=None,
        sessions=[
            SessionConfig("notices", store=CookieStore()),
            SessionConfig("settings", store=CookieStore(), encrypt=True, max_age=12 * MONTH),
            SessionConfig("cart", store=files, max_age=MONTH),
            SessionConfig("history", store=redis, max_age=MONTH),
            SessionConfig("lab", store=memory),
        ],
    )
    for routes in (router, account.router, devices.router, shop.router):
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
    notices: NoticesDep,
    settings: SettingsDep,
    sessions: RegistryDep,
) -> HTMLResponse:
    keys: Keys = request.app.state.keys
    kept: dict[str, Kept] = request.app.state.kept
    context = {
        **shop.contents(cart, history),
        "sessions": [await describe(request, await sessions.get(name), where, keys) for name, where in kept.items()],
        "keys": keys.fingerprints(),
        "writers": lab.WRITERS,
        "sources": lab.sources(),
    }
    return show(request, "home.html", session=session, notices=notices, settings=settings, **context)


@router.post("/keys/rotate")
async def rotate(request: Request, notices: NoticesDep) -> RedirectResponse:
    request.app.state.keys.rotate()
    notices.flash("A new key seals from now on. Your sessions go on: the former key still opens them.", "success")
    return back("keys")


@router.post("/keys/retire")
async def retire(request: Request, notices: NoticesDep, sessions: RegistryDep) -> RedirectResponse:
    for name in request.app.state.kept:
        await sessions.get(name)  # what is still sealed under a former key is sealed anew with this response
    request.app.state.keys.retire()
    notices.flash("The former keys are retired, and your sessions go on. Older cookies are worthless now.", "success")
    return back("keys")


async def ended_meanwhile(request: Request, exc: Exception) -> RedirectResponse:
    """A logout overtook the request: there is no cart left to change."""
    return back()
