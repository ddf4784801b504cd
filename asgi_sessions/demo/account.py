"""Login, remember-me, logout, and how the page looks to this visitor."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Header
from fastapi.responses import RedirectResponse

from ..fastapi import RegistryDep, SessionDep
from ..session import Session
from .overview import MONTH
from .pages import NoticesDep, SettingsDep, back, log_in_first
from .user_agent import device

__all__ = ["logout", "router"]

router = APIRouter()


@router.post("/login")
async def login(
    session: SessionDep,
    notices: NoticesDep,
    user: Annotated[str, Form(max_length=60)],
    remember: Annotated[bool, Form()] = False,
    user_agent: Annotated[str, Header()] = "",
) -> RedirectResponse:
    if not user.strip():
        notices.flash("Please tell a name.", "error")
        return back("you")
    session.owner = user.strip()  # a new owner gives the session a new cookie
    session.label = {"device": device(user_agent)}
    keep(session, remember)
    notices.flash(f"Welcome, {user.strip()}!", "success")
    return back("you")


@router.post("/remember")
async def remember_me(session: SessionDep, notices: NoticesDep, remember: Annotated[bool, Form()]) -> RedirectResponse:
    if session.owner is None:
        return log_in_first(notices)
    keep(session, remember)
    notices.flash("You will be remembered." if remember else "You will be forgotten when the browser closes.")
    return back("you")


def keep(session: Session, remember: bool) -> None:
    if remember:
        session.remember(MONTH)
    else:
        session.forget()


@router.post("/logout")
async def logout(notices: NoticesDep, sessions: RegistryDep) -> RedirectResponse:
    for name in ("session", "cart", "history"):
        (await sessions.get(name)).invalidate()
    notices.invalidate()  # what was not told yet is not for whoever comes next
    notices.flash("You are logged out, and all three sessions are gone.", "success")
    return back("you")


@router.post("/settings")
async def change_settings(
    theme: Annotated[Literal["auto", "light", "dark"], Form()],
    settings: SettingsDep,
    page: Literal["/", "/devices"] = "/",  # a link may fill this in: it leads nowhere else
) -> RedirectResponse:
    settings["theme"] = theme
    return RedirectResponse(page, 303)
