"""Sealing: what opens, and the much that does not."""

import base64
import itertools
import json
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import itsdangerous
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr
from starlette.datastructures import Secret

from asgi_sessions import BadCookieSignature, CookieRefused, ExpiredSession, MalformedSession, NewerFormat, generate_key
from asgi_sessions.crypto.keys import Keyring
from asgi_sessions.crypto.seal import MAX_SEALED, Sealer, Unsealed
from asgi_sessions.crypto.xaes import XAES256GCM

from .timing import takes_at_most

KEY = "j8Q2vN0xY7cT4mB1sL6fH9aW3pD5kR0e"
OTHER = "Zx4Wq9Lr2Tn7Vb1Kd6Mg3Hs8Pf5Yc0Ja"
NOW = 1_800_000_000
TOKEN = bytes(range(48))
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

MODES: dict[str, Callable[[Keyring, str], Sealer]] = {"signed": Keyring.signer, "encrypted": Keyring.encrypter}

# What this format looks like; if one of these does not open any more, every visitor was logged out.
KNOWN = {
    "signed": (
        "AQBrSdIAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJy"
        "gpKissLS4v.VFf3nKR6yjt7WB1xdODnEQqNZ3icAXcPx5uMFp_AcZE"
    ),
    "encrypted": (
        "2M0QUGXg-fhktrN49nVqGAopTzcWZNpqEo7cpWOFUAdRd8IHmAbMd7zqYgY58n"
        "q5bPqmAQihP_MPfA8TcGUhc1QBDtXwqEfoaRrGi0zuh95yLViFP6ez5owN4i6Mxg"
    ),
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sealer(mode: str) -> Sealer:
    return MODES[mode](Keyring(KEY), "session")


def sealed(sealer: Sealer, token: bytes = TOKEN, now: float = NOW) -> bytes:
    return sealer.seal(token, now)


def test_what_was_sealed_opens(sealer: Sealer) -> None:
    assert sealer.unseal(sealed(sealer), NOW + 5) == Unsealed(TOKEN, NOW, False)


@settings(max_examples=100, deadline=None)
@given(token=st.binary(max_size=2000), now=st.floats(0, 2**32))
def test_any_token_comes_back(token: bytes, now: float) -> None:
    for make in MODES.values():
        sealer = make(Keyring(KEY), "session")
        value = sealed(sealer, token, now)
        for opener in (sealer, make(Keyring(KEY), "session")):
            for _ in range(2):
                assert opener.unseal(value, now) == Unsealed(token, int(now), False)
        assert len(value) == sealer.sealed_size(len(token))


def test_the_format_is_pinned(sealer: Sealer, mode: str) -> None:
    assert sealer.unseal(KNOWN[mode].encode(), NOW) == Unsealed(TOKEN, NOW, False)


def test_a_signed_token_is_always_the_same(mode: str) -> None:
    assert Keyring(KEY).signer("session").seal(TOKEN, NOW).decode() == KNOWN["signed"]


def test_a_signature_is_that_of_itsdangerous_under_the_derived_key() -> None:
    signer = itsdangerous.Signer(derived("signed"), key_derivation="none", digest_method=sha256)
    payload = base64.urlsafe_b64encode(b"\x01" + NOW.to_bytes(5, "big") + TOKEN).rstrip(b"=")
    assert signer.sign(payload).decode() == KNOWN["signed"]


def derived(mode: str) -> bytes:
    info = b"asgi_sessions 1\0" + mode.encode() + b"\0session"
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(KEY.encode())


def authentic(mode: str, payload: bytes) -> bytes:
    """A payload of whatever format, sealed as it is."""
    if mode == "encrypted":
        sealed = XAES256GCM(derived(mode)).seal(payload, b"asgi_sessions 1\0encrypted\0session")
        return base64.urlsafe_b64encode(sealed).rstrip(b"=")
    signer = itsdangerous.Signer(derived(mode), key_derivation="none", digest_method=sha256)
    return signer.sign(base64.urlsafe_b64encode(payload).rstrip(b"="))


@pytest.mark.parametrize("number", [0, 2, 255])
def test_a_token_of_another_format_is_told_from_a_forged_one(sealer: Sealer, mode: str, number: int) -> None:
    payload = NOW.to_bytes(5) + TOKEN
    assert sealer.unseal(authentic(mode, b"\x01" + payload), NOW).token == TOKEN
    for other in (payload, b"", (NOW + 100).to_bytes(5)):
        with pytest.raises(NewerFormat, match="not format 1"):
            sealer.unseal(authentic(mode, bytes([number]) + other), NOW)


@pytest.mark.parametrize("size", range(6))
def test_an_authentic_payload_without_a_whole_time_is_malformed(sealer: Sealer, mode: str, size: int) -> None:
    with pytest.raises(MalformedSession, match="no timestamp"):
        sealer.unseal(authentic(mode, (b"\x01" + NOW.to_bytes(5))[:size]), NOW)


def test_an_encrypted_token_is_never_the_same_and_shows_nothing() -> None:
    sealer = Keyring(KEY).encrypter("session")
    first, second = sealer.seal(b"secret" * 20, NOW), sealer.seal(b"secret" * 20, NOW)
    assert first != second
    assert b"secret" not in base64.urlsafe_b64decode(first + b"===")


def test_a_cookie_value_has_only_url_safe_characters(sealer: Sealer) -> None:
    assert set(sealed(sealer)) <= set(ALPHABET + b".")


# -- forgery --------------------------------------------------------------------------------------------------------


def test_every_bit_flip_is_refused(sealer: Sealer) -> None:
    value = sealed(sealer)
    for bit in range(len(value) * 8):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedSession, BadCookieSignature)):
            sealer.unseal(bytes(flipped), NOW)


def test_every_other_last_character_is_refused(sealer: Sealer) -> None:
    """A token has one spelling: the bits of the last character that say nothing must be zero."""
    value = sealed(sealer, b"12")
    for position in (len(value) - 1, *(at - 1 for at in range(1, len(value)) if value[at : at + 1] == b".")):
        for character in ALPHABET:
            other = value[:position] + bytes([character]) + value[position + 1 :]
            if other != value:
                with pytest.raises((MalformedSession, BadCookieSignature)):
                    sealer.unseal(other, NOW)


def test_every_truncation_is_refused(sealer: Sealer) -> None:
    value = sealed(sealer)
    pieces = [value[:end] for end in range(len(value))] + [value[start:] for start in range(1, len(value))]
    for piece in pieces:
        with pytest.raises((MalformedSession, BadCookieSignature)):
            sealer.unseal(piece, NOW)


def test_every_extension_by_one_byte_is_refused(sealer: Sealer) -> None:
    value = sealed(sealer)
    for byte in range(256):
        for longer in (value + bytes([byte]), bytes([byte]) + value, value.replace(b".", bytes([byte]) + b".", 1)):
            if longer != value:
                with pytest.raises((MalformedSession, BadCookieSignature)):
                    sealer.unseal(longer, NOW)


@settings(max_examples=200, deadline=None)
@given(value=st.binary(max_size=300) | st.text(alphabet=(ALPHABET + b".=").decode(), max_size=300).map(str.encode))
def test_any_bytes_are_refused_calmly(value: bytes) -> None:
    for make in MODES.values():
        with pytest.raises(CookieRefused):
            make(Keyring(KEY), "session").unseal(value, NOW)


@pytest.mark.parametrize("character", [b"A", b"\\", b'"', b".", b"=", b"\xff"])
async def test_length_is_refused_before_any_work(sealer: Sealer, character: bytes) -> None:
    def refused(value: bytes) -> None:
        with pytest.raises(MalformedSession):
            sealer.unseal(value, NOW)

    longer = character * (MAX_SEALED + 1)
    assert await takes_at_most(12, refused, longer, 64 * longer)


def test_a_token_of_exactly_4096_bytes_opens_and_a_longer_one_does_not(sealer: Sealer) -> None:
    size = max(size for size in range(MAX_SEALED) if sealer.sealed_size(size) <= MAX_SEALED)
    longest = sealed(sealer, bytes(size))
    assert len(longest) == MAX_SEALED
    assert sealer.unseal(longest, NOW).token == bytes(size)
    with pytest.raises(MalformedSession):
        sealer.unseal(sealed(sealer, bytes(size + 1)), NOW)


# -- separation -----------------------------------------------------------------------------------------------------


def test_a_token_of_one_session_is_worthless_as_another(mode: str) -> None:
    ring = Keyring(KEY)
    with pytest.raises(BadCookieSignature):
        MODES[mode](ring, "auth").unseal(sealed(MODES[mode](ring, "cart")), NOW)


def test_a_signed_token_is_worthless_in_an_encrypted_session_and_the_other_way_round() -> None:
    ring = Keyring(KEY)
    for one, other in itertools.permutations((ring.signer("session"), ring.encrypter("session"))):
        with pytest.raises((MalformedSession, BadCookieSignature)):
            other.unseal(sealed(one), NOW)


def test_an_encrypted_record_is_worthless_as_a_token_and_under_another_handle() -> None:
    ring = Keyring(KEY)
    record = ring.record_encrypter("session")
    data = record.seal(TOKEN, b"handle")
    assert record.unseal(data, b"handle") == TOKEN
    for handle in (b"", b"handlf", b"handle\0"):
        with pytest.raises(BadCookieSignature):
            record.unseal(data, handle)
    with pytest.raises((MalformedSession, BadCookieSignature)):
        ring.encrypter("session").unseal(base64.urlsafe_b64encode(data).rstrip(b"="), NOW)
    with pytest.raises(MalformedSession):
        record.unseal(data[:39], b"handle")


RECORD = bytes.fromhex(
    "d7533b83762f787d04797129ca78a96e2d417945ab4f8a6c1505ad6e11e0785fa0153a963afc6ac699d83a80da72da6701703bacd3814cea3db58437fb5bcdbdb4833618a4edb06474d87a631cb867d1aa5865be2c0fe353"
)


def test_the_format_of_an_encrypted_record_is_pinned() -> None:
    assert Keyring(KEY).record_encrypter("session").unseal(RECORD, b"handle") == TOKEN


def test_every_altered_record_is_refused() -> None:
    sealer = Keyring(KEY).record_encrypter("session")
    flipped = [
        (int.from_bytes(RECORD, "big") ^ 1 << bit).to_bytes(len(RECORD), "big") for bit in range(len(RECORD) * 8)
    ]
    truncated = [RECORD[:end] for end in range(len(RECORD))] + [RECORD[start:] for start in range(1, len(RECORD))]
    extended = [bytes([byte]) + RECORD for byte in range(256)] + [RECORD + bytes([byte]) for byte in range(256)]
    for data in flipped + truncated + extended:
        with pytest.raises((MalformedSession, BadCookieSignature)):
            sealer.unseal(data, b"handle")


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), handle=st.binary(max_size=32))
def test_any_record_comes_back_and_any_other_bytes_are_refused_calmly(data: bytes, handle: bytes) -> None:
    sealer = Keyring(KEY).record_encrypter("session")
    assert sealer.unseal(sealer.seal(data, handle), handle) == data
    with pytest.raises((MalformedSession, BadCookieSignature)):
        sealer.unseal(data, handle)


def test_a_record_of_one_session_is_worthless_as_another() -> None:
    with pytest.raises(BadCookieSignature):
        Keyring(KEY).record_encrypter("auth").unseal(RECORD, b"handle")


def test_another_key_opens_nothing(mode: str) -> None:
    with pytest.raises(BadCookieSignature):
        MODES[mode](Keyring(OTHER), "session").unseal(sealed(MODES[mode](Keyring(KEY), "session")), NOW)


def foreign_tokens() -> dict[str, str]:
    """What others make with the very same secret."""
    payload = base64.b64encode(json.dumps({"user": "admin"}).encode()).decode()
    fernet = Fernet(base64.urlsafe_b64encode(KEY.encode()))
    django = itsdangerous.TimestampSigner(KEY, salt="django.contrib.sessions.backends.signed_cookies", sep=":")
    return {
        "starlette": itsdangerous.TimestampSigner(KEY).sign(payload).decode(),
        "flask": itsdangerous.URLSafeTimedSerializer(KEY, salt="cookie-session").dumps({"user": "admin"}),
        "django": django.sign(payload).decode(),
        "fernet": fernet.encrypt(b"admin").decode(),
        "in our form": itsdangerous.Signer(KEY, key_derivation="none", digest_method=sha256)
        .sign("AA.AGtJ0gA")
        .decode(),
        "underived": itsdangerous.TimestampSigner(KEY, key_derivation="none", digest_method=sha256).sign("AA").decode(),
        "pickle": base64.urlsafe_b64encode(pickle.dumps({"user": "admin"})).decode().rstrip("="),
    }


@pytest.mark.parametrize("source", foreign_tokens())
def test_tokens_that_others_made_with_the_same_secret_are_worthless(sealer: Sealer, source: str) -> None:
    with pytest.raises((MalformedSession, BadCookieSignature)):
        sealer.unseal(foreign_tokens()[source].encode(), time.time())


# -- time -----------------------------------------------------------------------------------------------------------


def test_a_token_may_come_from_a_clock_that_is_a_minute_ahead_and_no_more(sealer: Sealer) -> None:
    assert sealer.unseal(sealed(sealer, now=NOW + 60), NOW).sealed_at == NOW + 60
    with pytest.raises(ExpiredSession, match="future"):
        sealer.unseal(sealed(sealer, now=NOW + 61), NOW)


# -- keys -----------------------------------------------------------------------------------------------------------


def test_a_fallback_key_opens_and_says_so(mode: str) -> None:
    value = sealed(MODES[mode](Keyring(KEY), "session"))
    for former in ([KEY], [generate_key(), KEY], [KEY, generate_key()]):
        rotated = MODES[mode](Keyring(OTHER, former), "session")
        assert rotated.unseal(value, NOW) == Unsealed(TOKEN, NOW, True)
        assert rotated.unseal(sealed(rotated), NOW).stale is False


def test_records_open_under_a_fallback_key() -> None:
    data = Keyring(KEY).record_encrypter("session").seal(TOKEN, b"handle")
    assert Keyring(OTHER, [KEY]).record_encrypter("session").unseal(data, b"handle") == TOKEN


def test_a_key_may_be_text_bytes_or_a_secret() -> None:
    value = sealed(Keyring(KEY).signer("session"))
    for key in (KEY.encode(), Secret(KEY)):
        assert Keyring(key).signer("session").unseal(value, NOW).token == TOKEN


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("",), "secret_key is empty"),
        (("   ",), "secret_key is empty"),
        (("short",), "secret_key has 5 characters; at least 16"),
        (("abababababababababab",), "fewer than 8 different"),
        (("changeme",), "placeholder"),
        (("ChangeMe-ChangeMe-ChangeMe",), "placeholder"),
        (("your-secret-key-goes-here",), "placeholder"),
        (("django-insecure-0123",), "placeholder"),
        (("changeme0000000000000000000",), "placeholder"),
        (("CHANGE ME 12345678901234567890",), "placeholder"),
        (("please-change-this-to-a-long-random-string-in-production",), "placeholder"),
        (("your-256-bit-secret-goes-in-here",), "placeholder"),
        (("keyboard cat keyboard cat",), "placeholder"),
        (("secret-of-blueridge-knot",), "placeholder"),
        (("secret-xyzxyzxyzxyzxyzxyzxyz",), "placeholder"),
        (("abcdefghijklmnopqrstuvwxyz",), "placeholder"),
        ((KEY, [OTHER, "my-very-long-session-key-for-testing"]), r"fallback_keys\[1\] is a placeholder"),
        ((KEY, [""]), r"fallback_keys\[0\] is empty"),
        ((KEY, [OTHER, "tooshort"]), r"fallback_keys\[1\] has 8 characters"),
        ((KEY, [KEY]), r"fallback_keys\[0\]: the same key"),
        ((KEY, [OTHER, OTHER]), r"fallback_keys\[1\]: the same key"),
    ],
)
def test_keys_that_protect_nothing_are_refused_with_a_hint(keys: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Keyring(*keys)
    assert "python -m asgi_sessions keygen" in str(caught.value)


PUBLISHED: dict[str, str | bytes] = {
    "FastAPI's tutorial": "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "Flask's deployment page": "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "Flask's quickstart": b'_5#y2L"F4Q8z\n\xec]/',
    "Flask's former quickstart": "A0Zr98j/3yX R~XHH!jmN]LWX/,?RT",
}


@pytest.mark.parametrize("source", PUBLISHED)
def test_a_key_that_documentation_printed_is_refused(source: str) -> None:
    key = PUBLISHED[source]
    for spelling in (key, key.upper()):
        with pytest.raises(ValueError, match="secret_key is a placeholder that everybody knows"):
            Keyring(spelling)


@pytest.mark.parametrize(
    "key",
    [
        "example of a correct horse battery staple",
        "app-secret-9f86d081884c7d659a2feaa0c55ad015",
        "пароль-который-никто-не-угадает",
        bytes(range(128, 160)),
        KEY.replace("Q2vN", "todo"),
    ],
)
def test_a_key_with_a_suspicious_word_and_enough_besides_is_accepted(key: str | bytes) -> None:
    Keyring(key)


@pytest.mark.parametrize("key", ["hunter2-hunter", "hunter2hunter2hunter2hunter2", "secret-hunter2"])
def test_the_refused_key_is_not_shown(key: str) -> None:
    for keys in ((key,), (KEY, [key])):
        with pytest.raises(ValueError, match="keygen") as caught:
            Keyring(*keys)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("fallback_keys", [KEY, KEY.encode(), {KEY}])
def test_fallback_keys_are_a_list(fallback_keys: object) -> None:
    with pytest.raises(TypeError, match="list of keys"):
        Keyring(OTHER, fallback_keys)  # type: ignore[arg-type]  # the mistake that is tested


@pytest.mark.parametrize(
    "key",
    [
        None,
        1234567890123456,
        1.5,
        ["a" * 40],
        ("a",),
        {KEY},
        {KEY: KEY},
        bytearray(KEY.encode()),
        object(),
        generate_key,
    ],
    ids=lambda key: type(key).__name__,
)
def test_a_key_of_another_type_is_refused(key: object) -> None:
    """Its repr, ``<function generate_key at 0x7f...>``, is guessable and another one in each process."""
    with pytest.raises(TypeError, match="secret_key: must be a str or bytes"):
        Keyring(key)
    with pytest.raises(TypeError, match=r"fallback_keys\[0\]: must be a str or bytes"):
        Keyring(KEY, [key])


@pytest.mark.parametrize("key", [SecretStr(KEY), SecretBytes(KEY.encode())])
def test_a_key_that_hides_its_text_is_not_taken_for_asterisks(key: object) -> None:
    with pytest.raises(TypeError, match=r"secret_key: Secret\w+ hides its text; .*get_secret_value"):
        Keyring(key)


def test_a_key_that_is_rather_short_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    Keyring("0a1b2c3d4e5f6g7h8i9j")
    assert [record.message for record in caplog.records] == [
        "secret_key: fewer than 32 characters; make one with: python -m asgi_sessions keygen"
    ]


def test_one_warning_names_every_short_key_and_counts_characters(caplog: pytest.LogCaptureFixture) -> None:
    Keyring(KEY, [OTHER, "0a1b2c3d4e5f6g7h8i9j", "ключ-из-двадцати-букв"])
    (record,) = caplog.records
    assert record.message.startswith("fallback_keys[1], fallback_keys[2]: fewer than 32 characters")
    assert "0a1b" not in record.message


def test_generated_keys_are_good_and_differ(caplog: pytest.LogCaptureFixture) -> None:
    keys = {generate_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        Keyring(key)
    assert not caplog.records


def test_derived_keys_are_kept_and_bounded() -> None:
    ring = Keyring(KEY)
    assert ring.signer("session") is ring.signer("session")
    for index in range(2000):
        ring.signer(f"s{index}")
    assert len(ring._derived) <= 512


def test_threads_may_share_a_keyring() -> None:
    ring = Keyring(KEY)
    value = sealed(ring.signer("s7"))

    def use(start: int) -> bool:
        for index in range(start, start + 600):
            ring.encrypter(f"s{index}")
        return ring.signer("s7").unseal(value, NOW).token == TOKEN

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(use, range(0, 2400, 300)))


def test_repr_shows_neither_key_nor_token(sealer: Sealer) -> None:
    assert KEY not in repr(Keyring(KEY))
    opened = sealer.unseal(sealed(sealer, b"handle and secret"), NOW)
    for shown in (repr(opened), str(opened), f"{opened}"):
        assert shown == f"<Unsealed: 17 bytes, sealed_at={NOW}, stale=False>"


@pytest.mark.parametrize("make", [Keyring.signer, Keyring.encrypter, Keyring.record_encrypter])
def test_a_sealers_repr_shows_no_key(make: Callable[[Keyring, str], object]) -> None:
    assert KEY not in repr(make(Keyring(KEY), "session"))
