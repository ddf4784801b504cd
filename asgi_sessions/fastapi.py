"""Sessions as FastAPI dependencies, for HTTP and websocket routes alike.

::

    @app.get("/")
    async def home(session: SessionDep): ...

    @app.post("/cart")
    async def add(cart: Annotated[Session, use_session("cart")]): ...

The dependency shows as a cookie security scheme in the OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from .registry import SessionRegistry, get_sessions
from .session import Session
from .stores.base import Store

__all__ = ["RegistryDep", "SessionDep", "use_session"]


class _SessionCookie(SecurityBase):
    """Loads one session; what FastAPI calls for each request."""

    def __init__(self, name: str | None, store: Store | None, cookie_name: str | None) -> None:
        cookie = cookie_name or name or "session"
        self.name, self.store = name, store
        self.scheme_name = f"{name or 'session'} session"
        self.model = APIKey.model_validate(
            {"in": APIKeyIn.cookie, "name": cookie, "description": "Set by the server; nothing to fill in."}
        )

    async def __call__(self, connection: HTTPConnection) -> Session:
        return await get_sessions(connection).get(self.name, store=self.store)


def use_session(name: str | None = None, *, store: Store | None = None, cookie_name: str | None = None) -> Any:
    """A dependency on the session of that name, for ``Annotated[Session, use_session("cart")]``.

    Args:
        name: as configured; None for the middleware's own session.
        store: where a session lives that is not configured.
        cookie_name: the name that the OpenAPI document shows; None: the session's.

    Raises (for each request):
        SessionNotConfigured, ValueError, StoreError: as ``SessionRegistry.get``.
    """
    return Depends(_SessionCookie(name, store, cookie_name))


async def _registry(connection: HTTPConnection) -> SessionRegistry:
    return get_sessions(connection)


#: The middleware's own session.
SessionDep = Annotated[Session, use_session()]

#: The registry, for sessions whose names are not known beforehand, and for ``exclusive()``.
RegistryDep = Annotated[SessionRegistry, Depends(_registry)]
