"""Litestar: its middleware alone, with the scope that its router would give it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from litestar import Litestar, asgi
from litestar.middleware.session.base import BaseSessionBackend, SessionMiddleware
from litestar.middleware.session.client_side import ClientSideSessionBackend, CookieBackendConfig
from litestar.middleware.session.server_side import ServerSideSessionBackend, ServerSideSessionConfig
from litestar.stores.base import Store
from litestar.stores.file import FileStore
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore
from redis.asyncio import Redis

from ..applications import Application, respond
from ..subject import Setting, Subject


def build(kind: str, setting: Setting) -> Subject:
    handler = asgi("/", copy_scope=False)(respond)
    stores: dict[str, Store] = {} if kind == "encrypted cookie" else {"sessions": _store(kind, setting)}
    framework = Litestar([handler], stores=stores)
    backend = _backend(kind, setting)
    route: Any = framework.routes[0]

    def wrap(application: Application) -> Application:
        middleware: Any = SessionMiddleware(application, backend)

        def with_its_scope(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
            scope["app"] = scope["litestar_app"] = framework
            scope["route_handler"] = route.route_handler
            scope["state"] = {}
            answering: Awaitable[None] = middleware(scope, receive, send)
            return answering

        return with_its_scope

    return Subject(wrap=wrap)


def _backend(kind: str, setting: Setting) -> BaseSessionBackend[Any]:
    if kind == "encrypted cookie":
        return ClientSideSessionBackend(CookieBackendConfig(secret=bytes.fromhex(setting.key)))
    return ServerSideSessionBackend(ServerSideSessionConfig())


def _store(kind: str, setting: Setting) -> Store:
    if kind == "memory":
        return MemoryStore()
    if kind == "files":
        return FileStore(setting.directory)
    return RedisStore(Redis.from_url(setting.redis_url))
