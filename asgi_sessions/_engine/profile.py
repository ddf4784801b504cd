"""One configured session, checked and ready for use: keys, codec, cookie suffixes."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cookies import CookieOptions, CookieWriter
from ..crypto.seal import OwnerNames, Sealer
from ..importers import CookieReader
from ..lifetime import Lifetime
from ..serializers import Serializer
from .cache import Cache
from .codec import RecordCodec
from .record import Loaded, Owner, Token

logger = logging.getLogger("asgi_sessions")

Epochs = Callable[[Owner], int | Awaitable[int]]

MOST_KNOWN = 512  # cookies known to one session's cache: 5 MB of the longest, 200 kB of those of a store


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The part that both kinds have in common."""

    name: str
    cookie_name: str
    lifetime: Lifetime
    options: CookieOptions
    serializer: Serializer
    empty: bytes  # an encoded dict without keys
    sealer: Sealer
    codec: RecordCodec
    writer: CookieWriter
    readers: tuple[CookieReader, ...]

    def effective_options(self, overrides: Mapping[str, Any]) -> CookieOptions:
        """The configured attributes with a session's own; those that the configuration forbids by now are ignored."""
        if not overrides:
            return self.options
        try:
            options = self.options.replace(**overrides)
            options.validate(self.cookie_name)
        except (TypeError, ValueError) as exc:
            logger.warning("session %r: its stored cookie attributes %s are ignored: %s", self.name, [*overrides], exc)
            return self.options
        return options

    def writer_for(self, options: CookieOptions) -> CookieWriter:
        return self.writer if options is self.options else CookieWriter(self.cookie_name, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieProfile(Profile):
    """A session that lives in its cookie.

    Attributes:
        known: cookies that were verified or sealed lately, and what they hold. Whoever presents one has the whole of
            it already, so a lookup tells nobody anything about others.
    """

    epochs: Epochs | None
    known: Cache[bytes, Loaded] = field(default_factory=lambda: Cache(MOST_KNOWN))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordProfile(Profile):
    """A session that lives on the server.

    Attributes:
        known: as for cookie sessions.
        max_sessions: of one owner; None: no limit.
    """

    owner_names: OwnerNames
    max_sessions: int | None
    known: Cache[bytes, Token] = field(default_factory=lambda: Cache(MOST_KNOWN))
