"""What an application gives a session besides its values comes back, or is refused where it is given."""

import enum
from typing import Any

import pytest

from asgi_sessions import JSONSerializer, Session, Store

from .browser import Browser, application

LONE = "\ud800"


class Text(str):
    """Of one's own."""

    def __str__(self) -> str:
        return "something else"


class Number(int):
    """Of one's own."""


class Choice(enum.StrEnum):
    INFO = "info"


class Rank(enum.IntEnum):
    FIRST = 1


GIVEN = {
    "owner": [Text("ann"), Number(7), Choice.INFO, Rank.FIRST, "анна", -(2**63), 2**64 - 1, "x" * 1000],
    "label": [{Text("device"): Text("phone")}, {"device": Choice.INFO}, {}],
}
REFUSED = {
    "owner": [
        (b"ann", TypeError),
        (True, TypeError),
        (1.0, TypeError),
        (LONE, ValueError),
        (2**64, ValueError),
        (-(2**63) - 1, ValueError),
    ],
    "label": [("phone", TypeError), ({"a": 1}, TypeError), ({"a": LONE}, ValueError), ({"a": "x" * 1025}, ValueError)],
}


async def seen(session: Session) -> list[Any]:
    return [session.get("n"), session.owner, session.label, session.error is None, session.flashes()]


@pytest.mark.parametrize("serializer", [None, JSONSerializer()], ids=["MessagePack", "JSON"])
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GIVEN.items() for value in values])
async def test_what_was_given_comes_back(store: Store, serializer: Any, name: str, value: Any) -> None:
    async def give(session: Session) -> None:
        session["n"] = 1
        setattr(session, name, value)

    browser = Browser(application({"/": give, "/seen": seen}, store=store, serializer=serializer))
    assert (await browser.get()).status == 200
    found = (await browser.get("/seen")).json()
    assert (found[0], found[3]) == (1, True)
    assert found[1 if name == "owner" else 2] == value


@pytest.mark.parametrize(
    ("name", "value", "error"), [(name, *case) for name, cases in REFUSED.items() for case in cases]
)
async def test_what_can_not_be_stored_is_refused_where_it_is_given(
    store: Store, name: str, value: Any, error: type[Exception]
) -> None:
    async def give(session: Session) -> None:
        session["n"] = 1
        with pytest.raises(error, match=f"session 'session': {name}"):
            setattr(session, name, value)

    browser = Browser(application({"/": give, "/seen": seen}, store=store))
    await browser.get()
    assert (await browser.get("/seen")).json() == [1, None, {}, True, []]


@pytest.mark.parametrize(("category", "kept"), [(Choice.INFO, "info"), (Text("news"), "news"), ("новости", "новости")])
async def test_a_flash_s_category_is_plain_text(store: Store, category: str, kept: str) -> None:
    async def give(session: Session) -> None:
        session.flash("hi", category)

    async def take(session: Session) -> list[Any]:
        assert session.peek_flashes(category) == [(kept, "hi")]
        return [type(flash.category).__name__ for flash in session.flashes(category)]

    browser = Browser(application({"/": give, "/take": take}, store=store))
    await browser.get()
    assert (await browser.get("/take")).json() == ["str"]


@pytest.mark.parametrize(
    ("category", "error"), [(5, TypeError), (["a"], TypeError), (b"a", TypeError), (LONE, ValueError)]
)
async def test_a_category_that_is_none_loses_no_session(store: Store, category: Any, error: type[Exception]) -> None:
    async def give(session: Session) -> None:
        session["n"] = 1
        for use in (lambda: session.flash("hi", category), lambda: session.flashes(category)):
            with pytest.raises(error, match="category of a flash message"):
                use()

    browser = Browser(application({"/": give, "/seen": seen}, store=store))
    await browser.get()
    assert (await browser.get("/seen")).json() == [1, None, {}, True, []]
