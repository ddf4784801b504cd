"""XAES-256-GCM against the vectors that its specification publishes (https://c2sp.org/XAES-256-GCM)."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from asgi_sessions.crypto.xaes import MESSAGES_PER_KEY, NONCE_SIZE, OVERHEAD, XAES256GCM, InvalidTag

NONCE = b"ABCDEFGHIJKLMNOPQRSTUVWX"


@pytest.mark.parametrize(
    ("key", "associated", "sealed"),
    [
        (b"\x01" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (b"\x03" * 32, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ],
    ids=["most significant bit of L clear", "set"],
)
def test_published_vectors(key: bytes, associated: bytes, sealed: str) -> None:
    cipher = XAES256GCM(key)
    assert cipher.encrypt(NONCE, b"XAES-256-GCM", associated).hex() == sealed
    assert cipher.decrypt(NONCE, bytes.fromhex(sealed), associated) == b"XAES-256-GCM"


def test_the_accumulated_vector_over_10000_random_messages() -> None:
    stream = Shake()
    digest = hashlib.shake_128()
    for _ in range(10_000):
        key, nonce = stream.read(32), stream.read(24)
        plaintext = stream.read(stream.read(1)[0])
        associated = stream.read(stream.read(1)[0])
        sealed = XAES256GCM(key).encrypt(nonce, plaintext, associated)
        assert XAES256GCM(key).decrypt(nonce, sealed, associated) == plaintext
        digest.update(sealed)
    assert digest.hexdigest(32) == "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"


class Shake:
    """SHAKE128 of nothing, read bit by bit."""

    def __init__(self) -> None:
        self.bytes = hashlib.shake_128().digest(8 * 2**20)
        self.position = 0

    def read(self, length: int) -> bytes:
        start, self.position = self.position, self.position + length
        assert self.position <= len(self.bytes)
        return self.bytes[start : self.position]


def test_sizes() -> None:
    assert len(XAES256GCM(bytes(32)).encrypt(NONCE, b"12345", b"")) == 5 + OVERHEAD
    assert len(NONCE) == NONCE_SIZE


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(OVERHEAD), bytes(100)])
def test_what_was_not_sealed_does_not_open(sealed: bytes) -> None:
    with pytest.raises(InvalidTag):
        XAES256GCM(bytes(32)).decrypt(NONCE, sealed, b"")


def test_key_and_nonce_have_their_sizes() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        XAES256GCM(bytes(16))
    with pytest.raises(ValueError, match="24 bytes, not 12"):
        XAES256GCM(bytes(32)).encrypt(bytes(12), b"", b"")


def test_what_was_sealed_opens_with_the_nonce_before_it() -> None:
    cipher = XAES256GCM(bytes(32))
    sealed = cipher.seal(b"message", b"associated")
    assert len(sealed) == NONCE_SIZE + len(b"message") + OVERHEAD
    assert XAES256GCM(bytes(32)).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], b"associated") == b"message"


def test_no_nonce_comes_twice_and_a_message_key_is_used_for_so_many_messages_only() -> None:
    cipher = XAES256GCM(bytes(32))
    nonces = [cipher.seal(b"", b"")[:NONCE_SIZE] for _ in range(3 * MESSAGES_PER_KEY)]
    assert len(set(nonces)) == len({nonce[12:] for nonce in nonces}) == len(nonces)
    used = Counter(nonce[:12] for nonce in nonces)
    assert set(used.values()) == {MESSAGES_PER_KEY}


def test_two_ciphers_of_one_key_do_not_share_a_message_key() -> None:
    first, second = (XAES256GCM(bytes(32)).seal(b"", b"")[:12] for _ in range(2))
    assert first != second


def test_threads_that_seal_at_once_each_use_a_derived_key_under_its_own_nonce() -> None:
    ciphers = [XAES256GCM(bytes(32)) for _ in range(300)]
    together = Barrier(8)

    def seal(cipher: XAES256GCM) -> bytes:
        together.wait()
        return cipher.seal(b"message", b"associated")

    with ThreadPoolExecutor(8) as threads:
        sealed = [data for cipher in ciphers for data in threads.map(seal, [cipher] * 8)]
    assert all(len(data) == NONCE_SIZE + len(b"message") + OVERHEAD for data in sealed)
    assert not any(data.startswith(bytes(12)) for data in sealed)
    opened = {XAES256GCM(bytes(32)).decrypt(data[:NONCE_SIZE], data[NONCE_SIZE:], b"associated") for data in sealed}
    assert opened == {b"message"}
