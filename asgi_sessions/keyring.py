"""Keys, and the two ways to seal a token with them."""

from __future__ import annotations

import hashlib
import logging
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from hmac import compare_digest
from os import urandom
from secrets import token_urlsafe
from typing import NamedTuple, Protocol, TypeVar

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import Signer

from .exceptions import BadSignature, Expired, Malformed
from .xaes import NONCE_SIZE, OVERHEAD, XAES256GCM, InvalidTag

__all__ = ["Keyring", "RecordSealer", "Sealer", "Unsealed", "generate_key"]

logger = logging.getLogger("asgi_sessions")

T = TypeVar("T")

FORMAT = b"asgi_sessions 1"  # the version of everything that is sealed; part of each derived key
MAX_SEALED = 4096  # bytes; longer values are refused before any work
CLOCK_SKEW = 60  # seconds that a token may come from the future, from a server whose clock is ahead
SHORTEST_KEY = 16  # characters
GOOD_KEY = 32  # characters
FEWEST_CHARACTERS = 8  # different ones in a key
DERIVED_KEPT = 512  # derived keys; sessions named at run time must not fill the memory
SIGNATURE_SIZE = 32  # bytes of HMAC-SHA256
TIME_SIZE = 5  # bytes of a timestamp: until the year 36812
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


class Unsealed(NamedTuple):
    """An authentic token.

    Attributes:
        token: what was sealed.
        sealed_at: when, in POSIX seconds.
        stale: it was sealed under a fallback key and is due for re-sealing.
    """

    token: bytes
    sealed_at: int
    stale: bool

    def __repr__(self) -> str:
        return f"<Unsealed: {len(self.token)} bytes, sealed_at={self.sealed_at}, stale={self.stale}>"


class Sealer(Protocol):
    """Puts tokens into cookies of one name and takes them out again."""

    def seal(self, token: bytes, now: float) -> str:
        """The cookie's value: letters, digits and ``-_.``."""

    def unseal(self, value: bytes, now: float) -> Unsealed:
        """
        Args:
            value: the raw bytes of the cookie's value; each token has exactly one spelling.

        Raises:
            Malformed: it has not the form of a sealed token.
            BadSignature: it was not made by ``seal`` under one of the keys, for this cookie name.
            Expired: it comes from more than 60 s in the future.
        """

    def sealed_size(self, size: int) -> int:
        """Exactly the bytes that ``seal`` makes of a token of ``size`` bytes; over 4096 it never opens."""


class Keyring:
    """One key for writing, others for reading only; every use has a key of its own, derived by HKDF-SHA256 (RFC 5869).

    How many messages one ``secret_key`` may seal: more than any site can. Signing: the best attack known on HMAC
    needs the tags of 2**(n/2) messages (RFC 2104 section 6), for SHA-256 2**128. Encryption: nonces are random and
    have 192 bits; after 2**80 messages the risk that two are the same is 2**-32 (https://c2sp.org/XAES-256-GCM).
    A key is derived per message, so that AES-GCM's limit of 2**32 messages with random nonces (NIST SP 800-38D
    section 8.3) does not apply.

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
        named = {"secret_key": secret_key}
        named |= {f"fallback_keys[{index}]": key for index, key in enumerate(fallback_keys)}
        texts = {name: _check_key(name, key) for name, key in named.items()}
        self._keys = [_key_bytes(key) for key in named.values()]
        for index, name in enumerate(named):
            if self._keys[index] in self._keys[:index]:
                raise ValueError(f"{name}: the same key stands there twice; leave one out; for a new one, {HINT}")
        short = [name for name, text in texts.items() if len(text) < GOOD_KEY]
        if short:
            logger.warning("%s: fewer than %d characters; %s", ", ".join(short), GOOD_KEY, HINT)
        self._derived: dict[tuple[str, str], object] = {}

    def signer(self, cookie_name: str) -> Sealer:
        """Signs: readable by everybody, made by nobody else."""
        return self._derive("signed", cookie_name, _Signer)

    def encrypter(self, cookie_name: str) -> Sealer:
        """Encrypts and authenticates."""
        return self._derive("encrypted", cookie_name, _Encrypter)

    def record_encrypter(self, cookie_name: str) -> RecordSealer:
        """Encrypts what a store keeps."""
        return self._derive("record", cookie_name, RecordSealer)

    def _derive(self, mode: str, cookie_name: str, make: Callable[[list[bytes], bytes], T]) -> T:
        known = self._derived.get((mode, cookie_name))
        if known is None:
            purpose = b"\x00".join([FORMAT, mode.encode(), cookie_name.encode()])  # none of the parts has a NUL
            keys = [HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(key) for key in self._keys]
            known = make(keys, purpose)
            if len(self._derived) >= DERIVED_KEPT:
                self._derived.clear()  # one atomic step: threads may share a keyring
            self._derived[mode, cookie_name] = known
        return known  # type: ignore[return-value]  # the mode says which one it is

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._keys)} keys>"


class _Signer:
    """``token.time.signature``, each part base64url: itsdangerous' format, with HMAC-SHA256."""

    __slots__ = ("_signers",)

    def __init__(self, keys: list[bytes], purpose: bytes) -> None:
        self._signers = [Signer(key, key_derivation="none", digest_method=hashlib.sha256) for key in keys]

    def seal(self, token: bytes, now: float) -> str:
        return self._signers[0].sign(_encode(token) + b"." + _encode(_pack_time(now))).decode("ascii")

    def unseal(self, value: bytes, now: float) -> Unsealed:
        if len(value) > MAX_SEALED or not _SIGNED.fullmatch(value):
            raise Malformed("not a signed token")
        signed, _, signature = value.rpartition(b".")
        index = self._verify(signed, signature)
        token, _, time = signed.partition(b".")
        return _checked(_decode(token), _decode(time), now, stale=index > 0)

    def sealed_size(self, size: int) -> int:
        return _encoded_size(size) + len(".") + _encoded_size(TIME_SIZE) + len(".") + _encoded_size(SIGNATURE_SIZE)

    def _verify(self, signed: bytes, signature: bytes) -> int:
        for index, signer in enumerate(self._signers):
            # The text is compared, not what it decodes to: a signature has one spelling.
            if compare_digest(signer.get_signature(signed), signature):
                return index
        raise BadSignature("the signature does not match")


class _Encrypter:
    """base64url of ``nonce + XAES-256-GCM(time + token)``."""

    __slots__ = ("_ciphers", "_purpose")

    def __init__(self, keys: list[bytes], purpose: bytes) -> None:
        self._ciphers = [XAES256GCM(key) for key in keys]
        self._purpose = purpose

    def seal(self, token: bytes, now: float) -> str:
        nonce = urandom(NONCE_SIZE)
        sealed = nonce + self._ciphers[0].encrypt(nonce, _pack_time(now) + token, self._purpose)
        return _encode(sealed).decode("ascii")

    def unseal(self, value: bytes, now: float) -> Unsealed:
        if len(value) > MAX_SEALED or not _BASE64.fullmatch(value):
            raise Malformed("not an encrypted token")
        opened, index = _decrypt(self._ciphers, _decode(value), self._purpose)
        return _checked(opened[TIME_SIZE:], opened[:TIME_SIZE], now, stale=index > 0)

    def sealed_size(self, size: int) -> int:
        return _encoded_size(NONCE_SIZE + TIME_SIZE + size + OVERHEAD)


class RecordSealer:
    """Encrypts records, each bound to its handle: a record moved under another handle does not open."""

    __slots__ = ("_ciphers", "_purpose")

    def __init__(self, keys: list[bytes], purpose: bytes) -> None:
        self._ciphers = [XAES256GCM(key) for key in keys]
        self._purpose = purpose

    def seal(self, data: bytes, handle: bytes) -> bytes:
        nonce = urandom(NONCE_SIZE)
        return nonce + self._ciphers[0].encrypt(nonce, data, self._purpose + b"\x00" + handle)

    def unseal(self, data: bytes, handle: bytes) -> bytes:
        """
        Raises:
            Malformed: too short.
            BadSignature: not made by ``seal`` under one of the keys, for this handle.
        """
        return _decrypt(self._ciphers, data, self._purpose + b"\x00" + handle)[0]


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


_BASE64 = re.compile(rb"[A-Za-z0-9_-]+")
_SIGNED = re.compile(rb"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{7}\.[A-Za-z0-9_-]{43}")


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _encoded_size(size: int) -> int:
    return (4 * size + 2) // 3


def _decode(text: bytes) -> bytes:
    try:
        data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except Base64Error as exc:
        raise Malformed("not base64url") from exc
    tail = text[len(text) - len(text) % 4 :]
    if tail and _encode(data[len(data) - len(tail) + 1 :]) != tail:
        raise Malformed("not the canonical base64url")  # bits of the last character that say nothing
    return data


def _pack_time(now: float) -> bytes:
    return int(now).to_bytes(TIME_SIZE, "big")


def _checked(token: bytes, time: bytes, now: float, *, stale: bool) -> Unsealed:
    if len(time) != TIME_SIZE:
        raise Malformed("no timestamp")
    sealed_at = int.from_bytes(time, "big")
    if sealed_at > now + CLOCK_SKEW:
        raise Expired("the token comes from the future")
    return Unsealed(token, sealed_at, stale)


def _decrypt(ciphers: Sequence[XAES256GCM], sealed: bytes, associated: bytes) -> tuple[bytes, int]:
    if len(sealed) < NONCE_SIZE + OVERHEAD:
        raise Malformed("too short for anything encrypted")
    for index, cipher in enumerate(ciphers):
        try:
            return cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], associated), index
        except InvalidTag:
            continue
    raise BadSignature("it was not encrypted under one of the keys")
