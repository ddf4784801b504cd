"""Where sessions live between requests."""

from .base import RecordStore, Store, Stored
from .cookie import CookieStore
from .filesystem.store import FilesystemStore
from .memory import MemoryStore
from .owners import OwnerIndex
from .redis.store import RedisStore

__all__ = "CookieStore", "FilesystemStore", "MemoryStore", "OwnerIndex", "RecordStore", "RedisStore", "Store", "Stored"
