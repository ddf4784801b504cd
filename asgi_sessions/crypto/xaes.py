"""XAES-256-GCM: AES-256-GCM with a 192-bit nonce, so that random nonces need no counting.

Specification: https://c2sp.org/XAES-256-GCM. A message key is derived from the key and the first half of the nonce by
NIST SP 800-108r1 (KDF in counter mode with CMAC), the second half is AES-GCM's own nonce.
"""

from os import urandom
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

__all__ = ["NONCE_SIZE", "OVERHEAD", "XAES256GCM", "InvalidTag"]

KEY_SIZE = 32  # bytes
NONCE_SIZE = 24  # bytes
HALF = NONCE_SIZE // 2
OVERHEAD = 16  # bytes that a ciphertext is longer than its plaintext

#: Deriving a key for each message takes longer than encrypting it, so that many share the nonce's first half. Their
#: second halves are random, 96 bits: that two of 2**10 are the same has a chance of 2**-77. AES-GCM's own limit for
#: random nonces under one key is 2**32 (NIST SP 800-38D, section 8.3): processes that fork and go on may share it, too.
MESSAGES_PER_KEY = 2**10


class XAES256GCM:
    """One key. How many messages it may seal: see ``Keyring``."""

    __slots__ = ("_blocks", "_left", "_lock", "_masks", "_shared")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"the key must have {KEY_SIZE} bytes, not {len(key)}")
        # ECB is nothing but the bare block cipher here, which CMAC is made of: no block depends on another one, so that
        # one encryptor does for all messages.
        self._blocks = Cipher(AES256(key), ECB()).encryptor()  # noqa: S305
        self._lock = Lock()  # threads may share a keyring, but not an encryptor
        subkey = int.from_bytes(self._blocks.update(bytes(16)), "big") << 1
        if subkey >> 128:
            subkey = (subkey & ((1 << 128) - 1)) ^ 0x87
        first, second = (
            int.from_bytes(start + bytes(12), "big") ^ subkey for start in (b"\x00\x01X\x00", b"\x00\x02X\x00")
        )
        self._masks = first << 128 | second
        self._left = 0  # messages for which the shared first half is still good
        self._shared = b"", AESGCM(key)  # replaced before anything is encrypted

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """A new nonce, and behind it the ciphertext."""
        self._left -= 1
        if self._left < 0:
            self._left = MESSAGES_PER_KEY - 1
            first = urandom(HALF)
            self._shared = first, AESGCM(self._message_key(first))
        first, cipher = self._shared
        second = urandom(HALF)
        return first + second + cipher.encrypt(second, data, associated)

    def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """
        Args:
            nonce: 24 random bytes, new ones for each message.
        """
        first, second = _halves(nonce)
        return AESGCM(self._message_key(first)).encrypt(second, data, associated)

    def decrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """
        Raises:
            InvalidTag: not what ``encrypt`` made under this key, nonce and associated data.
        """
        first, second = _halves(nonce)
        if len(data) < OVERHEAD:
            raise InvalidTag
        return AESGCM(self._message_key(first)).decrypt(second, data, associated)

    def _message_key(self, first: bytes) -> bytes:
        half = int.from_bytes(first, "big")
        blocks = ((half << 128 | half) ^ self._masks).to_bytes(32, "big")
        with self._lock:
            return self._blocks.update(blocks)


def _halves(nonce: bytes) -> tuple[bytes, bytes]:
    if len(nonce) != NONCE_SIZE:
        raise ValueError(f"the nonce must have {NONCE_SIZE} bytes, not {len(nonce)}")
    return nonce[:HALF], nonce[HALF:]
