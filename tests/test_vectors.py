"""What was written once is read: tokens and records that were committed to ``vectors``, see ``vectors.make``."""

import json
from typing import Any

import msgspec
import pytest

from asgi_sessions import MemoryStore, Session, SessionMiddleware
from asgi_sessions._engine.record import Record, token_of

from .browser import KEY, OTHER_KEY, Browser, Clock, application
from .vectors.make import CODECS, HANDLE, HERE, NOW, PREVIOUS, SEALERS, SECRET, SERIALIZERS, described


def vectors(name: str) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return read


RECORDS, COOKIES = vectors("records"), vectors("cookies")
SESSIONS = [vector for vector in COOKIES if vector["codec"] is not None]
(TOKEN,) = [vector for vector in COOKIES if vector["codec"] is None]


def by_name(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


# -- fields and values ------------------------------------------------------------------------------------------------


@by_name(RECORDS)
def test_a_record_is_read_with_all_its_fields(vector: dict[str, Any]) -> None:
    codec = CODECS[vector["codec"]]
    record = codec.decode(bytes.fromhex(vector["data"]), HANDLE)
    assert described(record) == vector["record"]
    assert repr(codec.values(record)) == vector["values"]


@by_name(SESSIONS)
def test_the_record_in_a_cookie_is_read_with_all_its_fields(vector: dict[str, Any]) -> None:
    codec = CODECS[vector["codec"]]
    unsealed = SEALERS[vector["mode"]].unseal(vector["cookie"].encode(), NOW)
    assert (unsealed.token.hex(), unsealed.sealed_at, unsealed.stale) == (vector["token"], NOW, False)
    record = codec.decode(unsealed.token)
    assert described(record) == vector["record"]
    assert repr(codec.values(record)) == vector["values"]


def test_the_token_of_a_session_on_the_server_is_read() -> None:
    token = token_of(SEALERS[TOKEN["mode"]].unseal(TOKEN["cookie"].encode(), NOW))
    assert (token.handle, token.secret, token.renewed_at) == (HANDLE, SECRET, NOW)


@pytest.mark.parametrize("codec", CODECS)
def test_every_field_of_a_record_is_in_the_vectors(codec: str) -> None:
    """A new field has to be: make the vectors anew, or beside the former ones."""
    known = [vector["record"].keys() for vector in [*RECORDS, *SESSIONS] if vector["codec"] == codec]
    assert {*Record.__struct_fields__} in known


# -- what is written now is read by who reads the vectors -------------------------------------------------------------


@by_name([vector for vector in RECORDS if "encrypted" not in vector["codec"]])
def test_a_record_is_written_as_it_was(vector: dict[str, Any]) -> None:
    codec = CODECS[vector["codec"]]
    data = bytes.fromhex(vector["data"])
    record = codec.decode(data, HANDLE)
    again = msgspec.structs.replace(record, values=codec.serializer.dumps(codec.values(record)))
    assert codec.encode(again, HANDLE) == data


@by_name([vector for vector in COOKIES if vector["mode"] == "signed"])
def test_a_token_is_signed_as_it_was(vector: dict[str, Any]) -> None:
    assert SEALERS["signed"].seal(bytes.fromhex(vector["token"]), NOW).decode() == vector["cookie"]


# -- requests ---------------------------------------------------------------------------------------------------------


async def show(session: Session) -> Any:
    return {
        "error": repr(session.error),
        "values": repr(dict(session)),
        "flashes": [list(flash) for flash in session.peek_flashes()],
        "owner": session.owner,
        "label": session.label,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "path": session.cookie_options.path,
    }


def shown(vector: dict[str, Any]) -> Any:
    """What the application is to see of it."""
    if "remember" not in vector["record"]:
        return {
            "error": "None",
            "values": vector["values"],
            "flashes": [],
            "owner": vector["record"].get("owner"),
            "label": {},
            "created_at": NOW - 20,
            "expires_at": NOW + 14 * 86400,
            "path": "/",
        }
    return {
        "error": "None",
        "values": vector["values"],
        "flashes": [["info", "saved"], ["wärning", ["a", 1]]],
        "owner": "ann@example.com",
        "label": {"device": "phone", "city": "Zürich"},
        "created_at": NOW - 5000,
        "expires_at": NOW + 2_592_000,
        "path": "/shop",
    }


def app_of(vector: dict[str, Any], **options: Any) -> SessionMiddleware:
    options.setdefault("serializer", SERIALIZERS[vector["codec"].split(", ")[1]])
    return application(show, clock=Clock(NOW + 10), **options)


@by_name(SESSIONS)
async def test_a_cookie_session_goes_on(vector: dict[str, Any]) -> None:
    app = app_of(vector, encrypt=vector["mode"] == "encrypted")
    response = await Browser(app).get(cookie=f"session={vector['cookie']}")
    assert response.json() == shown(vector)
    assert response.set_cookies == []


@by_name(SESSIONS)
async def test_a_cookie_session_goes_on_after_a_change_of_keys(vector: dict[str, Any]) -> None:
    keys = {"secret_key": OTHER_KEY, "fallback_keys": [KEY]}
    app = app_of(vector, encrypt=vector["mode"] == "encrypted", **keys)
    response = await Browser(app).get(cookie=f"session={vector['cookie']}")
    assert response.json()["values"] == vector["values"]


@by_name(RECORDS)
async def test_a_session_on_the_server_goes_on(vector: dict[str, Any]) -> None:
    store = MemoryStore(clock=Clock(NOW))
    await store.create(HANDLE, b"version!", bytes.fromhex(vector["data"]), NOW + 10_000_000)
    app = app_of(vector, encrypt="encrypted" in vector["codec"], store=store)
    response = await Browser(app).get(cookie=f"session={TOKEN['cookie']}")
    assert response.json() == shown(vector)
    assert response.set_cookies == []


@by_name(RECORDS)
async def test_the_previous_secret_of_a_session_on_the_server_is_told_from_others(vector: dict[str, Any]) -> None:
    store = MemoryStore(clock=Clock(NOW))
    await store.create(HANDLE, b"version!", bytes.fromhex(vector["data"]), NOW + 10_000_000)
    app = app_of(vector, encrypt="encrypted" in vector["codec"], store=store)
    cookie = SEALERS["signed"].seal(HANDLE + PREVIOUS, NOW).decode()
    response = await Browser(app).get(cookie=f"session={cookie}")
    expected = "RegeneratedSession" if "previous_hash" in vector["record"] else "UnknownSession"
    assert expected in response.json()["error"]
