"""Login, remember-me, logout, and how the page looks to this visitor."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse

from ..fastapi import RegistryDep, SessionDep, use_session
from ..session import Session
from .overview import MONTH, back

__all__ = ["router"]

router = APIRouter()


@router.post("/login")
async def login(
    session: SessionDep, user: Annotated[str, Form(max_length=60)], remember: Annotated[bool, Form()] = False
) -> RedirectResponse:
    if not user.strip():
        session.flash("Please tell a name.", "error")
        return back("you")
    session.owner = user.strip()  # a new owner gives the session a new cookie
    keep(session, remember)
    session.flash(f"Welcome, {user.strip()}!", "success")
    return back("you")


@router.post("/remember")
async def remember_me(session: SessionDep, remember: Annotated[bool, Form()]) -> RedirectResponse:
    if session.owner is None:
        session.flash("Log in first.", "error")
        return back("you")
    keep(session, remember)
    session.flash("You will be remembered." if remember else "You will be forgotten when the browser closes.")
    return back("you")


def keep(session: Session, remember: bool) -> None:
    if remember:
        session.remember(MONTH)
    else:
        session.forget()


@router.post("/logout")
async def logout(session: SessionDep, sessions: RegistryDep) -> RedirectResponse:
    for name in ("session", "cart", "history"):
        (await sessions.get(name)).invalidate()
    session.flash("You are logged out, and all three sessions are gone.", "success")  # in a new session
    return back("you")


@router.post("/settings")
async def settings(
    theme: Annotated[Literal["auto", "light", "dark"], Form()],
    settings: Annotated[Session, use_session("settings")],
) -> RedirectResponse:
    settings["theme"] = theme
    return back()
