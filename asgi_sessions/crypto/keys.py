"""Keys: which ones are good, and what is derived from them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from secrets import token_urlsafe
from typing import Any, TypeVar

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .._engine.cache import Cache
from .seal import Encrypter, OwnerNames, RecordSealer, Sealer, Signer

logger = logging.getLogger("asgi_sessions")

T = TypeVar("T")

FORMAT = b"asgi_sessions 1"  # the version of everything that is sealed; part of each derived key
SHORTEST_KEY = 16  # characters
GOOD_KEY = 32  # characters
FEWEST_CHARACTERS = 8  # different ones in a key
DERIVED_KEPT = 512  # derived keys; sessions named at run time must not fill the memory
HINT = "make one with: python -m asgi_sessions keygen"

# What templates and tutorials put where the key belongs, without punctuation; one of these makes a key suspicious, ...
_PLACEHOLDER = re.compile(
    "change(?:me|this|it)|replace(?:me|this)|(?:pass|key)phrase|password|placeholder|secret|insecure|example|sample|"
    "default|development|testing|(?:your|my|our|test|dev|session|signing)key|(?:some)?randomstring|somerandom|"
    "notareal|longandrandom|todo|qwerty|keyboardcat|abcdefgh[i-z]*|0?1234567"
)
# ... and what is left of it without these, and without runs of digits and of one character, must be a key by itself.
_FILLER = re.compile(
    _PLACEHOLDER.pattern + r"|0?1234\d*|(.)\1{2,}|application|characters?|production|generated?|something|starlette|"
    "sessions?|cookies?|fastapi|minimum|strings?|signing|openssl|django|please|secure|strong|tokens?|really|should|"
    "random|insert|unique|unsafe|values?|bytes?|never|super|local|flask|least|bits?|tests?|chars?|long|very|"
    "your|this|that|here|goes|real|some|must|with|safe|keep|prod|keys?|256|128|512|app|dev|hex|jwt|not|min|top|and|"
    "put|set|use|the|for|our|any|32|64|16|my|me|to|in|is|it|so|do|be|at|of|or|an|a"
)
# Random, but printed in the documentation of FastAPI and Flask, and in thousands of applications since.
_PUBLISHED = {
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    '_5#y2l"f4q8z\n\xec]/',
    "a0zr98j/3yx r~xhh!jmn]lwx/,?rt",
}


class Keyring:
    """One key for writing, others for reading only; every use has a key of its own, derived by HKDF-SHA256 (RFC 5869).

    How many messages one ``secret_key`` may seal: more than any site can. Signing: the best attack known on HMAC
    needs the tags of 2**(n/2) messages (RFC 2104 section 6), for SHA-256 2**128. Encryption: nonces have 192 random
    bits, of which up to 1024 messages share the first 96, and with them a derived key (see ``xaes``); after 2**55
    messages the risk that two nonces are the same is 2**-32; with 64 processes forked from one that encrypts, 2**48.

    Args:
        secret_key: a str, bytes, or anything whose ``str()`` is the key, such as Starlette's ``Secret``.
        fallback_keys: former keys.

    Raises:
        ValueError: a key is empty, shorter than 16 characters, has fewer than 8 different ones, is a known placeholder,
            or stands there twice.
        TypeError: a key is something else, such as a function or pydantic's ``SecretStr``, or ``fallback_keys`` is a
            single key.
    """

    def __init__(self, secret_key: object, fallback_keys: Sequence[object] = ()) -> None:
        if isinstance(fallback_keys, str | bytes) or not isinstance(fallback_keys, Sequence):
            raise TypeError("fallback_keys: must be a list of keys, not a single one")
        named = {"secret_key": secret_key} | {f"fallback_keys[{n}]": key for n, key in enumerate(fallback_keys)}
        texts = {name: _check_key(name, key) for name, key in named.items()}
        self._keys = [_key_bytes(key) for key in named.values()]
        for index, name in enumerate(named):
            if self._keys[index] in self._keys[:index]:
                raise ValueError(f"{name}: the same key stands there twice; leave one out; for a new one, {HINT}")
        short = [name for name, text in texts.items() if len(text) < GOOD_KEY]
        if short:
            logger.warning("%s: fewer than %d characters; %s", ", ".join(short), GOOD_KEY, HINT)
        self._derived: Cache[tuple[str, str], Any] = Cache(DERIVED_KEPT)

    def signer(self, cookie_name: str) -> Sealer:
        """Signs: readable by everybody, made by nobody else."""
        return self._derive("signed", cookie_name, Signer)

    def encrypter(self, cookie_name: str) -> Sealer:
        """Encrypts and authenticates."""
        return self._derive("encrypted", cookie_name, Encrypter)

    def record_encrypter(self, cookie_name: str) -> RecordSealer:
        """Encrypts what a store keeps."""
        return self._derive("record", cookie_name, RecordSealer)

    def owner_names(self, cookie_name: str) -> OwnerNames:
        """Names owners for an index that must not tell who they are."""
        return self._derive("owner", cookie_name, OwnerNames)

    def _derive(self, mode: str, cookie_name: str, make: Callable[[list[bytes], bytes], T]) -> T:
        known: T | None = self._derived.get((mode, cookie_name))
        if known is None:
            purpose = b"\x00".join([FORMAT, mode.encode(), cookie_name.encode()])  # none of the parts has a NUL
            keys = [HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(key) for key in self._keys]
            known = self._derived.put((mode, cookie_name), make(keys, purpose))
        return known

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._keys)} keys>"


def generate_key() -> str:
    """A new ``secret_key``: 32 random bytes as 43 url-safe characters."""
    return token_urlsafe(32)


def _check_key(name: str, key: object) -> str:
    text = _key_text(name, key)
    if not text.strip():
        raise ValueError(f"{name} is empty; {HINT}")
    if _is_placeholder(text):
        raise ValueError(f"{name} is a placeholder that everybody knows; {HINT}")
    if len(text) < SHORTEST_KEY:
        raise ValueError(f"{name} has {len(text)} characters; at least {SHORTEST_KEY} are needed, better 32; {HINT}")
    if len(set(text)) < FEWEST_CHARACTERS:
        raise ValueError(f"{name} has fewer than {FEWEST_CHARACTERS} different characters; {HINT}")
    if text in (text + text)[1:-1]:
        raise ValueError(f"{name} repeats itself; {HINT}")
    return text


def _key_text(name: str, key: object) -> str:
    if isinstance(key, bytes):
        return key.decode("latin-1")
    # What has no text of its own would be keyed by its repr, often a guessable address in memory.
    if type(key).__str__ is object.__str__ or isinstance(key, bytearray | memoryview):
        raise TypeError(f"{name}: must be a str or bytes, not {type(key).__name__}; {HINT}")
    text = str(key)
    if "*****" in text and not isinstance(key, str):
        raise TypeError(f"{name}: {type(key).__name__} hides its text; pass the key itself: .get_secret_value()")
    return text


def _key_bytes(key: object) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass")


def _is_placeholder(text: str) -> bool:
    folded = text.casefold()
    plain = re.sub("[^a-z0-9]", "", folded)
    rest = _FILLER.sub("", plain)
    weak = len(rest) < SHORTEST_KEY or len(set(rest)) < FEWEST_CHARACTERS
    return folded in _PUBLISHED or (weak and _PLACEHOLDER.search(plain) is not None)
