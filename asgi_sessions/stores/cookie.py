"""Sessions that live in the browser: the token is the record."""

from collections.abc import Sequence

from ..exceptions import CookieRefused
from ..lifetime import Lifetime
from ..record import RecordCodec, check_age
from ..sealing import Unsealed
from ..session import Loaded
from .base import Found, Store, only_one

__all__ = ["CookieStore"]


class CookieStore(Store):
    """Keeps the whole session in its cookie, signed, or encrypted where the session says ``encrypt=True``.

    No server, no I/O, at most 4096 bytes. What no server-side code can give such a session: of two responses that run
    at once the last one wins, and a copy of an old cookie is good until it expires, also after a logout. Where
    that matters use a server-side store.
    """

    def load(self, tokens: Sequence[Unsealed], codec: RecordCodec, lifetime: Lifetime, now: float) -> Found:
        """The session that the tokens hold; pure, so it waits for the first access."""
        if len(tokens) == 1:
            return _find(tokens[0], codec, lifetime, now)
        newest: dict[bytes, Found] = {}
        refused: list[Found] = []
        for token in sorted(tokens, key=lambda token: token.sealed_at):
            found = _find(token, codec, lifetime, now)
            if found.loaded is None:
                refused.append(found)
            else:
                newest[found.loaded.record.id] = found
        return only_one([*newest.values(), *refused])


def _find(token: Unsealed, codec: RecordCodec, lifetime: Lifetime, now: float) -> Found:
    try:
        record = codec.decode(token.token)
        values = codec.values(record)
        check_age(record, lifetime, token.sealed_at, now)
    except CookieRefused as exc:
        return Found(error=exc)
    return Found(Loaded(record, values, token.sealed_at, token.stale))
