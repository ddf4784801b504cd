"""The demo's application: every line of it could stand in yours."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.templating import Jinja2Templates

from ..config import SessionConfig
from ..fastapi import RegistryDep, SessionDep, use_session
from ..middleware import SessionMiddleware
from ..session import Session
from ..stores import FilesystemStore, RedisStore

__all__ = ["create_app"]

GOODS = {"apple": "Apple", "bread": "Bread", "coffee": "Coffee"}
PAGES = {"news": "News", "weather": "Weather", "sports": "Sports"}
RECENT = 5  # pages that the history keeps
MONTH = 30 * 24 * 3600  # seconds

CartDep = Annotated[Session, use_session("cart")]
HistoryDep = Annotated[Session, use_session("history")]


def _when(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M UTC")


templates = Jinja2Templates(Path(__file__).parent / "templates")
templates.env.filters["when"] = _when


def create_app(*, secret_key: str, carts: Path, redis_url: str) -> FastAPI:
    """
    Args:
        carts: the directory of the cart sessions.
        redis_url: the server of the history sessions.
    """
    app = FastAPI(title="asgi_sessions demo", dependencies=[Depends(refuse_other_sites)])
    app.add_middleware(
        SessionMiddleware,
        secret_key=secret_key,
        max_age=None,
        sessions=[
            SessionConfig("cart", store=FilesystemStore(carts), max_age=MONTH),
            SessionConfig("history", store=RedisStore(redis_url), max_age=MONTH),
        ],
    )
    app.add_api_route("/", home, response_class=HTMLResponse)
    app.add_api_route("/pages/{page}", visit)
    app.add_api_route("/login", login, methods=["POST"])
    app.add_api_route("/logout", logout, methods=["POST"])
    app.add_api_route("/cart/{item}", change_cart, methods=["POST"])
    return app


async def refuse_other_sites(request: Request) -> None:
    """SameSite=Lax keeps the cookies out of other sites' forms; a form of a sibling subdomain is told by its origin."""
    origin = request.headers.get("origin")
    if request.method == "POST" and origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "this form was sent from another site")


async def home(request: Request, session: SessionDep, cart: CartDep, history: HistoryDep) -> HTMLResponse:
    context: dict[str, Any] = {
        "session": session,
        "cart": cart,
        "history": history,
        "flashes": session.flashes(),
        "goods": GOODS,
        "pages": PAGES,
        "stores": {"session": "signed cookie", "cart": "files", "history": "Redis (an embedded Valkey)"},
    }
    return templates.TemplateResponse(request, "home.html", context)


async def visit(page: str, session: SessionDep, history: HistoryDep) -> RedirectResponse:
    if page not in PAGES:
        raise HTTPException(404)
    history["pages"] = [page, *(other for other in history.get("pages", []) if other != page)][:RECENT]
    session.flash(f"You looked at {PAGES[page]}.")
    return back()


async def login(
    session: SessionDep, user: Annotated[str, Form(max_length=60)], remember: Annotated[bool, Form()] = False
) -> RedirectResponse:
    if not user.strip():
        session.flash("Please tell a name.", "error")
        return back()
    session.owner = user.strip()  # a new owner gives the session a new cookie
    if remember:
        session.remember(MONTH)
    else:
        session.forget()
    session.flash(f"Welcome, {user.strip()}!", "success")
    return back()


async def logout(session: SessionDep, sessions: RegistryDep) -> RedirectResponse:
    for name in ("session", "cart", "history"):
        (await sessions.get(name)).invalidate()
    session.flash("You are logged out, and all three sessions are gone.", "success")
    return back()


async def change_cart(
    item: str, session: SessionDep, cart: CartDep, change: Annotated[int, Form(ge=-1, le=1)]
) -> RedirectResponse:
    if item not in GOODS:
        raise HTTPException(404)
    items = cart.setdefault("items", {})
    items[item] = min(99, items.get(item, 0) + change)  # a nested change is saved like any other
    if items[item] <= 0:
        del items[item]
    session.flash(f"{GOODS[item]}: {items.get(item, 0)} in your cart.")
    return back()


def back() -> RedirectResponse:
    """Post, redirect, get: reloading the page repeats nothing."""
    return RedirectResponse("/", 303)
