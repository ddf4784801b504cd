"""Sessions as FastAPI dependencies, for HTTP and websocket routes alike.

::

    @app.get("/")
    async def home(session: SessionDep): ...

    @app.post("/cart")
    async def add(cart: Annotated[Session, use_session("cart")]): ...

    Cart = Annotated[CartModel, use_model("cart", CartModel)]  # a dataclass, a msgspec Struct or a pydantic model

    @app.get("/cart")
    async def show(cart: Cart): ...

The dependency shows as a cookie security scheme in the OpenAPI document.
"""

import logging
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from .registry import SessionRegistry, get_sessions
from .session import Session
from .stores.base import Store

__all__ = ["RegistryDep", "SessionDep", "use_model", "use_session"]

logger = logging.getLogger("asgi_sessions")

M = TypeVar("M")

_DEFAULT = "session"  # the name of the middleware's own session
_HINT = "Set by the server; nothing to fill in."
_WRONG_NAME = "session %r: its cookie is %r, but %r in the OpenAPI document; write use_session(%scookie_name=%r)"
_NOT_IN_COMPONENT = re.compile(r"[^A-Za-z0-9._-]")  # OpenAPI 3.1, Components Object


class _SessionCookie(SecurityBase):
    """Loads one session, and shows as its cookie in the OpenAPI document."""

    def __init__(self, name: str | None, store: Store | None, cookie_name: str | None) -> None:
        self.name, self.store = name, store
        self.cookie_name = cookie_name or name or _DEFAULT
        own = name in (None, "", _DEFAULT)
        self.scheme_name = _DEFAULT if own else _NOT_IN_COMPONENT.sub("_", f"{name}-session")
        self.model = APIKey.model_validate({"in": APIKeyIn.cookie, "name": self.cookie_name, "description": _HINT})
        self._checked = False

    async def __call__(self, connection: HTTPConnection) -> Any:
        session = await get_sessions(connection).get(self.name, store=self.store)
        configured = session.cookie_name
        # The document is made outside of any request, where nobody knows how the middleware was configured.
        if not self._checked and configured != self.cookie_name:
            name = f"{self.name!r}, " if self.name else ""
            logger.warning(_WRONG_NAME, session.name, configured, self.cookie_name, name, configured)
        self._checked = True
        return session


class _ModelCookie(_SessionCookie):
    """Loads one session, and gives it out as an object."""

    def __init__(self, cls: type, default: Callable[[], Any] | None, *session: Any) -> None:
        super().__init__(*session)
        self.cls, self.default = cls, default

    async def __call__(self, connection: HTTPConnection) -> Any:
        await super().__call__(connection)
        return await get_sessions(connection).model(self.name, self.cls, default=self.default)


def use_session(name: str | None = None, *, store: Store | None = None, cookie_name: str | None = None) -> Any:
    """A dependency on the session of that name, for ``Annotated[Session, use_session("cart")]``.

    Args:
        name: as configured; None for the middleware's own session.
        store: where a session lives that is not configured.
        cookie_name: what the OpenAPI document calls its cookie, if that is not named like the session: the
            document is made without knowing the middleware. One that is wrong is logged at the first request.

    Raises (for each request):
        SessionNotConfigured, ValueError, StoreError: as ``SessionRegistry.get``.
    """
    return Depends(_SessionCookie(name, store, cookie_name))


def use_model(
    name: str | None,
    model: type[M],
    *,
    default: Callable[[], M] | None = None,
    store: Store | None = None,
    cookie_name: str | None = None,
) -> M:
    """A dependency on a session as an object: ``Cart = Annotated[CartModel, use_model("cart", CartModel)]``.

    Args:
        name, store, cookie_name: as in ``use_session``.
        model, default: as in ``SessionRegistry.model``.

    Raises (for each request):
        ModelMismatch, TypeError: as ``SessionRegistry.model``.
        SessionNotConfigured, ValueError, StoreError: as ``SessionRegistry.get``.
    """
    return cast(M, Depends(_ModelCookie(model, default, name, store, cookie_name)))


async def _registry(connection: HTTPConnection) -> SessionRegistry:
    return get_sessions(connection)


SessionDep = Annotated[Session, use_session()]
"""The middleware's own session; of another cookie name: ``Annotated[Session, use_session(cookie_name="sid")]``."""

RegistryDep = Annotated[SessionRegistry, Depends(_registry)]
"""The registry, for sessions whose names are not known beforehand, and for ``exclusive()``."""
