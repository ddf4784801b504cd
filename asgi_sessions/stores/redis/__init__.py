"""Sessions in Redis or Valkey, shared by all processes of an application."""

from .store import RedisStore

__all__ = ["RedisStore"]
