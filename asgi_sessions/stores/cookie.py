"""Sessions that live in the browser: the token is the record."""

from collections.abc import Sequence

from .._engine.record import Loaded, RecordCodec, check_end, times_of
from ..crypto.seal import Unsealed
from ..exceptions import CookieRefused
from ..lifetime import Lifetime
from .base import Store, only_one

__all__ = ["CookieStore"]


class CookieStore(Store):
    """Keeps the whole session in its cookie, signed, or encrypted where the session says ``encrypt=True``.

    No server, no I/O, at most 4096 bytes. What no server-side code can give such a session: of two responses that run
    at once the last one wins, and a copy of an old cookie is good until it expires, also after a logout; one that is
    used renews itself, unless ``absolute_timeout`` or ``rolling=False`` bounds it. Where that matters use a server-side
    store.
    """

    def read(self, token: Unsealed, codec: RecordCodec, lifetime: Lifetime) -> Loaded:
        """The session that the token holds, whether its time is over or not, and whatever its values are.

        Raises:
            CookieRefused: it holds none.
        """
        record = codec.decode(token.token)
        ends_at, due_at = times_of(record, lifetime, token.sealed_at, token.stale)
        return Loaded(record, token.sealed_at, token.stale, ends_at=ends_at, due_at=due_at)

    def one_of(self, tokens: Sequence[Unsealed], codec: RecordCodec, lifetime: Lifetime, now: float) -> Loaded:
        """Of several tokens the session that is alive; of tokens of the same session, the one sealed last.

        Raises:
            CookieRefused: none of them holds a session, or several hold different ones.
        """
        newest: dict[bytes, Loaded] = {}
        refused: list[CookieRefused] = []
        for token in sorted(tokens, key=lambda token: token.sealed_at):
            try:
                loaded = self.read(token, codec, lifetime)
                codec.values(loaded.record)
                check_end(loaded.ends_at, now)
            except CookieRefused as exc:
                refused.append(exc)
            else:
                newest[loaded.record.id] = loaded
        return only_one([*newest.values(), *refused])
