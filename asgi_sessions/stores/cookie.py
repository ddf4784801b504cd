"""Sessions that live in the browser: the token is the record."""

from .base import Store

__all__ = ["CookieStore"]


class CookieStore(Store):
    """Keeps the whole session in its cookie, signed, or encrypted where the session says ``encrypt=True``.

    No server, no I/O, at most 4096 bytes. What no server-side code can give such a session: of two responses that run
    at once the last one wins, and a copy of an old cookie is good until it expires, also after a logout; one that is
    used renews itself, unless ``absolute_timeout`` or ``rolling=False`` bounds it. Where that matters use a server-side
    store.
    """
