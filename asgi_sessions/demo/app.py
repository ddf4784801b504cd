"""The demo's application: every line of it could stand in yours."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from ..config import SessionConfig
from ..exceptions import SessionSuperseded
from ..fastapi import RegistryDep, SessionDep, use_session
from ..middleware import SessionMiddleware
from ..session import Session
from ..stores import FilesystemStore, RedisStore

__all__ = ["create_app"]


class Good(NamedTuple):
    label: str
    price: int  # cents


GOODS = {"apple": Good("Apple", 60), "bread": Good("Bread", 320), "coffee": Good("Coffee", 890)}
PAGES = {"news": "News", "weather": "Weather", "sports": "Sports"}
STORES = {"session": "signed cookie", "cart": "files", "history": "Redis (embedded Valkey)"}
RECENT = 5  # pages that the history keeps
MOST = 99  # of one thing in a cart
DAY = 24 * 3600  # seconds
MONTH = 30 * DAY
HEADERS = {
    "Cache-Control": "no-store",  # the page is personal: after a logout, the back button must not show it
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}
HERE = Path(__file__).parent

CartDep = Annotated[Session, use_session("cart")]
HistoryDep = Annotated[Session, use_session("history")]
templates = Jinja2Templates(HERE / "templates")  # escapes whatever it is given


def create_app(*, secret_key: str, carts: Path, redis_url: str) -> FastAPI:
    """
    Args:
        carts: the directory of the cart sessions.
        redis_url: the server of the history sessions.
    """
    # FastAPI's documentation pages load their scripts from elsewhere; /openapi.json stays.
    app = FastAPI(title="asgi_sessions demo", dependencies=[Depends(refuse_other_sites)], docs_url=None, redoc_url=None)
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
    app.add_api_route("/remember", remember_me, methods=["POST"])
    app.add_api_route("/logout", logout, methods=["POST"])
    app.add_api_route("/cart/{item}", change_cart, methods=["POST"])
    app.add_exception_handler(SessionSuperseded, ended_meanwhile)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    return app


async def refuse_other_sites(request: Request) -> None:
    """No site may post a form of its own in the visitor's name (CSRF).

    SameSite=Lax keeps our cookies out of the forms of other sites, but not out of those of a sibling subdomain, and
    the login form needs no cookie. Browsers say where a form comes from, and scripts can not change what they say; a
    client that sends neither header is no browser, and has no visitor whom it could be misused against
    (OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Fetch Metadata headers").
    """
    if request.method != "POST":
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or site not in (None, "same-origin", "none"):
        raise HTTPException(403, "this form was sent from another site")


async def home(request: Request, session: SessionDep, cart: CartDep, history: HistoryDep) -> HTMLResponse:
    items = {name: count for name, count in cart.get("items", {}).items() if name in GOODS}
    context: dict[str, Any] = {
        "session": session,
        "flashes": session.flashes(),
        "goods": GOODS,
        "items": items,
        "total": sum(GOODS[name].price * count for name, count in items.items()),
        "pages": PAGES,
        "recent": history.get("pages", []),
        "sessions": [describe(one, request.cookies) for one in (session, cart, history)],
    }
    return templates.TemplateResponse(request, "home.html", context, headers=HEADERS)


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
    keep(session, remember)
    session.flash(f"Welcome, {user.strip()}!", "success")
    return back()


async def remember_me(session: SessionDep, remember: Annotated[bool, Form()]) -> RedirectResponse:
    if session.owner is None:
        session.flash("Log in first.", "error")
        return back()
    keep(session, remember)
    session.flash("You will be remembered." if remember else "You will be forgotten when the browser closes.")
    return back()


def keep(session: Session, remember: bool) -> None:
    if remember:
        session.remember(MONTH)
    else:
        session.forget()


async def logout(session: SessionDep, sessions: RegistryDep) -> RedirectResponse:
    for name in STORES:
        (await sessions.get(name)).invalidate()
    session.flash("You are logged out, and all three sessions are gone.", "success")  # in a new session
    return back()


async def change_cart(
    item: str,
    session: SessionDep,
    sessions: RegistryDep,
    change: Annotated[Literal["more", "less", "remove"], Form()],
) -> RedirectResponse:
    if item not in GOODS:
        raise HTTPException(404)
    # Merging keeps what parallel requests do to different keys; to count, they have to take turns.
    async with sessions.exclusive("cart") as cart:
        count = count_cart(cart, item, change)
    session.flash(f"{GOODS[item].label}: {count} in your cart.")
    return back()


def count_cart(cart: Session, item: str, change: str) -> int:
    """How many there are afterwards."""
    items: dict[str, int] = cart.setdefault("items", {})
    if change == "more" and items.setdefault(item, 0) < MOST:
        cart["items"][item] += 1  # a change inside the session is saved like any other
    elif change == "less" and items.get(item, 0) > 1:
        cart["items"][item] -= 1
    elif change != "more":
        items.pop(item, None)
    return items.get(item, 0)


async def ended_meanwhile(request: Request, exc: Exception) -> RedirectResponse:
    """A logout overtook the request: there is no cart left to change."""
    return back()


def back() -> RedirectResponse:
    """Post, redirect, get: reloading the page repeats nothing."""
    return RedirectResponse("/", 303)


def describe(session: Session, cookies: dict[str, str]) -> dict[str, str]:
    """What the page tells about a session, by its label."""
    found = not session.is_new
    sent = cookies.get(session.name)
    size = "none" if sent is None else f"{len(session.name) + 1 + len(sent)} bytes"
    error = session.error
    return {
        "Name": session.name,
        "Store": STORES[session.name],
        "Record": "none yet" if not found else session.handle or "in the cookie",
        "New": "no" if found else "yes",
        "Created": when(session.created_at) if found else "not yet",
        "Expires": when(session.expires_at) if found else "not yet",
        "Remembered": for_how_long(session.max_age),
        "Cookie received": size,
        "Refused": "" if error is None else f"{type(error).__name__}: {error}",
    }


def when(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M UTC")


def for_how_long(max_age: float | None) -> str:
    return "until the browser closes" if max_age is None else f"for {max_age / DAY:.0f} days"


templates.env.globals["for_how_long"] = for_how_long
