"""XAES-256-GCM: AES-256-GCM with a 192-bit nonce, so that random nonces need no counting.

Specification: https://c2sp.org/XAES-256-GCM. A message key is derived from the key and the first half of the nonce by
NIST SP 800-108r1 (KDF in counter mode with CMAC), the second half is AES-GCM's own nonce.
"""

from collections.abc import Iterator
from itertools import repeat
from os import urandom
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

KEY_SIZE = 32  # bytes
NONCE_SIZE = 24  # bytes
HALF = NONCE_SIZE // 2
OVERHEAD = 16  # bytes that a ciphertext is longer than its plaintext

#: Deriving a key for each message takes longer than encrypting it, so that many share the nonce's first half. Their
#: second halves are random, 96 bits: that two of 2**10 are the same has a chance of 2**-77. AES-GCM's own limit for
#: random nonces under one key is 2**32 (NIST SP 800-38D, section 8.3): processes that fork and go on may share it, too.
MESSAGES_PER_KEY = 2**10


class XAES256GCM:
    """XAES-256-GCM under one key. How many messages it may seal: see ``Keyring``."""

    __slots__ = ("_blocks", "_lock", "_masks", "_shared")

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
        first, second = (int.from_bytes(bytes([0, number]) + b"X" + bytes(13)) ^ subkey for number in (1, 2))
        self._masks = first << 128 | second
        # A first half and its cipher, once for each message that they are still good for. Threads may seal at once: a
        # step of the iterator is atomic, and the iterator is replaced as a whole.
        self._shared: Iterator[tuple[bytes, AESGCM]] = iter(())

    def seal(self, data: bytes, associated: bytes) -> bytes:
        """A new nonce, and behind it the ciphertext."""
        shared = next(self._shared, None)
        if shared is None:
            first = urandom(HALF)
            shared = first, self._cipher(first)
            self._shared = repeat(shared, MESSAGES_PER_KEY - 1)
        first, cipher = shared
        second = urandom(HALF)
        return first + second + cipher.encrypt(second, data, associated)

    def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """The ciphertext alone; the nonce is 24 random bytes, new ones for each message."""
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"the nonce must have {NONCE_SIZE} bytes, not {len(nonce)}")
        return self._cipher(nonce[:HALF]).encrypt(nonce[HALF:], data, associated)

    def decrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """Reverse ``encrypt``, or raise InvalidTag if key, nonce or associated data is another one."""
        if len(data) < OVERHEAD:
            raise InvalidTag
        return self._cipher(nonce[:HALF]).decrypt(nonce[HALF:], data, associated)

    def _cipher(self, first: bytes) -> AESGCM:
        """The cipher under the message key of a nonce's first half."""
        half = int.from_bytes(first, "big")
        blocks = ((half << 128 | half) ^ self._masks).to_bytes(32, "big")
        with self._lock:
            key = self._blocks.update(blocks)
        return AESGCM(key)
