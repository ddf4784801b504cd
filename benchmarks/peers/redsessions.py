"""redsession, in an environment of its own: it wants a redis-py below 6."""

from __future__ import annotations

from redis.asyncio import Redis
from redsession import ServerSessionMiddleware  # type: ignore[import-not-found]  # it is in its own environment
from redsession.backend import RedisBackend  # type: ignore[import-not-found]  # it is in its own environment

from ..subject import Setting, Subject


def build(kind: str, setting: Setting) -> Subject:
    backend = RedisBackend(Redis.from_url(setting.redis_url))
    return Subject(wrap=lambda application: ServerSessionMiddleware(application, backend, setting.key))
