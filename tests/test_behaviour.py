"""What an application sees, the same over every store."""

import base64
import json
from typing import Any

import pytest

from asgi_sessions import (
    BadCookieSignature,
    JSONSerializer,
    MalformedSession,
    MemoryStore,
    SerializationError,
    Session,
    SessionConfig,
    Store,
    Stored,
    UnknownSession,
    get_session,
)

from .browser import KEY, OTHER_KEY, Browser, Clock, application, read


async def count(session: Session) -> int:
    session["count"] = session.get("count", 0) + 1
    return int(session["count"])


async def nothing(session: Session) -> None:
    pass


async def test_values_survive_from_one_request_to_the_next(store: Store) -> None:
    browser = Browser(application(count, store=store))
    assert [(await browser.get()).json() for _ in range(3)] == [1, 2, 3]


async def test_two_browsers_have_two_sessions(store: Store) -> None:
    app = application(count, store=store)
    await Browser(app).get()
    assert (await Browser(app).get()).json() == 1


async def test_an_untouched_session_sends_no_header(store: Store) -> None:
    browser = Browser(application({"/": nothing, "/count": count}, store=store))
    await browser.get("/count")
    response = await browser.get("/")
    assert [name for name, _ in response.headers] == [b"content-type"]


async def test_a_session_nobody_wrote_to_gets_no_cookie(store: Store) -> None:
    response = await Browser(application(read, store=store)).get()
    assert response.set_cookies == []
    assert response.header("vary") == "Cookie"


async def test_reading_sets_no_cookie(store: Store) -> None:
    browser = Browser(application({"/": read, "/count": count}, store=store))
    await browser.get("/count")
    response = await browser.get("/")
    assert response.json() == {"count": 1}
    assert response.set_cookies == []


async def test_writing_what_is_there_already_sets_no_cookie(store: Store) -> None:
    async def write(session: Session) -> None:
        session["a"] = {"b": [1, 2]}
        session.mark_modified()

    browser = Browser(application(write, store=store))
    assert len((await browser.get()).set_cookies) == 1
    assert (await browser.get()).set_cookies == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s["cart"].append("pear"), id="nested"),
        pytest.param(lambda s: s.__ior__({"cart": ["apple", "pear"]}), id="ior"),
        pytest.param(lambda s: s.update(cart=["apple", "pear"]), id="update"),
        pytest.param(lambda s: s.get("cart").extend(["pear"]), id="get"),
        pytest.param(lambda s: [value.append("pear") for value in s.values() if isinstance(value, list)], id="values"),
        pytest.param(lambda s: dict(s.items())["cart"].append("pear"), id="items"),
        pytest.param(lambda s: s.pop("cart") and s.setdefault("cart", ["apple", "pear"]), id="pop"),
        pytest.param(lambda s: (s | {})["cart"].append("pear"), id="or"),
    ],
)
async def test_every_way_to_change_a_value_is_saved(store: Store, change: Any) -> None:
    async def fill(session: Session) -> None:
        session["cart"] = ["apple"]

    async def apply(session: Session) -> None:
        change(session)

    browser = Browser(application({"/fill": fill, "/change": apply, "/": read}, store=store))
    await browser.get("/fill")
    await browser.get("/change")
    assert (await browser.get("/")).json() == {"cart": ["apple", "pear"]}


@pytest.mark.parametrize("remove", [lambda s: s.__delitem__("b"), lambda s: s.pop("b"), lambda s: s.popitem()])
async def test_removed_keys_stay_removed(store: Store, remove: Any) -> None:
    async def fill(session: Session) -> None:
        session.update(a=1, b=2)

    async def apply(session: Session) -> None:
        remove(session)

    browser = Browser(application({"/fill": fill, "/remove": apply, "/": read}, store=store))
    await browser.get("/fill")
    await browser.get("/remove")
    assert (await browser.get("/")).json() == {"a": 1}


async def test_one_is_not_true_and_not_one_point_zero(store: Store) -> None:
    values: list[Any] = [1, True, 1.0]

    async def write(session: Session) -> str:
        before = repr(session.get("value"))
        session["value"] = values.pop(0)
        return before

    browser = Browser(application(write, store=store))
    assert [(await browser.get()).json() for _ in range(3)] == ["None", "1", "True"]


async def test_json_as_the_very_first_access_sees_the_values(store: Store) -> None:
    async def dumps(scope: Any) -> Any:
        return json.loads(json.dumps(scope["session"]))

    browser = Browser(application({"/count": count, "/": dumps}, store=store))
    await browser.get("/count")
    assert (await browser.get("/")).json() == {"count": 1}


@pytest.mark.parametrize(
    "use",
    [bool, len, list, repr, lambda s: "a" in s, lambda s: s.get("a"), lambda s: s == {}, lambda s: s != {}, reversed,
     lambda s: s.keys(), lambda s: s.copy(), lambda s: {**s}, lambda s: s | {}, lambda s: {} | s, lambda s: s.handle,
     lambda s: s.is_new, lambda s: s.flashes(), lambda s: s.pop("a", 0)],
)  # fmt: skip
async def test_every_access_says_that_the_response_varies_by_cookie(store: Store, use: Any) -> None:
    async def access(session: Session) -> None:
        use(session)

    response = await Browser(application(access, store=store)).get()
    assert response.header("vary") == "Cookie"
    assert response.set_cookies == []


async def test_a_cookie_response_is_not_for_shared_caches(store: Store) -> None:
    response = await Browser(application(count, store=store)).get()
    assert response.header("cache-control") == 'no-cache="Set-Cookie"'


async def test_reading_does_not_rewrite_what_another_program_encoded() -> None:
    store = MemoryStore()

    async def fill(session: Session) -> None:
        session["list"] = [1, 2]

    async def look(session: Session) -> Any:
        return [session["list"], session.handle]

    app = application({"/fill": fill, "/": look}, store=store, serializer=JSONSerializer())
    browser = Browser(app)
    await browser.get("/fill")
    handle = bytes.fromhex((await browser.get("/")).json()[1])
    kept = await store.read(handle)
    assert kept is not None
    indented = json.dumps(json.loads(kept.data), indent=2).encode()
    await store.swap(handle, kept.version, b"elsewise", indented)
    assert (await browser.get("/")).json()[0] == [1, 2]
    assert await store.read(handle) == Stored(b"elsewise", indented)


# -- flashes ----------------------------------------------------------------------------------------------------------


async def test_flashes_are_shown_once_in_their_order(store: Store) -> None:
    async def add(session: Session) -> None:
        session.flash("one")
        session.flash({"two": 2}, "error")

    async def take(session: Session) -> Any:
        return session.flashes()

    browser = Browser(application({"/add": add, "/take": take}, store=store))
    await browser.get("/add")
    assert (await browser.get("/take")).json() == [["message", "one"], ["error", {"two": 2}]]
    assert (await browser.get("/take")).json() == []


async def test_flashes_are_taken_by_category(store: Store) -> None:
    async def add(session: Session) -> None:
        for category in ("info", "error", "info"):
            session.flash(category, category)

    async def take(session: Session) -> Any:
        return [session.flashes("info"), session.peek_flashes(), session.peek_flashes("info")]

    browser = Browser(application({"/add": add, "/": take}, store=store))
    await browser.get("/add")
    expected = [["info", "info"], ["info", "info"]]
    assert (await browser.get("/")).json() == [expected, [["error", "error"]], []]
    assert (await browser.get("/")).json() == [[], [["error", "error"]], []]


async def test_a_flash_consumed_where_it_was_added_leaves_nothing_behind(store: Store) -> None:
    async def add(session: Session) -> Any:
        session.flash("now")
        return session.flashes()

    response = await Browser(application(add, store=store)).get()
    assert response.json() == [["message", "now"]]
    assert response.set_cookies == []


async def test_peeking_leaves_flashes_for_later(store: Store) -> None:
    async def add(session: Session) -> None:
        session.flash("later")

    async def peek(session: Session) -> Any:
        return session.peek_flashes()

    browser = Browser(application({"/add": add, "/": peek}, store=store))
    await browser.get("/add")
    for _ in range(2):
        assert (await browser.get("/")).json() == [["message", "later"]]


# -- login and logout -------------------------------------------------------------------------------------------------


async def test_regenerate_keeps_values_and_handle_and_changes_the_cookie(store: Store) -> None:
    async def regenerate(session: Session) -> Any:
        session.regenerate()
        return session.handle

    async def handle(session: Session) -> Any:
        return [session.handle, dict(session)]

    browser = Browser(application({"/count": count, "/regenerate": regenerate, "/": handle}, store=store))
    await browser.get("/count")
    before = dict(browser.jar)
    known = (await browser.get("/regenerate")).json()
    assert browser.jar != before
    assert (await browser.get("/")).json() == [known, {"count": 1}]


async def test_setting_an_owner_regenerates(store: Store) -> None:
    async def login(session: Session) -> None:
        session.owner = "alice"

    async def owner(session: Session) -> Any:
        return session.owner

    browser = Browser(application({"/count": count, "/login": login, "/": owner}, store=store))
    await browser.get("/count")
    before = dict(browser.jar)
    assert len((await browser.get("/login")).set_cookies) == 1
    assert browser.jar != before
    assert (await browser.get("/")).json() == "alice"
    assert (await browser.get("/login")).set_cookies == []


@pytest.mark.parametrize("logout", [lambda s: s.invalidate(), lambda s: s.clear()])
async def test_logging_out_expires_the_cookie(store: Store, logout: Any) -> None:
    async def leave(session: Session) -> None:
        logout(session)

    browser = Browser(application({"/count": count, "/logout": leave, "/": read}, store=store))
    await browser.get("/count")
    response = await browser.get("/logout")
    assert response.set_cookies[0].startswith("session=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970")
    assert browser.jar == {}
    assert (await browser.get("/")).json() == {}


async def test_what_is_set_after_invalidate_begins_a_new_session(store: Store) -> None:
    async def leave(session: Session) -> Any:
        session.invalidate()
        session.flash("goodbye")
        return session.is_new

    async def state(session: Session) -> Any:
        return [session.handle, dict(session), session.peek_flashes()]

    browser = Browser(application({"/count": count, "/logout": leave, "/": state}, store=store))
    await browser.get("/count")
    before = (await browser.get("/")).json()
    assert (await browser.get("/logout")).json() is True
    after = (await browser.get("/")).json()
    assert after[1:] == [{}, [["message", "goodbye"]]]
    assert after[0] is None or after[0] != before[0]


async def test_invalidating_nothing_sends_nothing(store: Store) -> None:
    async def leave(session: Session) -> None:
        session.invalidate()

    assert (await Browser(application(leave, store=store)).get()).set_cookies == []


async def test_an_emptied_cookie_session_expires_its_cookie() -> None:
    async def empty(session: Session) -> None:
        del session["count"]

    browser = Browser(application({"/count": count, "/": empty}))
    await browser.get("/count")
    await browser.get("/")
    assert browser.jar == {}


async def test_an_emptied_server_side_session_stays(server_store: Store) -> None:
    async def empty(session: Session) -> Any:
        session.pop("count", None)
        return session.handle

    browser = Browser(application({"/count": count, "/": empty}, store=server_store))
    await browser.get("/count")
    handle = (await browser.get("/")).json()
    assert handle is not None
    assert (await browser.get("/")).json() == handle


async def test_the_old_cookie_of_a_server_side_session_is_dead_after_logout(server_store: Store) -> None:
    async def leave(session: Session) -> None:
        session.invalidate()

    async def state(session: Session) -> Any:
        return [dict(session), type(session.error).__name__]

    browser = Browser(application({"/count": count, "/logout": leave, "/": state}, store=server_store))
    await browser.get("/count")
    old = dict(browser.jar)
    await browser.get("/logout")
    browser.jar = old
    response = await browser.get("/")
    assert response.json() == [{}, "UnknownSession"]
    assert response.set_cookies == []


async def test_the_old_cookie_is_superseded_after_regenerate_and_unknown_later(
    server_store: Store, clock: Clock
) -> None:
    async def regenerate(session: Session) -> None:
        session.regenerate()

    async def write(session: Session) -> Any:
        session["late"] = True
        return type(session.error).__name__

    app = application({"/count": count, "/login": regenerate, "/": write}, store=server_store)
    browser = Browser(app)
    await browser.get("/count")
    old = dict(browser.jar)
    await browser.get("/login")
    intruder = Browser(app, jar=old)
    response = await intruder.get("/")
    assert response.json() == "RegeneratedSession"
    assert response.set_cookies == []


# -- attributes and lifetimes -----------------------------------------------------------------------------------------


async def test_remember_survives_later_commits(store: Store, clock: Clock) -> None:
    async def remember(session: Session) -> None:
        session["user"] = 1
        session.remember(30 * 86400)

    async def forget(session: Session) -> None:
        session.forget()

    app = application({"/remember": remember, "/forget": forget, "/count": count}, store=store, max_age=None)
    browser = Browser(app)
    assert "Max-Age" not in (await browser.get("/count")).set_cookies[0]
    assert "; Max-Age=2592000;" in (await browser.get("/remember")).set_cookies[0]
    for line in (await browser.get("/count")).set_cookies:
        assert "; Max-Age=2592000;" in line
    assert "Max-Age" not in (await browser.get("/forget")).set_cookies[0]
    for line in (await browser.get("/count")).set_cookies:
        assert "Max-Age" not in line


async def test_cookie_attributes_of_one_session_survive_later_commits(store: Store) -> None:
    async def strict(session: Session) -> None:
        session["user"] = 1
        session.cookie_options = session.cookie_options.replace(same_site="strict", http_only=False)

    async def regenerate(session: Session) -> Any:
        session.regenerate()
        return session.cookie_options.same_site

    browser = Browser(application({"/strict": strict, "/": regenerate}, store=store))
    assert (await browser.get("/strict")).set_cookies[0].endswith("; SameSite=Strict")
    response = await browser.get("/")
    assert response.json() == "strict"
    assert response.set_cookies[0].endswith("; SameSite=Strict")


async def test_a_moved_cookie_expires_under_its_former_path(store: Store) -> None:
    async def move(session: Session) -> None:
        session["user"] = 1
        session.cookie_options = session.cookie_options.replace(path="/admin")

    async def leave(session: Session) -> None:
        session.invalidate()

    browser = Browser(application({"/count": count, "/move": move, "/logout": leave}, store=store))
    await browser.get("/count")
    expired, moved = (await browser.get("/move")).set_cookies
    assert expired.startswith("session=; Path=/; Max-Age=0")
    assert "; Path=/admin; Max-Age=1209600" in moved
    (gone,) = (await browser.get("/logout")).set_cookies
    assert gone.startswith("session=; Path=/admin; Max-Age=0")


async def test_a_stored_attribute_that_the_configuration_forbids_now_is_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def move(session: Session) -> None:
        session["user"] = 1
        session.cookie_options = session.cookie_options.replace(https_only=False)

    async def path(session: Session) -> Any:
        return session.cookie_options.https_only

    browser = Browser(application(move))
    await browser.get()
    browser.app = application(path, same_site="none")
    assert (await browser.get()).json() is None
    assert "stored cookie attributes ['https_only'] are ignored" in caplog.text


async def test_a_session_ends_after_max_age(store: Store, clock: Clock) -> None:
    async def state(session: Session) -> Any:
        return [dict(session), type(session.error).__name__]

    app = application({"/count": count, "/": state}, store=store, clock=clock, max_age=3600, rolling=False)
    browser = Browser(app)
    await browser.get("/count")
    clock.now += 3599
    assert (await browser.get("/")).json() == [{"count": 1}, "NoneType"]
    clock.now += 1
    assert (await browser.get("/")).json() == [{}, "ExpiredSession"]


async def test_activity_extends_a_rolling_session_once_per_interval(store: Store, clock: Clock) -> None:
    app = application({"/count": count, "/": read, "/idle": nothing}, store=store, clock=clock, max_age=3600)
    browser = Browser(app)
    await browser.get("/count")
    clock.now += 359
    assert (await browser.get("/")).set_cookies == []
    clock.now += 1
    assert (await browser.get("/idle")).set_cookies == []
    assert "; Max-Age=3600;" in (await browser.get("/")).set_cookies[0]
    assert (await browser.get("/")).set_cookies == []
    clock.now += 3599
    assert (await browser.get("/")).json() == {"count": 1}


async def test_no_activity_extends_a_session_beyond_the_absolute_timeout(store: Store, clock: Clock) -> None:
    app = application({"/count": count, "/": read}, store=store, clock=clock, max_age=3600, absolute_timeout=5000)
    browser = Browser(app)
    await browser.get("/count")
    clock.now += 3000
    assert "; Max-Age=2000;" in (await browser.get("/")).set_cookies[0]
    clock.now += 1999
    assert (await browser.get("/")).json() == {"count": 1}
    clock.now += 1
    assert (await browser.get("/")).json() == {}


async def test_login_restarts_the_absolute_timeout(store: Store, clock: Clock) -> None:

    async def regenerate(session: Session) -> None:
        session.regenerate()

    app = application(
        {"/count": count, "/login": regenerate, "/": read}, store=store, clock=clock, absolute_timeout=5000
    )
    browser = Browser(app)
    await browser.get("/count")
    clock.now += 4000
    await browser.get("/login")
    clock.now += 4000
    assert (await browser.get("/")).json() == {"count": 1}


async def test_max_age_zero_expires_at_once(store: Store) -> None:
    browser = Browser(application(count, store=store, max_age=0))
    assert (await browser.get()).set_cookies == []
    assert (await browser.get()).json() == 1


async def test_times_and_identity_are_there_to_read(store: Store, clock: Clock) -> None:
    async def times(session: Session) -> Any:
        session.setdefault("a", 1)
        return [session.is_new, session.created_at, session.expires_at, session.name]

    browser = Browser(application(times, store=store, clock=clock, max_age=3600))
    start = clock.now
    assert (await browser.get()).json() == [True, start, start + 3600, "session"]
    clock.now += 10
    assert (await browser.get()).json() == [False, start, start + 3600, "session"]


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypt", [False, True])
async def test_a_session_survives_key_rotation_and_is_sealed_anew(store: Store, encrypt: bool) -> None:
    routes = {"/count": count, "/": read}
    browser = Browser(application(routes, store=store, encrypt=encrypt))
    await browser.get("/count")
    browser.app = application(routes, store=store, encrypt=encrypt, secret_key=OTHER_KEY, fallback_keys=[KEY])
    response = await browser.get("/")
    assert response.json() == {"count": 1}
    assert len(response.set_cookies) == 1
    assert (await browser.get("/count")).json() == 2
    browser.app = application(routes, store=store, encrypt=encrypt, secret_key=OTHER_KEY)
    assert (await browser.get("/")).json() == {"count": 2}


@pytest.mark.parametrize("encrypt", [False, True])
async def test_a_cookie_under_an_unknown_key_is_refused_calmly(store: Store, encrypt: bool) -> None:
    async def error(session: Session) -> Any:
        return [dict(session), type(session.error).__name__]

    browser = Browser(application(count, store=store, encrypt=encrypt))
    await browser.get()
    browser.app = application(error, store=store, encrypt=encrypt, secret_key=OTHER_KEY)
    response = await browser.get()
    assert response.json() == [{}, "BadCookieSignature"]
    assert response.set_cookies == []


async def test_an_encrypted_cookie_shows_nothing() -> None:
    async def write(session: Session) -> None:
        session["card"] = "4111-1111-1111-1111" * 3

    signed, encrypted = Browser(application(write)), Browser(application(write, encrypt=True))
    await signed.get()
    await encrypted.get()

    def visible(value: str) -> bytes:
        head = value.split(".")[0]
        return base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))

    assert b"4111-1111" in visible(signed.jar["session"])
    assert b"4111-1111" not in visible(encrypted.jar["session"])


# -- several sessions -------------------------------------------------------------------------------------------------


async def test_several_sessions_live_in_their_own_stores_and_cookies(store: Store) -> None:
    async def write(scope: Any) -> Any:
        cart = await get_session(type("Connection", (), {"scope": scope}), "cart")
        scope["session"]["who"] = "me"
        cart["items"] = cart.get("items", 0) + 1
        return [dict(scope["session"]), dict(cart)]

    app = application(write, sessions=[SessionConfig("cart", store=store, cookie_name="basket", max_age=60)])
    browser = Browser(app)
    response = await browser.get()
    assert sorted(line.partition("=")[0] for line in response.set_cookies) == ["basket", "session"]
    assert (await browser.get()).json() == [{"who": "me"}, {"items": 2}]


async def test_a_session_that_can_not_be_stored_leaves_every_store_untouched(store: Store) -> None:
    async def write(scope: Any) -> None:
        cart = await scope["sessions"].get("cart")
        cart["ok"] = 1
        scope["session"]["user"] = {"socket": object()}

    browser = Browser(application(write, sessions=[SessionConfig("cart", store=store)]))
    with pytest.raises(SerializationError, match=r"session 'session'\['user'\]\['socket'\]: .*object"):
        await browser.get()

    async def look(scope: Any) -> Any:
        return dict(await scope["sessions"].get("cart"))

    browser.app = application(look, sessions=[SessionConfig("cart", store=store)])
    assert (await browser.get()).json() == {}


async def test_errors_are_typed_and_the_client_never_sees_them(store: Store) -> None:
    errors: list[Any] = []

    async def write(session: Session) -> None:
        dict(session)
        errors.append(session.error)

    browser = Browser(application(write, store=store))
    for cookie, expected in {
        "session=": MalformedSession,
        "session=x.y.z": MalformedSession,
        "other=1": type(None),
    }.items():
        response = await browser.get(cookie=cookie)
        assert response.set_cookies == []
        assert isinstance(errors.pop(), expected | BadCookieSignature)


async def test_an_unknown_token_is_never_adopted(server_store: Store) -> None:
    """Session fixation: the server makes a new token."""

    async def state(session: Session) -> Any:
        session["a"] = 1
        return type(session.error).__name__

    other = Browser(application(state, store=MemoryStore()))
    await other.get()
    victim = Browser(application(state, store=server_store), jar=dict(other.jar))
    planted = victim.jar["session"]
    assert (await victim.get()).json() == UnknownSession.__name__
    assert victim.jar["session"] != planted


async def test_cookie_attributes_that_are_configured_again_expire_the_former_cookie() -> None:
    async def move(session: Session) -> None:
        session["n"] = 1
        session.cookie_options = session.cookie_options.replace(path="/app")

    async def move_back(session: Session) -> None:
        session.cookie_options = session.cookie_options.replace(path="/")

    for store in (None, MemoryStore()):
        browser = Browser(application({"/app": move, "/": move_back}, store=store))
        await browser.get("/app")
        paths = [cookie.split("; ")[1:3] for cookie in (await browser.get("/")).set_cookies]
        assert paths == [["Path=/app", "Max-Age=0"], ["Path=/", "Max-Age=1209600"]]
