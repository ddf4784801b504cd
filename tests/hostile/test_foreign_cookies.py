"""Cookies of other frameworks, made with the same secret."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import msgspec
import pytest
from cryptography.fernet import Fernet
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from asgi_sessions import CookieRefused

from ..browser import KEY
from .target import Target, cookies, refused_calmly

PAYLOAD = {"user": "ann", "_auth_user_id": "1"}


def starlette_cookie() -> bytes:
    return TimestampSigner(KEY).sign(base64.b64encode(json.dumps(PAYLOAD).encode()))


def flask_cookie() -> str | bytes:
    options = {"key_derivation": "hmac"}
    return URLSafeTimedSerializer(KEY, salt="cookie-session", signer_kwargs=options).dumps(PAYLOAD)


def flask_cookie_of_sha256() -> str | bytes:
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeTimedSerializer(KEY, salt="cookie-session", signer_kwargs=options).dumps(PAYLOAD)


def django_cookie() -> bytes:
    """``payload:time:signature`` under a key made of salt and secret (django.core.signing's layout)."""
    text = base64.urlsafe_b64encode(json.dumps(PAYLOAD).encode()).rstrip(b"=") + b":1vXyZ0"
    key = hashlib.sha256(b"django.contrib.sessions.backends.signed_cookiessigner" + KEY.encode()).digest()
    return text + b":" + base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=")


def fernet_cookie() -> bytes:
    return Fernet(base64.urlsafe_b64encode(KEY.encode()[:32])).encrypt(json.dumps(PAYLOAD).encode())


def unpadded_fernet_cookie() -> bytes:
    return fernet_cookie().rstrip(b"=")


def msgpack_cookie() -> bytes:
    """Our own format, signed as itsdangerous does by default."""
    now = int(time.time())
    record = msgspec.msgpack.encode({"v": b"\x81\xa4user\xa3ann", "t": now, "s": now, "i": b"identity"})
    return TimestampSigner(KEY).sign(base64.urlsafe_b64encode(record).rstrip(b"="))


FOREIGN: list[Callable[[], str | bytes]] = [
    starlette_cookie, flask_cookie, flask_cookie_of_sha256, django_cookie, fernet_cookie, unpadded_fernet_cookie,
    msgpack_cookie,
]  # fmt: skip


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
async def test_foreign_cookie_made_with_the_same_secret(target: Target, make: Callable[[], str | bytes]) -> None:
    await refused_calmly(target, cookies(make()), CookieRefused)
