"""XAES-256-GCM: AES-256-GCM with a 192-bit nonce, so that random nonces need no counting.

Specification: https://c2sp.org/XAES-256-GCM. A key for each message is derived from the key and the first half of the
nonce by NIST SP 800-108r1 (KDF in counter mode with CMAC), the second half is AES-GCM's own nonce.
"""

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

    __slots__ = ("_block", "_subkey")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"the key must have {KEY_SIZE} bytes, not {len(key)}")
        # ECB is nothing but the bare block cipher here, which CMAC is made of.
        self._block = Cipher(AES256(key), ECB())  # noqa: S305
        doubled = int.from_bytes(self._encrypt(bytes(16)), "big") << 1
        if doubled >> 128:
            doubled = (doubled & ((1 << 128) - 1)) ^ 0x87
        self._subkey = doubled

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
        blocks = (b"\x00\x01X\x00" + nonce[:12], b"\x00\x02X\x00" + nonce[:12])
        masked = [(int.from_bytes(block, "big") ^ self._subkey).to_bytes(16, "big") for block in blocks]
        return self._encrypt(b"".join(masked))

    def _encrypt(self, blocks: bytes) -> bytes:
        return self._block.encryptor().update(blocks)
