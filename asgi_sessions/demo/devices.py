"""Where somebody is logged in: a row for each session of the owner, and what ends them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from ..fastapi import RegistryDep, SessionDep
from ..manager import SessionInfo
from . import account
from .pages import NoticesDep, SettingsDep, log_in_first, show

__all__ = ["router"]

PAGE = "/devices"

router = APIRouter(prefix=PAGE)


@router.get("", response_class=HTMLResponse)
async def devices(
    request: Request, session: SessionDep, notices: NoticesDep, settings: SettingsDep, sessions: RegistryDep
) -> HTMLResponse:
    found: list[SessionInfo] = []
    if session.owner is not None:
        found = [info async for info in sessions.manager().list(session.owner)]
    found.sort(key=lambda info: (not info.current, -info.created_at))
    return show(request, "devices.html", session=session, notices=notices, settings=settings, found=found)


@router.post("/{handle}/end")
async def end(handle: str, session: SessionDep, notices: NoticesDep, sessions: RegistryDep) -> RedirectResponse:
    if session.owner is None:
        return log_in_first(notices)
    if handle == session.handle:
        return await account.logout(notices, sessions)
    manager = sessions.manager()
    mine = {info.handle: info.label async for info in manager.list(session.owner)}
    # A handle is public: only who owns the session may end it.
    if handle in mine and await manager.revoke(handle):
        notices.flash(f"Logged out: {mine[handle]['device']}.", "success")
    else:
        notices.flash("You have no such session; it may have ended meanwhile.", "error")
    return RedirectResponse(PAGE, 303)


@router.post("/end-others")
async def end_others(session: SessionDep, notices: NoticesDep, sessions: RegistryDep) -> RedirectResponse:
    if session.owner is None:
        return log_in_first(notices)
    ended = await sessions.manager().revoke_all(session.owner, except_handle=session.handle)
    notices.flash(f"Logged out everywhere else: {ended} {'session' if ended == 1 else 'sessions'} ended.", "success")
    return RedirectResponse(PAGE, 303)
