"""Sessions for Starlette, FastAPI and plain ASGI: no lost write, no undone logout; cookie, file and Redis stores."""

from .config import SessionConfig
from .cookies import CookieOptions
from .crypto.keys import generate_key
from .exceptions import (
    BadCookieSignature,
    CookieRefused,
    CookieTooLarge,
    DuplicateCookie,
    ExpiredSession,
    LeaseExpired,
    LeaseTimeout,
    MalformedSession,
    ModelMismatch,
    NewerFormat,
    NotSupported,
    RegeneratedSession,
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
    UnknownSession,
)
from .importers import CookieReader, StarletteCookies
from .manager import SessionInfo, SessionManager
from .middleware import SessionMiddleware
from .registry import SessionRegistry, get_session, get_sessions
from .serializers import JSONSerializer, MessagePackSerializer, Serializer
from .session import FlashMessage, Session
from .stores import CookieStore, FilesystemStore, MemoryStore, OwnerIndex, RecordStore, RedisStore, Store, Stored

__version__ = "0.1.0"

__all__ = [
    "BadCookieSignature", "CookieOptions", "CookieReader", "CookieRefused", "CookieStore", "CookieTooLarge",
    "DuplicateCookie", "ExpiredSession", "FilesystemStore", "FlashMessage", "JSONSerializer", "LeaseExpired",
    "LeaseTimeout", "MalformedSession", "MemoryStore", "MessagePackSerializer", "ModelMismatch", "NewerFormat",
    "NotSupported", "OwnerIndex", "RecordStore", "RedisStore", "RegeneratedSession", "ResponseStarted",
    "SerializationError", "Serializer", "Session", "SessionConfig", "SessionConflict", "SessionError", "SessionInfo",
    "SessionManager", "SessionMiddleware", "SessionNotConfigured", "SessionNotLoaded", "SessionRegistry",
    "SessionSuperseded", "StarletteCookies", "Store", "StoreError", "StoreFull", "StoreTimeout", "StoreUnavailable",
    "Stored", "UnknownSession", "generate_key", "get_session", "get_sessions",
]  # fmt: skip
