"""fastapi-alcazaba: sessions that its cache keeps, signed."""

from __future__ import annotations

from typing import Any

from fastapi_alcazaba.backends.inmemory import InMemoryBackend
from fastapi_alcazaba.backends.redis import RedisBackend
from fastapi_alcazaba.cache import Cache
from fastapi_alcazaba.sessions import ServerSessionMiddleware, rotate_session
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from ..applications import respond
from ..subject import Setting, Subject


async def login(scope: Any, receive: Any, send: Any) -> None:
    rotate_session(HTTPConnection(scope))
    await respond(scope, receive, send)


def build(kind: str, setting: Setting) -> Subject:
    backend = RedisBackend(Redis.from_url(setting.redis_url)) if kind == "Redis" else InMemoryBackend()
    cache = Cache(backend, signing_key=setting.key)
    return Subject(
        wrap=lambda application: ServerSessionMiddleware(application, cache=cache),
        differing={"login": login},
    )
