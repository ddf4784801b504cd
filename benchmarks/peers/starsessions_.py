"""starsessions: nothing is loaded until the application asks for it."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from starlette.requests import HTTPConnection
from starsessions import SessionMiddleware, load_session, regenerate_session_id
from starsessions.stores import CookieStore, InMemoryStore, SessionStore
from starsessions.stores.redis import RedisStore

from ..applications import respond
from ..subject import Setting, Subject

LIFETIME = 14 * 24 * 3600  # seconds


async def login(scope: Any, receive: Any, send: Any) -> None:
    regenerate_session_id(HTTPConnection(scope))
    await respond(scope, receive, send)


def build(kind: str, setting: Setting) -> Subject:
    store = _store(kind, setting)
    return Subject(
        wrap=lambda application: SessionMiddleware(application, store=store, lifetime=LIFETIME, rolling=True),
        differing={"login": login},
        prepare=lambda scope: load_session(HTTPConnection(scope)),
    )


def _store(kind: str, setting: Setting) -> SessionStore:
    if kind == "memory":
        return InMemoryStore()
    if kind == "Redis":
        return RedisStore(connection=Redis.from_url(setting.redis_url))
    return CookieStore(secret_key=setting.key)
