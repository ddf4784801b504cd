"""What all pages of the demo share: their templates, how they look to this visitor, what they have to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.templating import Jinja2Templates

from ..exceptions import UnknownSession
from ..fastapi import use_session
from ..session import Session
from .guard import HEADERS
from .overview import for_how_long, when

__all__ = ["NoticesDep", "SettingsDep", "back", "log_in_first", "show"]

NoticesDep = Annotated[Session, use_session("notices")]
SettingsDep = Annotated[Session, use_session("settings")]

templates = Jinja2Templates(Path(__file__).parent / "templates")  # escapes whatever it is given
templates.env.globals |= {"for_how_long": for_how_long, "when": when}
templates.env.trim_blocks = templates.env.lstrip_blocks = True


def show(
    request: Request, template: str, *, session: Session, notices: Session, settings: Session, **context: Any
) -> HTMLResponse:
    """Render a page; the notices are told once, then they are gone."""
    context |= {
        "theme": settings.get("theme", "auto"),
        "session": session,
        "ended": isinstance(session.error, UnknownSession),
        "flashes": notices.flashes(),
    }
    return templates.TemplateResponse(request, template, context, headers=HEADERS)


def back(place: str = "") -> RedirectResponse:
    """Post, redirect, get: reloading the page repeats nothing."""
    return RedirectResponse(f"/#{place}" if place else "/", 303)


def log_in_first(notices: Session) -> RedirectResponse:
    notices.flash("Log in first.", "error")
    return back("you")
