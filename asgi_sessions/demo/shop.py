"""A cart in files, and the pages that were looked at in Redis."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Form, HTTPException
from fastapi.responses import RedirectResponse

from ..fastapi import RegistryDep, use_session
from ..session import Session
from .pages import NoticesDep, back

__all__ = ["CartDep", "HistoryDep", "contents", "router"]


class Good(NamedTuple):
    label: str
    price: int  # cents


GOODS = {"apple": Good("Apple", 60), "bread": Good("Bread", 320), "coffee": Good("Coffee", 890)}
PAGES = {"news": "News", "weather": "Weather", "sports": "Sports"}
RECENT = 5  # pages that the history keeps
MOST = 99  # of one thing in a cart

CartDep = Annotated[Session, use_session("cart")]
HistoryDep = Annotated[Session, use_session("history")]
router = APIRouter()


@router.post("/cart/{item}")
async def change_cart(
    item: str,
    notices: NoticesDep,
    sessions: RegistryDep,
    change: Annotated[Literal["more", "less", "remove"], Form()],
) -> RedirectResponse:
    if item not in GOODS:
        raise HTTPException(404)
    # Merging keeps what parallel requests do to different keys; to count, they have to take turns.
    async with sessions.exclusive("cart") as cart:
        count = count_cart(cart, item, change)
    notices.flash(f"{GOODS[item].label}: {count} in your cart.")
    return back("cart")


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


@router.get("/pages/{page}")
async def visit(page: str, notices: NoticesDep, history: HistoryDep) -> RedirectResponse:
    if page not in PAGES:
        raise HTTPException(404)
    history["pages"] = [page, *(other for other in history.get("pages", []) if other != page)][:RECENT]
    notices.flash(f"You looked at {PAGES[page]}.")
    return back("recent")


def contents(cart: Session, history: Session) -> dict[str, Any]:
    """What the page shows of both."""
    items = {name: count for name, count in cart.get("items", {}).items() if name in GOODS}
    return {
        "goods": GOODS,
        "items": items,
        "total": sum(GOODS[name].price * count for name, count in items.items()),
        "pages": PAGES,
        "recent": history.get("pages", []),
    }
