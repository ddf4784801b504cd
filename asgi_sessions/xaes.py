"""XAES-256-GCM: AES-256-GCM with a 192-bit nonce, so that random nonces need no counting.

Specification: https://c2sp.org/XAES-256-GCM. A key for each message is derived from the key and the first half of the
nonce by NIST SP 800-108r1 (KDF in counter mode with CMAC), the second half is AES-GCM's own nonce.
"""

from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

__all__ = ["NONCE_SIZE", "OVERHEAD", "XAES256GCM", "InvalidTag"]

KEY_SIZE = 32  # bytes
NONCE_SIZE = 24  # bytes
OVERHEAD = 16  # bytes that a ciphertext is longer than its plaintext


class XAES256GCM:
    """One key. How many messages it may seal: see ``Keyring``."""

    __slots__ = ("_blocks", "_lock", "_masks")

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

    def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """
        Args:
            nonce: 24 random bytes, new ones for each message.
        """
        return AESGCM(self._message_key(nonce)).encrypt(nonce[12:], data, associated)

    def decrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """
        Raises:
            InvalidTag: not what ``encrypt`` made under this key, nonce and associated data.
        """
        if len(data) < OVERHEAD:
            raise InvalidTag
        return AESGCM(self._message_key(nonce)).decrypt(nonce[12:], data, associated)

    def _message_key(self, nonce: bytes) -> bytes:
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"the nonce must have {NONCE_SIZE} bytes, not {len(nonce)}")
        half = int.from_bytes(nonce[:12], "big")
        blocks = ((half << 128 | half) ^ self._masks).to_bytes(32, "big")
        with self._lock:
            return self._blocks.update(blocks)
