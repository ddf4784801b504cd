"""A cookie that was verified lately is not verified again, and nothing else comes of that."""

import tracemalloc
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgi_sessions import BadCookieSignature, DuplicateCookie, ExpiredSession, MemoryStore, Session, SessionMiddleware
from asgi_sessions._engine.backends import LONGEST_KNOWN, MOST_KNOWN, CookieBackend, CookieFinder, RecordBackend
from asgi_sessions._engine.cache import Cache
from asgi_sessions._engine.profile import MOST_KNOWN as MOST_COOKIES
from asgi_sessions._engine.record import HANDLE_SIZE, SECRET_SIZE, Record, Token
from asgi_sessions._engine.state import Exchange, Settings
from asgi_sessions.cookies import find
from asgi_sessions.crypto.seal import Sealer, Unsealed

from .browser import KEY, Clock, respond
from .test_cookies import all_headers, plain_find

NOW = 1_800_000_000
TOKEN = Token(b"", b"", b"", NOW)

Headers = list[tuple[bytes, bytes]]


# -- finding the cookies of a name -----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(headers=all_headers, name=st.sampled_from([b"session", b"s", b"a", b"aa", b"__Host-session"]))
@example(headers=[(b"cookie", b"a=1"), (b"host", b"a=2"), (b"cookie", b"b=1; a=3")], name=b"a")
@example(headers=[(b"cookie", b"a=1"), (b"cookie", b"b=1")], name=b"a")
@example(headers=[(b"cookie", b"a=1;a=2;a=3;a=4;a=5")], name=b"a")
def test_a_header_that_comes_again_has_the_same_cookies(headers: Headers, name: bytes) -> None:
    finder, known = CookieFinder(name), dict[bytes, Token]()
    for header in headers:
        with suppress(DuplicateCookie):
            known |= dict.fromkeys(plain_find([header], name), TOKEN)
    for _ in range(2):
        for header in [headers, headers[:1], headers[-1:]]:
            try:
                expected = find(header, name)
            except DuplicateCookie:
                with pytest.raises(DuplicateCookie):
                    finder.find(header, known, NOW)
            else:
                cookies, opened = finder.find(header, known, NOW)
                assert [*cookies] == expected
                assert (opened is TOKEN) == (len(expected) == 1 and expected[0] in known)


def test_a_header_in_which_a_known_cookie_was_found_is_not_searched_again() -> None:
    finder, line = CookieFinder(b"session"), b"a=1; session=abc"
    unknown = [finder.find([(b"cookie", line)], {}, NOW)[0] for _ in range(2)]
    assert unknown[0] is not unknown[1]
    known = {b"abc": TOKEN}
    first = finder.find([(b"cookie", line)], known, NOW)
    again = finder.find([(b"host", b"x"), (b"cookie", bytes(bytearray(line)))], known, NOW + 1)
    assert first == again == ([b"abc"], TOKEN)
    assert first[0] is again[0]


def test_a_header_leads_to_the_very_object_that_its_cookie_is_known_by() -> None:
    """The records that are known are told by it: another object would be known under one header, and not another."""
    finder = CookieFinder(b"session")
    lines = [b"session=abc", b"session=abc; a=1"]
    finder.find([(b"cookie", lines[0])], {b"abc": TOKEN}, NOW)
    later = msgspec.structs.replace(TOKEN)
    for line in lines:
        assert finder.find([(b"cookie", line)], {b"abc": later}, NOW)[1] is later


@pytest.mark.parametrize("size", [100, LONGEST_KNOWN, LONGEST_KNOWN + 1])
def test_the_headers_that_a_finder_remembers_are_bounded_in_number_and_size(size: int) -> None:
    finder, known = CookieFinder(b"session"), {b"abc": TOKEN}
    lines = [(b"session=abc; %d; " % number).ljust(size, b"x") for number in range(2 * MOST_KNOWN)]
    found = [finder.find([(b"cookie", line)], known, NOW) for line in lines]
    assert all(cookies == [b"abc"] and opened is TOKEN for cookies, opened in found)
    again = [finder.find([(b"cookie", line)], known, NOW)[0] for line in reversed(lines)]
    remembered = sum(now is before for now, (before, _) in zip(again, reversed(found), strict=True))
    assert remembered == (MOST_KNOWN if size <= LONGEST_KNOWN else 0)


# -- loading a session -----------------------------------------------------------------------------------------------


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


class Loading:
    """A backend of one kind, whose verifications are counted."""

    def __init__(self, kind: str) -> None:
        store = MemoryStore(clock=Clock(NOW)) if kind == "server" else None
        own: Any = SessionMiddleware(respond, KEY, store=store, encrypt=kind == "encrypted").configuration.default
        self.sealer = Counting(own.profile.sealer)
        self.profile: Any = replace(own.profile, sealer=self.sealer, known=Cache(MOST_COOKIES))
        self.backend: Any = (
            CookieBackend(self.profile, own.store)
            if store is None
            else RecordBackend(self.profile, store, store.write_timeout)
        )

    def token(self, number: int = 0, size: int = 0) -> bytes:
        """What a cookie holds: of a record that no store has, or of a session of about ``size`` bytes."""
        if isinstance(self.backend, RecordBackend):
            return number.to_bytes(HANDLE_SIZE, "big") + bytes(SECRET_SIZE)
        values = self.profile.serializer.dumps({"n": number, "filler": "x" * size})
        return self.profile.codec.pack(Record(values=values, created_at=NOW, started_at=NOW, id=b"identity"))

    async def load(self, cookie: bytes, now: float = NOW) -> Session:
        """What a request does that has this cookie."""
        clock = Clock(now)
        exchange = Exchange(Settings(clock, 10.0, set()), [(b"cookie", b"session=" + cookie)], "http", clock)
        session = Session(self.backend, self.profile, exchange)
        await self.backend.load(session)
        return session


@pytest.fixture(params=["signed", "encrypted", "server"])
def loading(request: pytest.FixtureRequest) -> Loading:
    return Loading(request.param)


async def test_a_cookie_that_comes_again_is_verified_once(loading: Loading) -> None:
    cookie = loading.profile.sealer.seal(loading.token(), NOW)
    answers = [repr(await loading.load(bytes(bytearray(cookie)), NOW + later)) for later in (0, 1, 5)]
    assert len({*answers}) == 1
    assert loading.sealer.unsealed == 1


async def test_a_forged_cookie_is_verified_each_time(loading: Loading) -> None:
    cookie = loading.profile.sealer.seal(loading.token(), NOW)
    forged = cookie[:8] + (b"A" if cookie[8:9] != b"A" else b"B") + cookie[9:]
    await loading.load(cookie)
    for verified in (2, 3, 4):
        assert isinstance((await loading.load(forged)).error, BadCookieSignature)
        assert loading.sealer.unsealed == verified
    assert [*loading.profile.known] == [cookie]


async def test_one_of_two_cookies_is_verified_even_if_it_is_known(loading: Loading) -> None:
    """Two live sessions are none (cookie tossing), so that both have to be looked at."""
    cookies = [loading.profile.sealer.seal(loading.token(number), NOW) for number in range(2)]
    await loading.load(cookies[0])
    await loading.load(cookies[0] + b"; session=" + cookies[1])
    assert loading.sealer.unsealed == 3


async def test_a_known_cookie_is_refused_as_others_are_when_the_clock_is_set_back(loading: Loading) -> None:
    cookie = loading.profile.sealer.seal(loading.token(), NOW)
    for _ in range(2):  # the second time by its header
        assert not isinstance((await loading.load(cookie)).error, ExpiredSession)
    error = (await loading.load(cookie, NOW - 61)).error
    assert isinstance(error, ExpiredSession)
    assert "from the future" in str(error)


@pytest.mark.parametrize("kind", ["signed", "encrypted"])
async def test_a_known_cookie_ends_as_others_do(kind: str) -> None:
    loading = Loading(kind)
    cookie = loading.profile.sealer.seal(loading.token(), NOW)
    ends_at = NOW + loading.profile.lifetime.duration
    assert (await loading.load(cookie, ends_at - 1)).error is None
    assert isinstance((await loading.load(cookie, ends_at)).error, ExpiredSession)


@pytest.mark.parametrize("size", [50, 2500])
async def test_the_cookies_that_are_known_are_bounded(loading: Loading, size: int) -> None:
    cookies = [loading.profile.sealer.seal(loading.token(number, size), NOW) for number in range(3 * MOST_COOKIES)]
    await loading.load(cookies[0])
    tracemalloc.start()
    for cookie in cookies:
        await loading.load(bytes(bytearray(cookie)))  # a copy, as each request brings one
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(loading.profile.known) <= MOST_COOKIES
    assert used < MOST_COOKIES * (5 * len(cookies[0]) + 2500)
    loading.sealer.unsealed = 0
    for cookie in reversed(cookies):
        await loading.load(cookie)
    assert loading.sealer.unsealed == 2 * MOST_COOKIES, "the newest ones are known"
