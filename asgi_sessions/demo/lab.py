"""Races that a session can lose: the same handlers, once on asgi_sessions and once on the last writer wins."""

from __future__ import annotations

import inspect
from collections.abc import MutableMapping
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Path, Request

from ..registry import get_session

__all__ = ["SLOW", "WRITERS", "router", "sources"]

WRITERS = 20  # requests that are sent at once
PAUSE = 0.15  # seconds between reading and writing, so that they overlap
SLOW = 1.5  # seconds that the request takes which a logout overtakes

router = APIRouter()


async def opened(request: Request) -> MutableMapping[str, Any]:
    """The session of whichever middleware stands around this router, loaded."""
    session: MutableMapping[str, Any] | None = request.scope.get("last_writer_wins")
    return await get_session(request, "lab") if session is None else session


Opened = Annotated[MutableMapping[str, Any], Depends(opened)]


@router.post("/login")
async def login(session: Opened) -> None:
    session.clear()
    session["user"] = "Ada"


@router.post("/write/{number}")
async def write(number: Annotated[int, Path(ge=1, le=WRITERS)], session: Opened) -> None:
    await anyio.sleep(PAUSE)
    session[f"write {number}"] = True


@router.post("/slow")
async def slow(session: Opened) -> None:
    await anyio.sleep(SLOW)
    session["order"] = "sent"


@router.post("/logout")
async def logout(session: Opened) -> None:
    session.clear()


@router.get("/")
async def look(session: Opened) -> dict[str, Any]:
    return dict(session)


def sources() -> dict[str, str]:
    """The handlers as they are written above, for the page to show."""
    return {handler.__name__: inspect.getsource(handler).strip() for handler in (login, write, slow, logout)}
