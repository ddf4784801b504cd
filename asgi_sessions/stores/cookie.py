"""Sessions that live in the browser: the token is the record."""

from collections.abc import Sequence

from ..exceptions import CookieRefused
from ..lifetime import Lifetime
from ..record import RecordCodec, check_age
from ..sealing import Unsealed
from ..session import Loaded
from .base import Store, only_one

__all__ = ["CookieStore"]


class CookieStore(Store):
    """Keeps the whole session in its cookie, signed, or encrypted where the session says ``encrypt=True``.

    No server, no I/O, at most 4096 bytes. What no server-side code can give such a session: of two responses that run
    at once the last one wins, and a copy of an old cookie is good until it expires, also after a logout; one that is
    used renews itself, unless ``absolute_timeout`` or ``rolling=False`` bounds it. Where that matters use a server-side
    store.
    """

    def load(self, tokens: Sequence[Unsealed], codec: RecordCodec, lifetime: Lifetime, now: float) -> Loaded:
        """The session that the tokens hold; pure, so it waits for the first access.

        Raises:
            CookieRefused: none of them holds a session.
        """
        if len(tokens) == 1:
            return _open(tokens[0], codec, lifetime, now)
        newest: dict[bytes, Loaded] = {}
        refused: list[CookieRefused] = []
        for token in sorted(tokens, key=lambda token: token.sealed_at):
            try:
                loaded = _open(token, codec, lifetime, now)
            except CookieRefused as exc:
                refused.append(exc)
            else:
                newest[loaded.record.id] = loaded
        return only_one([*newest.values(), *refused])


def _open(token: Unsealed, codec: RecordCodec, lifetime: Lifetime, now: float) -> Loaded:
    record = codec.decode(token.token)
    values = codec.values(record)
    check_age(record, lifetime, token.sealed_at, now)
    return Loaded(record, values, token.sealed_at, token.stale)
