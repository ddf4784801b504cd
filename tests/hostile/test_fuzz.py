"""Random bytes, and random damage to real ones, through the whole path.

A few seconds by default; ``pytest tests/hostile/test_fuzz.py --chaos`` runs each property fifty times longer, with a
new seed each time.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_sessions import CookieRefused, CookieStore, JSONSerializer, MemoryStore, MessagePackSerializer, Session
from asgi_sessions._engine.codec import RecordCodec
from asgi_sessions._engine.record import Record, Token, check_end, check_token, digest, times_of
from asgi_sessions.crypto.keys import Keyring
from asgi_sessions.crypto.seal import Unsealed

from ..browser import KEY, Browser, Clock, Response, application
from .target import CALM, HANDLE, SECRET, Target

NOW = Clock().now
EXAMPLES = 200
CHAOS = 50  # times as many


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> settings:
    chaos = request.config.getoption("--chaos", default=False)
    return settings(
        max_examples=EXAMPLES * (CHAOS if chaos else 1),
        deadline=None,
        derandomize=not chaos,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# -- the Cookie header -----------------------------------------------------------------------------------------------

# Pieces that mean something to some parser, so that random headers get deep.
PIECES = [
    b"session", b"session=", b"; ", b";", b"=", b",", b'"', b"\\", b"\\054", b"%3D", b" ", b"\t", b"\x00", b"\r\n",
    b"\xc2\xa0", b"\xff", b"\xed\xa0\x80", b".", b"..", b"-", b"_", b"A", b"AAAA", b"+", b"/", b"$Version=1",
    b"session =", b"SESSION=", b"\n", b"__Host-session=",
]  # fmt: skip


def headers_of(live: bytes) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    """Raw Cookie headers, made of random bytes, telling pieces and a working token that is damaged or whole."""
    index = st.integers(0, len(live) - 1)
    damaged = st.one_of(
        st.just(live),
        st.builds(lambda at, byte: live[:at] + bytes([byte]) + live[at + 1 :], index, st.integers(0, 255)),
        st.builds(lambda start, end: live[start:end], index, index),
        st.builds(lambda at, filler: live[:at] + filler + live[at:], index, st.binary(min_size=1, max_size=4)),
    )
    piece = st.one_of(st.sampled_from(PIECES), st.binary(max_size=20), damaged)
    text = st.lists(piece, max_size=30).map(b"".join)
    pair = damaged.map(lambda token: b"session=" + token)
    header = st.one_of(text, st.lists(st.one_of(pair, text), max_size=8).map(b"; ".join))
    return st.lists(header.map(lambda value: (b"cookie", value)), max_size=4)


async def _login(session: Session) -> None:
    session["user"] = "ann"
    session.owner = "ann"


async def _get(app: Any, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[Response, dict[str, str]]:
    browser = Browser(app)
    return await browser.get(path, headers=headers), browser.jar


def target_of(kind: str) -> tuple[Any, bytes, list[Any]]:
    """An application, a working token of it, and what ``session.error`` was in each request."""
    errors: list[Any] = []

    async def look(session: Session) -> Any:
        values = dict(session)
        errors.append(session.error)
        return values

    store = MemoryStore(clock=Clock()) if kind == "memory" else None
    routes = {"/": look, "/login": _login}
    app = application(routes, store=store, encrypt=kind == "encrypted", clock=Clock())
    _, jar = asyncio.run(_get(app, "/login", []))
    return app, jar["session"].encode(), errors


@pytest.mark.parametrize("kind", ["signed", "encrypted", "memory"])
def test_any_cookie_header_is_answered_calmly(kind: str, examples: settings) -> None:
    app, live, errors = target_of(kind)
    accepted = CALM.headers, b'{"user": "ann"}'
    loop = asyncio.new_event_loop()

    @examples
    @given(headers_of(live))
    def every_header(headers: list[tuple[bytes, bytes]]) -> None:
        response, jar = loop.run_until_complete(_get(app, "/", headers))
        assert response.status == 200
        assert jar == {}
        if (response.headers, response.body) == accepted:
            assert errors[-1] is None
            assert any(b"session=" + live in value.replace(b" ", b"").replace(b"\t", b"") for _, value in headers)
        else:
            assert response == CALM
            assert errors[-1] is None or isinstance(errors[-1], CookieRefused)

    try:
        every_header()
    finally:
        loop.close()
    assert any(error is not None for error in errors)
    assert None in errors


# -- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["signer", "encrypter"])
def test_any_value_is_unsealed_or_refused(mode: str, examples: settings) -> None:
    sealer, other = (getattr(Keyring(KEY), mode)("session") for _ in range(2))

    @examples
    @given(
        st.one_of(st.binary(max_size=200), st.text("AZaz09-_.=+/", max_size=300).map(str.encode)), st.floats(0, 1e10)
    )
    def every_value(value: bytes, now: float) -> None:
        with pytest.raises(CookieRefused):
            sealer.unseal(value, now)

    @examples
    @given(st.binary(max_size=300), st.integers(0, 2**40 - 1), st.floats(0, 1e10))
    def every_token(token: bytes, sealed_at: int, now: float) -> None:
        value = other.seal(token, sealed_at)
        try:
            assert sealer.unseal(value, now) == Unsealed(token, sealed_at, stale=False)
        except CookieRefused:
            assert sealed_at > now + 60

    every_value()
    every_token()


# -- records ---------------------------------------------------------------------------------------------------------

SERIALIZERS: dict[str, Callable[[], Any]] = {"msgpack": MessagePackSerializer, "json": JSONSerializer}
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=8), st.binary(max_size=40)
)
objects = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=12,
)
NAMES = [*(field.encode_name for field in msgspec.structs.fields(Record)), *Record.__struct_fields__, "unknown"]


def records(serializer: Any, readable: bool) -> st.SearchStrategy[bytes]:
    """Bytes that are nearly a record: fields of every name, with values that fit and values that do not."""
    sound = Record(values=serializer.dumps({"a": [1, {"b": "c"}]}), created_at=int(NOW), started_at=int(NOW))
    encoded = RecordCodec(serializer, readable=readable).encode(sound)
    index = st.integers(0, len(encoded) - 1)
    encode = msgspec.json.encode if readable and serializer.text else msgspec.msgpack.encode
    fields = st.dictionaries(st.sampled_from(NAMES), objects, max_size=8)
    decode = msgspec.json.decode if readable and serializer.text else msgspec.msgpack.decode
    return st.one_of(
        st.binary(max_size=100),
        st.builds(lambda at, byte: encoded[:at] + bytes([byte]) + encoded[at + 1 :], index, st.integers(0, 255)),
        st.builds(lambda start, end: encoded[start:] + encoded[:end], index, index),
        fields.map(lambda changed: encode(decode(encoded) | changed)),
        objects.map(encode),
        st.binary(max_size=60).map(lambda values: encode(decode(encoded) | {"v": values})),
        st.binary(max_size=60).map(lambda values: b"\x81\xa1a" + values),
    )


@pytest.mark.parametrize("readable", [True, False], ids=["stored", "in a cookie"])
@pytest.mark.parametrize("name", SERIALIZERS)
def test_any_record_is_decoded_or_refused(name: str, readable: bool, examples: settings) -> None:
    serializer = SERIALIZERS[name]()
    codec = RecordCodec(serializer, readable=readable)
    lifetime = application(_login).configuration.default.profile.lifetime

    @examples
    @given(records(serializer, readable))
    def every_record(data: bytes) -> None:
        try:
            record = codec.decode(data, HANDLE)
            assert isinstance(codec.values(record), dict)
            check_end(times_of(record, lifetime, NOW, stale=False)[0], NOW)
            check_token(record, Token(HANDLE, SECRET, digest(SECRET), NOW), NOW)
        except CookieRefused:
            return
        assert codec.decode(codec.encode(record, HANDLE), HANDLE) == record

    every_record()


@pytest.mark.parametrize("name", SERIALIZERS)
def test_any_values_are_decoded_or_refused(name: str, examples: settings) -> None:
    serializer = SERIALIZERS[name]()

    @examples
    @given(st.one_of(st.binary(max_size=200), objects.map(msgspec.msgpack.encode), objects.map(msgspec.json.encode)))
    def every_value(data: bytes) -> None:
        try:
            value = serializer.loads(data)
        except CookieRefused:
            return
        assert serializer.dumps(serializer.loads(serializer.dumps(value))) == serializer.dumps(value)

    every_value()


@pytest.mark.parametrize("kind", ["signed", "memory"])
def test_an_authentic_record_of_anything_is_answered_calmly(kind: str, tmp_path: Path, examples: settings) -> None:
    """What a stolen key, or somebody who writes to the store, could try: the handler runs, whatever it is."""
    loop = asyncio.new_event_loop()
    store: Any = MemoryStore(clock=Clock()) if kind == "memory" else CookieStore()
    target = Target(kind, store, tmp_path)

    @examples
    @given(records(MessagePackSerializer(), readable=False))
    def every_record(data: bytes) -> None:
        async def attempt() -> Response:
            cookie = await target.planted(data)
            response = await target.browser().get(cookie=f"session={cookie}")
            if target.server_side:
                await store.delete(HANDLE)
            return response

        ran = len(target.errors)
        if len(target.seal(data)) > 4000:
            return
        response = loop.run_until_complete(attempt())
        assert response.status == 200
        assert len(target.errors) == ran + 1
        assert response.set_cookies == []

    try:
        every_record()
    finally:
        loop.close()
