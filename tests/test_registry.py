"""The registry: several sessions of one connection, by name."""

import gc
import weakref
from fractions import Fraction
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asgi_sessions import (
    CookieTooLarge,
    MemoryStore,
    MessagePackSerializer,
    SerializationError,
    Session,
    SessionConfig,
    SessionNotConfigured,
    SessionNotLoaded,
    SessionRegistry,
    Stored,
    StoreUnavailable,
    get_session,
    get_sessions,
)

from .browser import Browser, application


class Counting(MemoryStore):
    """Counts reads and writes; lets other tasks run during a read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = 0

    async def read(self, handle: bytes) -> Stored | None:
        self.reads += 1
        await anyio.lowlevel.checkpoint()
        return await super().read(handle)

    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        self.writes += 1
        return await super().create(handle, new, data, expires_at)

    async def swap(
        self, handle: bytes, old: bytes, new: bytes, data: bytes, expires_at: float | None = None
    ) -> Stored | None:
        self.writes += 1
        return await super().swap(handle, old, new, data, expires_at)


class Broken(MemoryStore):
    async def create(self, handle: bytes, new: bytes, data: bytes, expires_at: float) -> bool:
        raise OSError("no such disk")


async def fill_default(session: Session) -> None:
    session["n"] = 1


async def fill_cart(scope: Any) -> None:
    cart = await scope["sessions"].get("cart")
    cart["n"] = cart.get("n", 0) + 1


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_session_is_loaded_once_even_when_awaited_concurrently() -> None:
    store = Counting()
    seen: list[Session] = []

    async def many(scope: Any) -> None:
        async def get() -> None:
            seen.append(await get_session_of(scope))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(get)

    async def get_session_of(scope: Any) -> Session:
        return await get_sessions(scope).get("cart")

    browser = Browser(application({"/fill": fill_cart, "/": many}, sessions=[SessionConfig("cart", store=store)]))
    await browser.get("/fill")
    assert store.reads == 0
    await browser.get("/")
    assert store.reads == 1
    assert len({id(session) for session in seen}) == 1


async def test_a_load_that_was_cancelled_is_done_by_the_next_one() -> None:
    store = Counting()

    async def impatient(scope: Any) -> Any:
        with anyio.CancelScope() as cancelled:
            cancelled.cancel()
            await scope["sessions"].get("cart")
        return dict(await scope["sessions"].get("cart"))

    browser = Browser(application({"/fill": fill_cart, "/": impatient}, sessions=[SessionConfig("cart", store=store)]))
    await browser.get("/fill")
    assert (await browser.get("/")).json() == {"n": 1}


async def test_a_record_that_can_not_be_decoded_any_more_is_put_aside_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    serializer = MessagePackSerializer()
    readable = True

    def decode(value: str) -> Fraction:
        if not readable:
            raise RuntimeError("no")
        return Fraction(value)

    serializer.register(Fraction, "Fraction", str, decode)

    async def fill(session: Session) -> None:
        session["half"] = Fraction(1, 2)

    async def read(session: Session) -> Any:
        return str(session.get("half")), type(session.error).__name__

    browser = Browser(application({"/fill": fill, "/": read}, store=MemoryStore(), serializer=serializer))
    await browser.get("/fill")
    for _ in range(2):
        assert (await browser.get("/")).json() == ["1/2", "NoneType"]
    assert caplog.text == ""
    readable = False
    assert (await browser.get("/")).json() == ["None", "MalformedSession"]
    assert "cannot be read and is put aside" in caplog.text


async def test_a_session_that_was_loaded_at_the_second_attempt_is_freed_with_its_request() -> None:
    class Failing(MemoryStore):
        fails = False

        async def read(self, handle: bytes) -> Stored | None:
            if self.fails:
                self.fails = False
                raise OSError("for once")
            return await super().read(handle)

    freed: list[weakref.ref[Session]] = []

    async def again(scope: Any) -> Any:
        session = await scope["sessions"].get()
        freed.append(weakref.ref(session))
        return dict(session)

    store = Failing()
    browser = Browser(application({"/fill": fill_default, "/": again}, store=store))
    await browser.get("/fill")
    gc.collect()
    gc.disable()
    try:
        store.fails = True
        assert (await browser.get("/")).json() == {"n": 1}
        await anyio.lowlevel.checkpoint()
        assert freed[0]() is None
    finally:
        gc.enable()


async def test_no_cookie_no_read() -> None:
    store = Counting()
    await Browser(application(fill_cart, sessions=[SessionConfig("cart", store=store)])).get()
    assert (store.reads, store.writes) == (0, 1)


async def test_an_unknown_name_is_an_error_that_names_the_known_ones() -> None:
    async def get(scope: Any) -> None:
        await scope["sessions"].get("basket")

    browser = Browser(application(get, sessions=[SessionConfig("cart")]))
    with pytest.raises(SessionNotConfigured, match=r"no session 'basket'; configured: 'session', 'cart'; add"):
        await browser.get()


async def test_a_name_that_was_not_configured_lives_in_the_store_that_is_named() -> None:
    store = Counting()

    async def get(scope: Any) -> Any:
        wishes = await get_sessions(scope).get("wishes", store=store)
        wishes["n"] = wishes.get("n", 0) + 1
        assert await get_sessions(scope).get("wishes") is wishes
        return wishes["n"]

    browser = Browser(application(get, max_age=60))
    first = await browser.get()
    assert first.set_cookies[0].startswith("wishes=")
    assert "; Max-Age=60;" in first.set_cookies[0]
    assert (await browser.get()).json() == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("no good", r"' '|space"), ("", "empty"), ("session", "kept in another store"), ("cart", "kept in another store")],
)
async def test_a_name_for_another_store_must_be_a_cookie_name_and_free(name: str, message: str) -> None:
    async def get(scope: Any) -> None:
        await scope["sessions"].get(name, store=MemoryStore())

    browser = Browser(application(get, sessions=[SessionConfig("cart", store=MemoryStore())]))
    with pytest.raises(ValueError, match=message):
        await browser.get()


async def test_the_default_session_needs_no_name() -> None:
    async def get(scope: Any) -> bool:
        sessions = get_sessions(scope)
        assert [session.name for session in sessions] == []
        same = await sessions.get() is scope["session"]
        assert [session.name for session in sessions] == ["session"]
        return same

    assert (await Browser(application(get)).get()).json() is True


async def test_without_a_middleware_the_error_says_so() -> None:
    with pytest.raises(SessionNotConfigured, match="no SessionMiddleware"):
        get_sessions({"type": "http"})
    with pytest.raises(SessionNotConfigured, match="no SessionMiddleware"):
        await get_session({"type": "http"}, "cart")


async def test_a_session_that_is_not_loaded_says_what_to_await() -> None:
    async def use(scope: Any) -> Any:
        with pytest.raises(SessionNotLoaded, match=r"await get_sessions\(scope\)\.get\('session'\)"):
            scope["session"]["a"]
        assert "not loaded" in repr(scope["session"])
        return dict(await get_sessions(scope).get())

    assert (await Browser(application(use, store=MemoryStore(), autoload=False)).get()).json() == {}


async def test_autoload_can_depend_on_the_scope() -> None:
    store = Counting()

    async def fill(session: Session) -> None:
        session["a"] = 1

    async def idle(scope: Any) -> None:
        pass

    app = application(
        {"/fill": fill, "/idle": idle, "/static": idle},
        store=store,
        autoload=lambda scope: not scope["path"].startswith("/static"),
    )
    browser = Browser(app)
    await browser.get("/fill")
    await browser.get("/static")
    assert store.reads == 0
    await browser.get("/idle")
    assert store.reads == 1


async def test_a_batch_save_writes_everything_that_changed_and_only_that() -> None:
    first, second = Counting(), Counting()

    async def save(scope: Any) -> None:
        sessions: SessionRegistry = scope["sessions"]
        (await sessions.get("a"))["n"] = 1
        await sessions.get("b")
        await sessions.save()
        assert (first.writes, second.writes) == (1, 0)

    configured = [SessionConfig("a", store=first), SessionConfig("b", store=second)]
    response = await Browser(application(save, sessions=configured)).get()
    assert [line.partition("=")[0] for line in response.set_cookies] == ["a"]
    assert (first.writes, second.writes) == (1, 0)


async def test_a_batch_save_names_each_session_that_failed() -> None:
    good = Counting()

    async def save(scope: Any) -> None:
        sessions: SessionRegistry = scope["sessions"]
        for name in ("a", "b", "c"):
            (await sessions.get(name))["n"] = 1
        with pytest.raises(ExceptionGroup, match=r"sessions not saved: 'a', 'c'") as caught:
            await sessions.save()
        assert all(isinstance(error, StoreUnavailable) for error in caught.value.exceptions)
        assert all(isinstance(error.__cause__, OSError) for error in caught.value.exceptions)
        assert good.writes == 1
        for name in ("a", "c"):
            (await sessions.get(name)).clear()

    configured = [SessionConfig(name, store=store) for name, store in (("a", Broken()), ("b", good), ("c", Broken()))]
    response = await Browser(application(save, sessions=configured)).get()
    assert [line.partition("=")[0] for line in response.set_cookies] == ["b"]


async def test_a_batch_save_that_can_not_encode_writes_nothing() -> None:
    good = Counting()

    async def save(scope: Any) -> None:
        sessions: SessionRegistry = scope["sessions"]
        (await sessions.get("good"))["n"] = 1
        (await sessions.get("bad"))["n"] = object()
        (await sessions.get("big"))["text"] = "x" * 5000
        with pytest.raises(ExceptionGroup, match="'bad', 'big'") as caught:
            await sessions.save()
        assert [type(error) for error in caught.value.exceptions] == [SerializationError, CookieTooLarge]
        assert good.writes == 0
        for name in ("bad", "big"):
            (await sessions.get(name)).clear()

    configured = [SessionConfig("good", store=good), SessionConfig("bad", store=MemoryStore()), SessionConfig("big")]
    await Browser(application(save, sessions=configured)).get()
    assert good.writes == 1


async def test_a_cookie_that_is_too_large_names_size_limit_and_keys() -> None:
    good = Counting()

    async def fill(scope: Any) -> None:
        (await scope["sessions"].get("good"))["n"] = 1
        scope["session"].update(small=1, biggest="x" * 4000, big="x" * 1000)

    browser = Browser(application(fill, sessions=[SessionConfig("good", store=good)]))
    with pytest.raises(
        CookieTooLarge, match=r"at most 4096; largest keys: 'biggest' \(4003 bytes\), 'big' \(1003"
    ) as e:
        await browser.get()
    assert e.value.session == "session"
    assert e.value.size > e.value.limit == 4096
    assert good.writes == 0


async def test_save_makes_a_new_base_and_the_cookie_comes_with_the_response() -> None:
    store = Counting()

    async def save(session: Session) -> None:
        session["a"] = 1
        await session.save()
        assert store.writes == 1
        assert session.handle is not None
        await session.save()
        assert store.writes == 1

    response = await Browser(application(save, store=store)).get()
    assert len(response.set_cookies) == 1
    assert store.writes == 1


async def test_a_session_that_a_request_has_opened_stays_known_to_it() -> None:
    store = MemoryStore()

    async def look(scope: Any) -> bool:
        sessions = scope["sessions"]
        first = await sessions.get("tenant", store=store)
        for number in range(300):
            await sessions.get(f"tenant-{number}", store=store)
        return first is await sessions.get("tenant")

    assert (await Browser(application(look)).get()).json() is True
