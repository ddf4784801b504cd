"""fastapi-redis-sdk: a new id is due when ``user_id`` changes; nested changes are assigned."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis_fastapi.session_backend import RedisSessionStore, SessionStore
from redis_fastapi.sessions import SessionMiddleware

from ..applications import nested_and_assigned, next_login, respond
from ..subject import Setting, Subject


async def login(scope: Any, receive: Any, send: Any) -> None:
    scope["session"]["user_id"] = next_login()
    await respond(scope, receive, send)


def build(kind: str, setting: Setting) -> Subject:
    store = RedisSessionStore(Redis.from_url(setting.redis_url))

    async def give(request: Any) -> SessionStore:
        return store

    return Subject(
        wrap=lambda application: SessionMiddleware(application, store_factory=give),
        differing={"login": login, "nested": nested_and_assigned},
    )
