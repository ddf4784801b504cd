"""What was opened lately is not verified again, and nothing else comes of that."""

import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from asgi_sessions._engine.opener import LONGEST_KNOWN, MOST_KNOWN, Opener
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgi_sessions._engine.record import Token, token_of
from asgi_sessions.cookies import find
from asgi_sessions.crypto.keys import Keyring
from asgi_sessions.crypto.seal import Sealer, Unsealed
from asgi_sessions.exceptions import BadCookieSignature, DuplicateCookie, ExpiredSession

from .test_cookies import all_headers, plain_find

KEY = "j8Q2vN0xY7cT4mB1sL6fH9aW3pD5kR0e"
NOW = 1_800_000_000
TOKEN = bytes(range(48))


@pytest.fixture(params=["signer", "encrypter"])
def sealer(request: pytest.FixtureRequest) -> Sealer:
    made: Sealer = getattr(Keyring(KEY), request.param)("session")
    return made


def presented(opener: Opener[Any], value: bytes, now: float) -> Any:
    """What the middleware does with a cookie."""
    (cookie,), known = opener.find([(b"cookie", b"session=" + value)], now)
    return opener.add(cookie, opener.open(cookie, now)) if known is None else known


class Counting:
    """A sealer that counts what it was asked to verify."""

    def __init__(self, sealer: Sealer) -> None:
        self.sealer = sealer
        self.unsealed = 0

    def seal(self, token: bytes, now: float) -> bytes:
        return self.sealer.seal(token, now)

    def unseal(self, value: bytes, now: float) -> Unsealed:
        self.unsealed += 1
        return self.sealer.unseal(value, now)

    def sealed_size(self, size: int) -> int:
        return self.sealer.sealed_size(size)


@settings(max_examples=200, deadline=None)
@given(headers=all_headers, name=st.sampled_from([b"session", b"s", b"a", b"aa", b"__Host-session"]))
@example(headers=[(b"cookie", b"a=1"), (b"host", b"a=2"), (b"cookie", b"b=1; a=3")], name=b"a")
@example(headers=[(b"cookie", b"a=1;a=2;a=3;a=4;a=5")], name=b"a")
def test_a_header_that_comes_again_has_the_same_cookies(headers: list[tuple[bytes, bytes]], name: bytes) -> None:
    opener = Opener(name, Keyring(KEY).signer("session"), token_of)
    for header in headers:
        with suppress(DuplicateCookie):
            for value in plain_find([header], name):
                opener.add(value, Token(b"", b"", b"", NOW))
    for _ in range(2):
        for header in [headers, headers[:1]]:
            try:
                expected = find(header, name)
            except DuplicateCookie:
                with pytest.raises(DuplicateCookie):
                    opener.find(iter(header), NOW)
            else:
                cookies, known = opener.find(iter(header), NOW)
                assert [*cookies] == expected
                assert (known is not None) == (len(expected) == 1)


def test_a_header_in_which_a_known_cookie_was_found_is_not_searched_again() -> None:
    opener = Opener(b"session", Keyring(KEY).signer("session"), token_of)
    line = b"a=1; session=abc"
    assert opener.find([(b"cookie", line)], NOW) is not opener.find([(b"cookie", line)], NOW)
    token = opener.add(b"abc", Token(b"", b"", b"", NOW))
    opener.find([(b"cookie", line)], NOW)
    again = opener.find([(b"host", b"x"), (b"cookie", bytes(bytearray(line)))], NOW)
    assert opener.find([(b"cookie", line)], NOW + 1) is again
    assert again == ((b"abc",), token)
    assert again[1] is token


def test_a_header_leads_to_the_very_object_that_its_cookie_is_known_by() -> None:
    """Whoever remembers something by it would find it under one header, and miss it under another."""
    opener = Opener(b"session", Keyring(KEY).signer("session"), token_of)
    lines = [b"session=abc", b"session=abc; a=1"]
    opener.add(b"abc", Token(b"", b"", b"", NOW))
    opener.find([(b"cookie", lines[0])], NOW)
    for number in range(MOST_KNOWN):
        opener.add(b"%d" % number, Token(b"", b"", b"", NOW))
    token = opener.add(b"abc", Token(b"", b"", b"", NOW))
    for line in lines:
        assert opener.find([(b"cookie", line)], NOW)[1] is token


@pytest.mark.parametrize("size", [100, LONGEST_KNOWN, LONGEST_KNOWN + 1])
def test_the_headers_that_an_opener_remembers_are_bounded(size: int) -> None:
    opener = Opener(b"session", Keyring(KEY).signer("session"), token_of)
    token = opener.add(b"abc", Token(b"", b"", b"", NOW))
    for number in range(4 * MOST_KNOWN):
        line = (b"session=abc; %d; " % number).ljust(size, b"x")
        assert opener.find([(b"cookie", line)], NOW) == ([b"abc"], token)
    assert (0 < len(opener._found) <= MOST_KNOWN) == (size <= LONGEST_KNOWN)


def test_a_cookie_that_comes_again_is_verified_once(sealer: Sealer) -> None:
    counting = Counting(sealer)
    opener = Opener(b"session", counting, token_of)
    value = sealer.seal(TOKEN, NOW)
    first = presented(opener, value, NOW)
    assert first == Token(TOKEN[:16], TOKEN[16:], first.digest, NOW)
    assert presented(opener, value, NOW + 5) is first
    assert counting.unsealed == 1


def test_what_is_no_cookie_of_ours_is_verified_each_time(sealer: Sealer) -> None:
    counting = Counting(sealer)
    opener = Opener(b"session", counting, token_of)
    forged = Keyring(KEY).signer("other").seal(TOKEN, NOW) if not hasattr(sealer, "_ciphers") else b"A" * 130
    for _ in range(2):
        with pytest.raises(BadCookieSignature):
            presented(opener, forged, NOW)
    assert counting.unsealed == 2


def test_a_cookie_that_is_known_is_refused_as_others_are_when_the_clock_is_set_back(sealer: Sealer) -> None:
    opener = Opener(b"session", sealer, token_of)
    value = sealer.seal(TOKEN, NOW)
    for _ in range(2):  # the second time by its header
        assert presented(opener, value, NOW).handle == TOKEN[:16]
    with pytest.raises(ExpiredSession, match="future"):
        presented(opener, value, NOW - 61)


@pytest.mark.parametrize("size", [48, 2900])
def test_the_cookies_that_an_opener_remembers_are_bounded(sealer: Sealer, size: int) -> None:
    values = [sealer.seal(number.to_bytes(size, "big"), NOW) for number in range(4 * MOST_KNOWN)]
    opener: Opener[Any] = Opener(
        b"session", sealer, lambda unsealed: Token(unsealed.token, b"", b"", unsealed.sealed_at)
    )
    tracemalloc.start()
    for value in [bytes(bytearray(value)) for value in values]:  # copies, as each request brings one
        presented(opener, value, NOW)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 1.5 * MOST_KNOWN * (2.5 * size + 400) + sum(map(len, values))
