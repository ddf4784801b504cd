"""The ways to seal: a token into a cookie, signed or encrypted, and a record into a store, encrypted."""

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag

from ..exceptions import BadCookieSignature, ExpiredSession, MalformedSession, NewerFormat
from .xaes import NONCE_SIZE, OVERHEAD, XAES256GCM

MAX_SEALED = 4096  # bytes; longer values are refused before any work
CLOCK_SKEW = 60  # seconds that a token may come from the future, from a server whose clock is ahead
SIGNATURE_SIZE = 32  # bytes of HMAC-SHA256
FORMAT = 1  # the first byte of what is sealed into a cookie; authenticated, and selects nothing
FORMAT_SIZE = 1  # bytes
TIME_SIZE = 5  # bytes of a timestamp: until the year 36812
HEAD_SIZE = FORMAT_SIZE + TIME_SIZE

_FORMAT = bytes([FORMAT])


class Unsealed(msgspec.Struct, frozen=True, gc=False):
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

    def seal(self, token: bytes, now: float) -> bytes:
        """The cookie's value: ASCII letters, digits and ``-_.``."""

    def unseal(self, value: bytes, now: float) -> Unsealed:
        """
        Args:
            value: the raw bytes of the cookie's value; each token has exactly one spelling.

        Raises:
            MalformedSession: it has not the form of a sealed token.
            BadCookieSignature: it was not made by ``seal`` under one of the keys, for this cookie name.
            NewerFormat: it is authentic, and of another format than this version's.
            ExpiredSession: it comes from more than 60 s in the future.
        """

    def sealed_size(self, size: int) -> int:
        """Exactly the bytes that ``seal`` makes of a token of ``size`` bytes; over 4096 it never opens."""


class Signer:
    """base64url of ``format + time + token``, a dot, base64url of its HMAC-SHA256: as itsdangerous' ``Signer`` does."""

    __slots__ = ("_macs", "_sign")

    def __init__(self, keys: Sequence[bytes], purpose: bytes) -> None:
        self._macs = [_hmac(key) for key in keys]
        self._sign = self._macs[0]

    def seal(self, token: bytes, now: float) -> bytes:
        payload = _FORMAT + int(now).to_bytes(TIME_SIZE) + token
        signed = _encode_base64(payload).strip(b'"=').replace(b"+", b"-").replace(b"/", b"_")  # _encode, a call less
        return signed + b"." + self._sign(signed)

    def unseal(self, value: bytes, now: float) -> Unsealed:
        if len(value) > MAX_SEALED:
            raise MalformedSession("longer than any token")
        signed, _, signature = value.rpartition(b".")
        for sign in self._macs:
            # The text is compared, not what it decodes to: a signature has one spelling.
            if compare_digest(sign(signed), signature):
                return _opened(_decode(signed), now, sign is not self._sign)
        if len(signature) != _encoded_size(SIGNATURE_SIZE):
            raise MalformedSession("not a signed token")
        for part in (signed, signature):
            _decode(part)  # malformed rather than forged
        raise BadCookieSignature("the signature does not match")

    def sealed_size(self, size: int) -> int:
        return _encoded_size(HEAD_SIZE + size) + len(".") + _encoded_size(SIGNATURE_SIZE)


def _hmac(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA256 (RFC 2104) under a key of 32 bytes, as base64url.

    The key has been read already: for 300 bytes that takes half the time of ``hmac.digest()``.
    """
    padded = key.ljust(sha256().block_size, b"\x00")
    begin_inner = sha256(bytes(byte ^ 0x36 for byte in padded)).copy
    begin_outer = sha256(bytes(byte ^ 0x5C for byte in padded)).copy

    def signature(message: bytes) -> bytes:
        inner, outer = begin_inner(), begin_outer()
        inner.update(message)
        outer.update(inner.digest())
        return b2a_base64(outer.digest(), newline=False).translate(_TO_URL)[:-1]  # of so few bytes faster than _encode

    return signature


class _Ciphers:
    """The ciphers of all keys: the first one encrypts, each may decrypt."""

    __slots__ = ("_ciphers", "_purpose")

    def __init__(self, keys: Sequence[bytes], purpose: bytes) -> None:
        self._ciphers = [XAES256GCM(key) for key in keys]
        self._purpose = purpose

    def _decrypt(self, sealed: bytes, associated: bytes) -> tuple[bytes, bool]:
        """The plaintext, and whether it was encrypted under a fallback key."""
        if len(sealed) < NONCE_SIZE + OVERHEAD:
            raise MalformedSession("too short for anything encrypted")
        for index, cipher in enumerate(self._ciphers):
            try:
                return cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], associated), index > 0
            except InvalidTag:
                continue
        raise BadCookieSignature("it was not encrypted under one of the keys")


class Encrypter(_Ciphers):
    """base64url of ``nonce + XAES-256-GCM(format + time + token)``."""

    __slots__ = ()

    def seal(self, token: bytes, now: float) -> bytes:
        payload = _FORMAT + int(now).to_bytes(TIME_SIZE) + token
        return _encode(self._ciphers[0].seal(payload, self._purpose))

    def unseal(self, value: bytes, now: float) -> Unsealed:
        if len(value) > MAX_SEALED:
            raise MalformedSession("longer than any token")
        payload, stale = self._decrypt(_decode(value), self._purpose)
        return _opened(payload, now, stale)

    def sealed_size(self, size: int) -> int:
        return _encoded_size(NONCE_SIZE + HEAD_SIZE + size + OVERHEAD)


class RecordSealer(_Ciphers):
    """Encrypts records, each bound to its handle: a record moved under another handle does not open."""

    __slots__ = ()

    def seal(self, data: bytes, handle: bytes) -> bytes:
        return self._ciphers[0].seal(data, self._purpose + b"\x00" + handle)

    def unseal(self, data: bytes, handle: bytes) -> bytes:
        """Reverse ``seal``, or raise MalformedSession or BadCookieSignature."""
        return self._decrypt(data, self._purpose + b"\x00" + handle)[0]


class OwnerNames:
    """The 32 bytes that stand for an owner in an index: HMAC-SHA256, so that nobody can try names without a key."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes], purpose: bytes) -> None:
        self._keys = keys

    def current(self, owner: str | int) -> bytes:
        """Under which the owner's sessions are listed now."""
        return digest(self._keys[0], _spelled(owner), "sha256")

    def every(self, owner: str | int) -> list[bytes]:
        """Also those under fallback keys, where sessions are listed that were not renewed since."""
        return [digest(key, _spelled(owner), "sha256") for key in self._keys]


def _spelled(owner: str | int) -> bytes:
    """The number 7 and the text "7" are two owners."""
    if isinstance(owner, bool) or not isinstance(owner, str | int):
        raise TypeError(f"an owner is a str or an int, not {type(owner).__name__}; nobody is logged in?")
    return b"int:%d" % owner if isinstance(owner, int) else b"str:" + owner.encode("utf-8", "surrogatepass")


# base64url, strictly: one spelling for each sequence of bytes (RFC 4648, sections 3.5 and 5).
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/--")  # a plus or a slash becomes what base64 does not know
_PADDING = (b"", b"===", b"==", b"=")  # by what is left over of four characters; the second one is refused
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LAST = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])  # last characters without stray bits, by the same
_encode_base64 = msgspec.json.Encoder().encode  # in quotes; two thirds of the time of b2a_base64()


def _encode(data: bytes) -> bytes:
    # Half the time of translate(), which looks at each byte.
    return _encode_base64(data).strip(b'"=').replace(b"+", b"-").replace(b"/", b"_")


def _encoded_size(size: int) -> int:
    return (4 * size + 2) // 3


def _decode(text: bytes) -> bytes:
    over = len(text) & 3
    try:
        data = a2b_base64(text.translate(_FROM_URL) + _PADDING[over], strict_mode=True)
    except ValueError as exc:
        raise MalformedSession("not base64url") from exc
    if text and text[-1] not in _LAST[over]:
        raise MalformedSession("not the canonical base64url")
    return data


def _opened(payload: bytes, now: float, stale: bool) -> Unsealed:
    if payload and payload[0] != FORMAT:
        raise NewerFormat(f"not format {FORMAT}, the only one that this version knows")
    if len(payload) < HEAD_SIZE:
        raise MalformedSession("no timestamp")
    sealed_at = int.from_bytes(payload[FORMAT_SIZE:HEAD_SIZE])
    if sealed_at > now + CLOCK_SKEW:
        raise ExpiredSession("the token comes from the future")
    return Unsealed(payload[HEAD_SIZE:], sealed_at, stale)
