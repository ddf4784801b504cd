"""Records that a newer version of this package wrote: refused, left as they are, and still ended by a logout.

A release is rolled out, or back, server by server: for a while both versions work on the same store.
"""

import logging
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from asgi_sessions import (
    JSONSerializer,
    MalformedSession,
    MessagePackSerializer,
    NewerFormat,
    RecordStore,
    Serializer,
    Session,
    SessionSuperseded,
    Stored,
    get_sessions,
)
from asgi_sessions._engine.codec import FORMAT, RecordCodec
from asgi_sessions._engine.record import Record
from asgi_sessions.crypto.keys import Keyring
from tests.browser import KEY, Browser, Clock, application

NOW = 1_800_000_000
SEALER = Keyring(KEY).record_encrypter("session")


@dataclass(frozen=True)
class Form:
    """How records are written.

    Attributes:
        known: whether this version knows the fields of the newer one.
    """

    serializer: Serializer
    encrypt: bool
    known: bool

    def numbered(self, data: bytes, handle: bytes, number: int) -> bytes:
        """The record as a version of that format number would have written it; 0 is no number at all."""
        coder: Any = msgspec.json if self.serializer.text else msgspec.msgpack
        fields = coder.decode(SEALER.unseal(data, handle) if self.encrypt else data)
        fields.pop(self.name)
        fields |= {self.name: number} if number else {}
        if not self.known:
            fields |= (
                {"created_at": "today", "started_at": [1]} if self.serializer.text else {"v": {"a": 1}, "t": "now"}
            )
        data = coder.encode(fields)
        return SEALER.seal(data, handle) if self.encrypt else data

    @property
    def name(self) -> str:
        return "format" if self.serializer.text else "z"


PACK, TEXT = MessagePackSerializer(), JSONSerializer()
KNOWN = {
    "msgpack": Form(PACK, encrypt=False, known=True),
    "json": Form(TEXT, encrypt=False, known=True),
    "encrypted msgpack": Form(PACK, encrypt=True, known=True),
    "encrypted json": Form(TEXT, encrypt=True, known=True),
}
UNKNOWN = {
    "msgpack of unknown fields": Form(PACK, encrypt=False, known=False),
    "json of unknown fields": Form(TEXT, encrypt=False, known=False),
    "encrypted msgpack of unknown fields": Form(PACK, encrypt=True, known=False),
}
FORMS = {**KNOWN, **UNKNOWN}


class Site:
    """This version's servers, and a newer one that rewrites the visitor's record when it is told to."""

    def __init__(self, store: RecordStore, form: Form) -> None:
        self.store, self.form, self.clock = store, form, Clock()
        self.handle = b""
        self.newer: Stored | None = None
        self.errors: list[Any] = []

        async def exclusive(scope: Any) -> None:
            await self.rewrite()
            with pytest.raises(SessionSuperseded, match="ended or was regenerated meanwhile"):
                async with get_sessions(scope).exclusive("session"):
                    raise AssertionError("nobody may be inside")

        routes = {
            "/fill": self.fill,
            "/": self.look,
            "/save": self.save,
            "/write": self.write,
            "/logout": self.logout,
            "/idle": self.idle,
            "/exclusive": exclusive,
        }
        options: dict[str, Any] = {"serializer": form.serializer, "encrypt": form.encrypt, "max_age": 1000}
        self.browser = Browser(application(routes, store=store, clock=self.clock, **options))

    async def rewrite(self, number: int = FORMAT + 1) -> None:
        stored = await self.store.read(self.handle)
        assert stored is not None
        data = self.form.numbered(stored.data, self.handle, number)
        self.newer = await self.store.swap(self.handle, stored.version, b"another!", data)
        assert self.newer == Stored(b"another!", data)

    async def is_left_alone(self) -> bool:
        return self.newer is not None and await self.store.read(self.handle) == self.newer

    # -- what its handlers do -----------------------------------------------------------------------------------------

    async def fill(self, session: Session) -> None:
        session["n"] = 1
        await session.save()
        self.handle = bytes.fromhex(session.handle or "")

    async def look(self, session: Session) -> dict[Any, Any]:
        values = dict(session)
        self.errors.append(session.error)
        return values

    async def save(self, session: Session) -> None:
        session["n"] = 2
        await self.rewrite()
        with pytest.raises(SessionSuperseded, match="the changes of this request are dropped"):
            await session.save()

    async def write(self, session: Session) -> None:
        session["n"] = session.get("n", 0) + 1

    async def logout(self, session: Session) -> None:
        session["n"] = 2
        await self.rewrite()
        session.invalidate()

    async def idle(self, session: Session) -> Any:
        n = session["n"]
        await self.rewrite()
        return n


async def filled(store: RecordStore, form: Form) -> Site:
    site = Site(store, form)
    await site.browser.get("/fill")
    return site


def by_form(forms: dict[str, Form]) -> Any:
    return pytest.mark.parametrize("form", forms.values(), ids=forms.keys())


@by_form(KNOWN)
async def test_a_new_record_carries_the_number_of_its_format(server_store: RecordStore, form: Form) -> None:
    site = await filled(server_store, form)
    stored = await server_store.read(site.handle)
    assert stored is not None
    data = SEALER.unseal(stored.data, site.handle) if form.encrypt else stored.data
    coder: Any = msgspec.json if form.serializer.text else msgspec.msgpack
    assert coder.decode(data)[form.name] == FORMAT


@by_form(FORMS)
async def test_a_newer_record_is_refused_and_left_as_it_is(
    server_store: RecordStore, form: Form, caplog: pytest.LogCaptureFixture
) -> None:
    site = await filled(server_store, form)
    await site.rewrite()
    for _ in range(2):
        response = await site.browser.get("/")
        assert (response.status, response.json(), response.set_cookies) == (200, {}, [])
        assert isinstance(site.errors[-1], NewerFormat)
        assert await site.is_left_alone()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert all("newer version of this package" in record.getMessage() for record in caplog.records)


@by_form(FORMS)
async def test_a_visitor_with_a_newer_record_begins_a_session_beside_it(server_store: RecordStore, form: Form) -> None:
    site = await filled(server_store, form)
    former = dict(site.browser.jar)
    await site.rewrite()
    assert len((await site.browser.get("/write")).set_cookies) == 1
    assert site.browser.jar != former
    assert (await site.browser.get("/")).json() == {"n": 1}
    assert await site.is_left_alone()


@by_form(FORMS)
async def test_a_commit_that_meets_a_newer_record_is_dropped(server_store: RecordStore, form: Form) -> None:
    site = await filled(server_store, form)
    response = await site.browser.get("/save")
    assert (response.status, response.set_cookies) == (200, [])
    assert await site.is_left_alone()


@by_form(FORMS)
async def test_a_renewal_that_meets_a_newer_record_sends_no_cookie(server_store: RecordStore, form: Form) -> None:
    site = await filled(server_store, form)
    deadline = await server_store.deadline(site.handle)
    site.clock.now += 500
    response = await site.browser.get("/idle")
    assert (response.status, response.json(), response.set_cookies) == (200, 1, [])
    assert await site.is_left_alone()
    assert await server_store.deadline(site.handle) == deadline


@by_form(FORMS)
async def test_an_exclusive_section_that_meets_a_newer_record_is_not_entered(
    server_store: RecordStore, form: Form
) -> None:
    site = await filled(server_store, form)
    assert (await site.browser.get("/exclusive")).status == 200
    assert await site.is_left_alone()


@by_form(FORMS)
async def test_a_logout_that_meets_a_newer_record_deletes_it(server_store: RecordStore, form: Form) -> None:
    site = await filled(server_store, form)
    assert (await site.browser.get("/logout")).status == 200
    assert site.browser.jar == {}
    assert await server_store.read(site.handle) is None


@by_form(KNOWN)
async def test_a_record_without_a_number_is_read_and_written(server_store: RecordStore, form: Form) -> None:
    site = await filled(server_store, form)
    await site.rewrite(0)
    for n in (2, 3):
        await site.browser.get("/write")
        assert (await site.browser.get("/")).json() == {"n": n}
    assert site.errors == [None, None]


# -- the number -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [FORMAT + 1, 2**40, 2**40 + 1, 2**63 - 1])
@pytest.mark.parametrize("serializer", [PACK, TEXT], ids=["msgpack", "json"])
def test_any_larger_number_is_a_newer_format(serializer: Serializer, number: int) -> None:
    codec, record = RecordCodec(serializer), Record(values=serializer.dumps({}), created_at=NOW, started_at=NOW)
    with pytest.raises(NewerFormat, match="written by a newer version"):
        codec.decode(codec.encode(msgspec.structs.replace(record, format=number)))


@pytest.mark.parametrize("number", ["2", 2.5, True, None, [2], {"a": 2}, -2])
@pytest.mark.parametrize("serializer", [PACK, TEXT], ids=["msgpack", "json"])
def test_what_is_no_number_of_a_format_is_no_record(serializer: Serializer, number: Any) -> None:
    codec, record = RecordCodec(serializer), Record(values=serializer.dumps({}), created_at=NOW, started_at=NOW)
    data = codec.encode(msgspec.structs.replace(record, format=number))
    with pytest.raises(MalformedSession, match="not a session record"):
        codec.decode(data)
