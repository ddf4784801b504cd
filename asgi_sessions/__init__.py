"""Sessions for Starlette, FastAPI and plain ASGI: no lost write, no undone logout; cookie, file and Redis stores."""

from .config import SessionConfig
from .cookies import CookieOptions
from .exceptions import (
    BadSignature,
    CookieRefused,
    CookieTooLarge,
    Duplicate,
    Expired,
    LeaseExpired,
    LeaseTimeout,
    Malformed,
    ModelMismatch,
    NotSupported,
    ResponseStarted,
    SerializationError,
    SessionConflict,
    SessionError,
    SessionNotConfigured,
    SessionNotLoaded,
    SessionSuperseded,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    Superseded,
    Unknown,
)
from .keyring import generate_key
from .manager import SessionInfo, SessionManager
from .middleware import SessionMiddleware
from .readers import CookieReader, StarletteCookies
from .registry import SessionRegistry, get_session, get_sessions
from .serializers import JSONSerializer, MessagePackSerializer, Serializer
from .session import FlashMessage, Session
from .stores import CookieStore, FilesystemStore, MemoryStore, OwnerIndex, RecordStore, RedisStore, Store, Stored

__version__ = "0.1.0"

__all__ = [
    "BadSignature",
    "CookieOptions",
    "CookieReader",
    "CookieRefused",
    "CookieStore",
    "CookieTooLarge",
    "Duplicate",
    "Expired",
    "FilesystemStore",
    "FlashMessage",
    "JSONSerializer",
    "LeaseExpired",
    "LeaseTimeout",
    "Malformed",
    "MemoryStore",
    "MessagePackSerializer",
    "ModelMismatch",
    "NotSupported",
    "OwnerIndex",
    "RecordStore",
    "RedisStore",
    "ResponseStarted",
    "SerializationError",
    "Serializer",
    "Session",
    "SessionConfig",
    "SessionConflict",
    "SessionError",
    "SessionInfo",
    "SessionManager",
    "SessionMiddleware",
    "SessionNotConfigured",
    "SessionNotLoaded",
    "SessionRegistry",
    "SessionSuperseded",
    "StarletteCookies",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreTimeout",
    "StoreUnavailable",
    "Stored",
    "Superseded",
    "Unknown",
    "generate_key",
    "get_session",
    "get_sessions",
]
