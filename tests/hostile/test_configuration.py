"""Every configuration that cannot be right is refused when the middleware is made, with a hint what to write."""

import datetime
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Secret

from asgi_sessions import (
    CookieStore,
    JSONSerializer,
    MemoryStore,
    SessionConfig,
    SessionMiddleware,
    generate_key,
)

from ..browser import KEY, OTHER_KEY


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("never called")


async def asynchronous(scope: Any = None) -> Any:
    raise AssertionError("never called")


def configure(**options: Any) -> SessionMiddleware:
    return SessionMiddleware(app, **{"secret_key": KEY, **options})


KEYGEN = "make one with: python -m asgi_sessions keygen"

KEYS: list[tuple[str, Any, str]] = [
    ("empty", "", "secret_key is empty"),
    ("of no bytes", b"", "secret_key is empty"),
    ("of blanks", " " * 40, "secret_key is empty"),
    ("of line ends", "\n" * 40, "secret_key is empty"),
    ("an empty Secret", Secret(""), "secret_key is empty"),
    ("of three characters", "abc", "secret_key has 3 characters"),
    ("of 15 characters", "j8Q2vN0xY7cT4mB", "secret_key has 15 characters; at least 16 are needed, better 32"),
    ("of 15 bytes", b"j8Q2vN0xY7cT4mB", "secret_key has 15 characters"),
    ("of one character", "x" * 40, "secret_key"),
    ("of two characters", "ab" * 20, "secret_key"),
    ("of seven characters", "1z3y5w7" * 6, "secret_key"),
    ("that repeats itself", "a1b2c3d4" * 4, "secret_key repeats itself"),
    ("changeme", "changeme", "placeholder"),
    ("of changeme over and over", "changeme" * 5, "placeholder"),
    ("of CHANGEME, long enough", "CHANGEME-CHANGEME-CHANGEME-CHANGEME", "placeholder"),
    ("change-me", "please-change-me-in-production", "placeholder"),
    ("secret", "secret", "placeholder"),
    ("your-secret-key", "your-secret-key-here", "placeholder"),
    ("of Starlette's documentation", "your_secret_key_here", "placeholder"),
    ("super-secret", "super-secret-super-secret-super-secret", "placeholder"),
    ("some-random-string", "some-random-string", "placeholder"),
    ("password", "password1234567890", "placeholder"),
    ("the digits", "12345678901234567890123456789012", "placeholder"),
    ("the alphabet", "abcdefghijklmnopqrstuvwxyz", "placeholder"),
    ("the keyboard", "qwertyuiopasdfgh", "placeholder"),
    ("None", None, "secret_key: must be a str or bytes, not NoneType"),
    ("a number", 10**40, "secret_key: must be a str or bytes, not int"),
    ("a list of keys", [KEY], "secret_key: must be a str or bytes, not list"),
    ("a dict", {"key": KEY}, "secret_key: must be a str or bytes, not dict"),
    ("an object", object(), "secret_key: must be a str or bytes, not object"),
    ("a function", os.getenv, "secret_key: must be a str or bytes, not function"),
    ("the class Secret", Secret, "secret_key: must be a str or bytes, not type"),
]


@pytest.mark.parametrize(("key", "message"), [pytest.param(key, text, id=name) for name, key, text in KEYS])
def test_a_weak_key_is_refused_with_a_hint(key: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as caught:
        configure(secret_key=key)
    assert KEYGEN in str(caught.value)


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ([KEY], r"fallback_keys\[0\]: the same key stands there twice"),
        ([OTHER_KEY, OTHER_KEY], r"fallback_keys\[1\]: the same key stands there twice"),
        ([KEY.encode()], r"fallback_keys\[0\]: the same key"),
        ([Secret(KEY)], r"fallback_keys\[0\]: the same key"),
        ([OTHER_KEY, "short"], r"fallback_keys\[1\] has 5 characters"),
        ([None], r"fallback_keys\[0\]: must be a str or bytes"),
        (OTHER_KEY, "fallback_keys: must be a list of keys, not a single one"),
        (OTHER_KEY.encode(), "fallback_keys: must be a list"),
        (None, "fallback_keys: must be a list"),
        ({OTHER_KEY}, "fallback_keys: must be a list"),
    ],
)
def test_fallback_keys_are_held_to_the_same_rules(fallback: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        configure(fallback_keys=fallback)


def test_no_key_that_is_printed_in_our_documents_is_accepted() -> None:
    root = Path(__file__).parents[2]
    for file in (root / "README.md", *(root / "asgi_sessions").rglob("*.py")):
        for key in re.findall(r"""secret_key\s*=\s*["']([^"']*)["']""", file.read_text()):
            with pytest.raises(ValueError, match="secret_key"):
                configure(secret_key=key)


def test_a_key_of_keygen_is_accepted_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    configure(secret_key=generate_key(), fallback_keys=[generate_key()])
    assert caplog.records == []


def test_a_key_of_fewer_than_32_characters_is_accepted_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    configure(secret_key="j8Q2vN0xY7cT4mB1sL6f")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert KEYGEN in record.getMessage()


# -- cookies ---------------------------------------------------------------------------------------------------------

NAMES = [
    "",
    " ",
    "a b",
    "a;b",
    "a=b",
    "a,b",
    'a"b',
    "a\\b",
    "a/b",
    "a\r\nSet-Cookie: b",
    "a\x00",
    "a\x7f",
    "ä",
    "x" * 257,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_cookie_name_that_is_no_token_is_refused(name: str) -> None:
    for options in ({"session_cookie": name}, {"sessions": [SessionConfig("a", cookie_name=name)]}):
        with pytest.raises(ValueError, match=r"cookie name .*write"):
            configure(**options)


COOKIES: list[tuple[dict[str, Any], str]] = [
    ({"session_cookie": b"session"}, "cookie name b'session': write a str such as 'session'"),
    ({"session_cookie": 5}, "cookie name 5: write a str"),
    ({"session_cookie": "__Host-id", "https_only": False}, "without Secure; write None or True"),
    ({"session_cookie": "__host-id", "https_only": False}, "without Secure; write None or True"),
    ({"session_cookie": "__HOST-id", "domain": "example.com"}, "write domain=None"),
    ({"session_cookie": "__Host-id", "path": "/app"}, "write path='/'"),
    ({"session_cookie": "__hOsT-id", "path": "/app"}, "write path='/'"),
    ({"session_cookie": "__secure-id", "https_only": False}, "without Secure; write None or True"),
    ({"same_site": "none", "https_only": False}, "same_site='none' without Secure; write None or True"),
    ({"partitioned": True, "https_only": False}, "partitioned=True without Secure; write None or True"),
    ({"same_site": "Laxx"}, "write 'lax', 'strict' or 'none'"),
    ({"same_site": "lax; HttpOnly"}, "write 'lax', 'strict' or 'none'"),
    ({"same_site": False}, "write 'lax', 'strict' or 'none'"),
    ({"path": ""}, "must start with '/'"),
    ({"path": "app"}, "must start with '/'"),
    ({"path": None}, "write a str such as '/'"),
    ({"path": "/a;b"}, "write printable ASCII"),
    ({"path": "/a b"}, "write printable ASCII"),
    ({"path": "/\r\nSet-Cookie: evil=1"}, "write printable ASCII"),
    ({"path": "/é"}, "write printable ASCII"),
    ({"path": "/" + "x" * 1024}, "write at most 1024"),
    ({"domain": ""}, "write a host name"),
    ({"domain": "https://example.com"}, "write a host name"),
    ({"domain": "example.com:8000"}, "write a host name"),
    ({"domain": "example.com; Path=/"}, "write a host name"),
    ({"domain": "example.com\n"}, "write a host name"),
    ({"domain": "münchen.de"}, "write its ASCII form"),
    ({"domain": ".".join(["x" * 60] * 5)}, "write at most 253"),
    ({"domain": 5}, "write a str such as 'example.com'"),
    ({"https_only": "yes"}, "https_only='yes': write True or False"),
    ({"http_only": 1}, "http_only=1: write True or False"),
    ({"partitioned": None}, "partitioned=None: write True or False"),
]


@pytest.mark.parametrize(("options", "message"), COOKIES, ids=str)
def test_a_cookie_that_browsers_would_refuse_or_misread_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        configure(**options)


@pytest.mark.parametrize(("options", "message"), COOKIES, ids=str)
def test_further_sessions_are_held_to_the_same_rules(options: dict[str, Any], message: str) -> None:
    further = {"cookie_name" if name == "session_cookie" else name: value for name, value in options.items()}
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        configure(sessions=[SessionConfig("further", **further)])


# -- several sessions ------------------------------------------------------------------------------------------------

SESSIONS: list[tuple[Any, str]] = [
    ([SessionConfig("session")], "sessions: two of the name 'session'; names must differ"),
    ([SessionConfig("a"), SessionConfig("a", cookie_name="b")], "sessions: two of the name 'a'"),
    ([SessionConfig("a", cookie_name="session")], "share the cookie name 'session'; give one of them a cookie_name"),
    ([SessionConfig("a"), SessionConfig("b", cookie_name="a")], "share the cookie name 'a'"),
    ([SessionConfig("")], "the name '' must be a str such as 'cart'"),
    ([SessionConfig("", cookie_name="a")], "the name '' must be a str such as 'cart'"),
    ([SessionConfig(None, cookie_name="a")], "the name None must be a str"),  # type: ignore[arg-type]  # the mistake
    ([SessionConfig([], cookie_name="a")], "the name [] must be a str"),  # type: ignore[arg-type]  # the mistake
    ([SessionConfig(b"cart")], "the name b'cart' must be a str"),  # type: ignore[arg-type]  # the mistake
    (["cart"], "sessions: 'cart' must be a SessionConfig; write [SessionConfig('cart'), ...]"),
    ("cart", "must be a SessionConfig; write"),
    ({"cart": SessionConfig("cart")}, "sessions: 'cart' must be a SessionConfig"),
    ([SessionConfig], "must be a SessionConfig"),
    ([None], "sessions: None must be a SessionConfig"),
    (SessionConfig("cart"), "write a list of SessionConfig objects"),
    (None, "sessions=None: write a list of SessionConfig objects"),
    (5, "sessions=5: write a list of SessionConfig objects"),
]


@pytest.mark.parametrize(("sessions", "message"), SESSIONS)
def test_sessions_that_overlap_or_are_none_are_refused(sessions: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        configure(sessions=sessions)


def test_sessions_with_names_of_their_own_are_accepted() -> None:
    configure(sessions=(SessionConfig(name, cookie_name=f"__Host-{name}") for name in ("a", "b")))


# -- lifetimes -------------------------------------------------------------------------------------------------------

LIFETIMES: list[tuple[dict[str, Any], str]] = [
    ({"max_age": "14d"}, "max_age='14d': must be a number of seconds, or None"),
    ({"max_age": datetime.timedelta(days=1)}, "must be a number of seconds, or None"),
    ({"max_age": True}, "max_age=True: must be a number of seconds, or None"),
    ({"max_age": float("nan")}, "max_age=nan: must be a number of seconds, or None"),
    ({"max_age": float("inf")}, "max_age=inf: must be a number of seconds, or None"),
    ({"browser_session_ttl": 0}, "browser_session_ttl=0: must be more than 0 seconds"),
    ({"browser_session_ttl": -1}, "browser_session_ttl=-1: must be more than 0 seconds"),
    ({"browser_session_ttl": None}, "browser_session_ttl=None: must be more than 0 seconds"),
    ({"absolute_timeout": 0}, "absolute_timeout=0: must be more than 0 seconds, or None"),
    ({"absolute_timeout": "1h"}, "absolute_timeout='1h': must be a number of seconds, or None"),
    ({"refresh_interval": -1}, "refresh_interval=-1: must not be negative; None picks one"),
    ({"refresh_interval": 60, "max_age": 60}, "make it shorter, or set rolling=False"),
    ({"refresh_interval": 61, "max_age": 60}, "make it shorter, or set rolling=False"),
    ({"refresh_interval": 60, "max_age": None, "browser_session_ttl": 60}, "make it shorter, or set rolling=False"),
    ({"refresh_interval": 60, "absolute_timeout": 60}, "make it shorter, or set rolling=False"),
    ({"rolling": "no"}, "rolling='no': write True or False"),
    ({"rolling": None}, "rolling=None: write True or False"),
]


@pytest.mark.parametrize(("options", "message"), LIFETIMES, ids=str)
def test_a_lifetime_that_contradicts_itself_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        configure(**options)
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        configure(sessions=[SessionConfig("further", **options)])


def test_a_contradiction_between_a_session_and_the_middleware_is_refused() -> None:
    with pytest.raises(ValueError, match="refresh_interval=3600 is not shorter than the lifetime of 600 s"):
        configure(refresh_interval=3600, sessions=[SessionConfig("short", max_age=600)])


@pytest.mark.parametrize(
    "options",
    [
        {"max_age": 0},
        {"max_age": -1},
        {
            "absolute_timeout": 8 * 3600
        },  # shorter than max_age: the cookie then ends with it, as whoever writes it wants
        {"max_age": None, "absolute_timeout": 3600},
        {"refresh_interval": 0},
        {"refresh_interval": 3600, "rolling": False, "max_age": 60},
    ],
    ids=str,
)
def test_a_lifetime_that_can_be_meant_is_accepted(options: dict[str, Any]) -> None:
    configure(**options)


# -- everything else -------------------------------------------------------------------------------------------------

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"store": MemoryStore}, "must be a store, such as MemoryStore()"),
    ({"store": CookieStore}, "must be a store, such as MemoryStore()"),
    ({"store": "redis://localhost"}, "store='redis://localhost' must be a store"),
    ({"store": {}}, "store={} must be a store"),
    ({"serializer": JSONSerializer}, "must be one, such as JSONSerializer()"),
    ({"serializer": json}, "must be one, such as JSONSerializer()"),
    ({"serializer": "json"}, "serializer='json' must be one"),
    ({"encrypt": "no"}, "encrypt='no': write True or False"),
    ({"encrypt": 1}, "encrypt=1: write True or False"),
    ({"encrypt": None}, "encrypt=None: write True or False"),
    ({"autoload": 1}, "autoload=1: write True, False, or a function of the scope"),
    ({"autoload": None}, "autoload=None: write True, False, or a function"),
    ({"autoload": "/"}, "autoload='/': write True, False, or a function"),
    ({"autoload": asynchronous}, "must not be async; write a plain function of the scope"),
    ({"on_store_error": "ignore"}, "on_store_error='ignore': write 'respond' or 'raise'"),
    ({"on_store_error": None}, "on_store_error=None: write 'respond' or 'raise'"),
    ({"on_store_error": []}, "on_store_error=[]: write 'respond' or 'raise'"),
    ({"on_store_error": 503}, "on_store_error=503: write 'respond' or 'raise'"),
    ({"commit_timeout": 0}, "commit_timeout=0: must be a number of seconds, more than 0"),
    ({"commit_timeout": float("nan")}, "commit_timeout=nan: must be a number of seconds"),
    ({"commit_timeout": "10"}, "commit_timeout='10': must be a number of seconds"),
    ({"commit_timeout": None}, "commit_timeout=None: must be a number of seconds"),
    ({"commit_timeout": True}, "commit_timeout=True: must be a number of seconds"),
    ({"clock": 5.0}, "clock=5.0: write a function that returns POSIX seconds, such as time.time"),
    ({"clock": None}, "clock=None: write a function"),
    ({"clock": asynchronous}, "write a function that returns POSIX seconds"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_an_option_that_can_not_be_right_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        configure(**options)


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="same_sites"):
        configure(same_sites="lax")
    with pytest.raises(TypeError, match="lifetime"):
        SessionConfig("a", lifetime=5)  # type: ignore[call-arg]  # the mistake


def test_no_refusal_quotes_a_key() -> None:
    for key, fallback in ((KEY, [KEY]), ([KEY], ()), (KEY, KEY), ({"key": KEY}, ())):
        with pytest.raises((ValueError, TypeError)) as caught:
            configure(secret_key=key, fallback_keys=fallback)
        assert KEY not in str(caught.value)
