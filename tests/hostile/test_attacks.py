"""Attacks that have a name."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis
from cryptography.fernet import Fernet
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from asgi_sessions import (
    BadSignature,
    CookieRefused,
    CookieStore,
    Duplicate,
    Malformed,
    MemoryStore,
    Session,
    SessionConfig,
    Superseded,
    Unknown,
    get_session,
)
from asgi_sessions.record import digest

from ..browser import KEY, Browser, application
from .case import live_cookie, opened
from .target import CALM, Target, cookies, login, refused_calmly


async def visitor(target: Target, *paths: str) -> Browser:
    browser = target.browser()
    for path in paths:
        await browser.get(path)
    return browser


def sealed_later(target: Target, cookie: bytes | str, later: float) -> str:
    """The same session's cookie as a renewal would give it."""
    raw = cookie.encode() if isinstance(cookie, str) else cookie
    return target.seal(opened(target, raw), now=target.clock.now + later)


# -- session fixation ----------------------------------------------------------------------------------------------------


async def test_session_fixation_with_the_attackers_own_session(server_target: Target) -> None:
    """The attacker plants his anonymous session; the victim logs in with it; the attacker's cookie is worthless then."""
    attacker = await visitor(server_target, "/set")
    planted = attacker.jar["session"]
    victim = server_target.browser()
    victim.jar["session"] = planted
    await victim.get("/login")
    assert (await victim.get("/")).json()["user"] == "ann"
    await refused_calmly(server_target, cookies(planted), Superseded)
    server_target.clock.now += 61
    await refused_calmly(server_target, cookies(planted), Unknown)


async def test_session_fixation_with_a_cookie_session_changes_the_identity_at_login(cookie_target: Target) -> None:
    """The attacker keeps a copy of the anonymous session; what the victim does after it is in another cookie."""
    attacker = await visitor(cookie_target, "/set")
    victim = cookie_target.browser()
    victim.jar["session"] = attacker.jar["session"]
    await victim.get("/login")
    assert (await attacker.get("/")).json() == {"color": "green"}
    assert opened(cookie_target, victim.jar["session"].encode()) != opened(
        cookie_target, attacker.jar["session"].encode()
    )
    response = await cookie_target.browser().get(headers=cookies(attacker.jar["session"], victim.jar["session"]))
    assert response == CALM
    assert isinstance(cookie_target.errors[-1], Duplicate)


async def test_session_fixation_with_a_made_up_token_adopts_nothing(server_target: Target) -> None:
    """An authentic token that the store does not know: the victim's session gets a handle of the server's making."""
    made_up = server_target.seal(bytes(range(48)))
    victim = server_target.browser()
    victim.jar["session"] = made_up
    await victim.get("/login")
    token = opened(server_target, victim.jar["session"].encode())
    assert token[:16] != bytes(range(16))
    assert token[16:] != bytes(range(16, 48))
    await refused_calmly(server_target, cookies(made_up), Unknown)


async def test_session_fixation_does_not_revive_a_session_that_ended(server_target: Target) -> None:
    victim = await visitor(server_target, "/set")
    old = victim.jar["session"]
    await victim.get("/logout")
    victim.jar["session"] = old
    await victim.get("/login")
    assert opened(server_target, victim.jar["session"].encode())[:16] != opened(server_target, old.encode())[:16]
    await refused_calmly(server_target, cookies(old), Unknown)


# -- session swapping ----------------------------------------------------------------------------------------------------


async def test_session_swapping_a_token_of_cart_as_auth(target: Target) -> None:
    seen: list[CookieRefused | None] = []

    async def fill(scope: Any) -> None:
        cart = await get_session(scope, "cart")
        cart["user"] = "admin"
        cart.owner = "admin"

    async def look(scope: Any) -> dict[str, Any]:
        auth = await get_session(scope, "auth")
        seen.append(auth.error)
        return {"owner": auth.owner, **auth}

    store: Any = target.counting or target.store
    names = [SessionConfig("cart", store=store), SessionConfig("auth", store=store)]
    routes = {"/fill": fill, "/": look}
    browser = Browser(application(routes, sessions=names, encrypt=target.kind == "encrypted", clock=target.clock))
    await browser.get("/fill")
    response = await browser.get("/", cookie=f"auth={browser.jar['cart']}")
    assert response.json() == {"owner": None}
    assert isinstance(seen[-1], BadSignature)
    assert response.set_cookies == []


async def test_session_swapping_between_two_applications_of_one_key(target: Target) -> None:
    other = Browser(target.application(session_cookie="admin"))
    await other.get("/login")
    await refused_calmly(target, cookies(other.jar["admin"]), BadSignature)


# -- cookie tossing ------------------------------------------------------------------------------------------------------


async def test_cookie_tossing_with_the_attackers_live_session(target: Target) -> None:
    """A sibling domain sets a second cookie of the name, with a session of the attacker's; in whichever order."""
    mine, his = await live_cookie(target), await live_cookie(target)
    await refused_calmly(target, cookies(mine, his), Duplicate)
    await refused_calmly(target, cookies(his, mine), Duplicate)


async def test_cookie_tossing_over_two_headers(target: Target) -> None:
    mine, his = await live_cookie(target), await live_cookie(target)
    await refused_calmly(target, [*cookies(mine), *cookies(his)], Duplicate)


async def test_cookie_tossing_with_garbage_leaves_the_visitor_his_session(target: Target) -> None:
    mine = await live_cookie(target)
    for headers in (cookies(mine, "garbage"), cookies("garbage", mine), cookies("a", "b", mine, "c")):
        assert (await target.browser().get(headers=headers)).json() == {"user": "ann"}
        assert target.errors[-1] is None


async def test_cookie_tossing_with_a_dead_session_leaves_the_visitor_his_own(server_target: Target) -> None:
    gone = await visitor(server_target, "/set")
    dead = gone.jar["session"]
    await gone.get("/logout")
    mine = await live_cookie(server_target)
    assert server_target.counting is not None
    rounds = server_target.counting.rounds
    for headers in (cookies(mine, dead), cookies(dead, mine)):
        assert (await server_target.browser().get(headers=headers)).json() == {"user": "ann"}
    assert server_target.counting.rounds == rounds + 2, "both candidates are read in one round trip"


async def test_cookie_tossing_with_an_expired_session_leaves_the_visitor_his_own(target: Target) -> None:
    expired = await live_cookie(target)
    target.clock.now += 14 * 86400
    mine = await live_cookie(target)
    assert (await target.browser().get(headers=cookies(expired, mine))).json() == {"user": "ann"}


async def test_cookie_tossing_with_the_same_session_takes_the_one_sealed_last(target: Target) -> None:
    """A path that changed leaves two cookies of one session."""
    older = await live_cookie(target)
    newer = sealed_later(target, older, 50)
    for headers in (cookies(older, newer), cookies(newer, older)):
        assert (await target.browser().get(headers=headers)).json() == {"user": "ann"}
        assert target.errors[-1] is None


async def test_cookie_tossing_does_not_help_a_superseded_cookie(server_target: Target) -> None:
    browser = await visitor(server_target, "/set")
    before = browser.jar["session"]
    server_target.clock.now += 1
    await browser.get("/login")
    for headers in (cookies(before, browser.jar["session"]), cookies(browser.jar["session"], before)):
        assert (await server_target.browser().get(headers=headers)).json() == {"color": "green", "user": "ann"}


async def test_cookie_tossing_can_not_push_the_visitors_cookie_out_of_sight(target: Target) -> None:
    his, mine = await live_cookie(target), await live_cookie(target)
    await refused_calmly(target, cookies(his, "a", "b", "c", mine), Duplicate)


@pytest.mark.parametrize("name", ["__Host-session", "__Secure-session", "__host-session"])
async def test_cookie_tossing_under_a_prefix_is_never_decided(target: Target, name: str) -> None:
    """Browsers let nobody else set such a cookie: a second value is an attack, even beside garbage."""
    browser = Browser(target.application(session_cookie=name), scheme="https")
    await browser.get("/login")
    mine = browser.jar[name]
    again = cookies(mine, mine, name=name.encode())
    assert (await browser.get(headers=again, cookie="")).json() == {"user": "ann"}, "the same value twice is one"
    for headers in (cookies(mine, "garbage", name=name.encode()), cookies("garbage", mine, name=name.encode())):
        assert await browser.get(headers=headers, cookie="") == CALM
        assert isinstance(target.errors[-1], Duplicate)


async def test_cookie_tossing_is_reported_with_a_likely_cause(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    await target.browser().get(headers=cookies(await live_cookie(target), await live_cookie(target)))
    [record] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "a changed path or domain of the cookie is a likely cause" in record.getMessage()


# -- replay --------------------------------------------------------------------------------------------------------------


async def test_replay_after_logout(server_target: Target) -> None:
    browser = await visitor(server_target, "/login")
    stolen = browser.jar["session"]
    await browser.get("/logout")
    await refused_calmly(server_target, cookies(stolen), Unknown)
    await refused_calmly(server_target, cookies(sealed_later(server_target, stolen, 30)), Unknown)


async def test_replay_after_regenerate(server_target: Target) -> None:
    async def regenerate(session: Session) -> None:
        session.regenerate()

    store: Any = server_target.counting
    app = application({"/login": login, "/regenerate": regenerate}, store=store, clock=server_target.clock)
    browser = Browser(app)
    await browser.get("/login")
    stolen = browser.jar["session"]
    await browser.get("/regenerate")
    await refused_calmly(server_target, cookies(stolen), Superseded)
    server_target.clock.now += 61
    await refused_calmly(server_target, cookies(stolen), Unknown)
    assert (await browser.get("/login")).status == 200


async def test_replay_after_regenerate_can_not_write(server_target: Target) -> None:
    """A request in flight with the old cookie neither reads nor writes, and sends no cookie over the new one."""
    browser = await visitor(server_target, "/set")
    stolen = browser.jar["session"]
    await browser.get("/login")
    assert server_target.counting is not None
    writes = server_target.counting.writes
    response = await server_target.browser().get("/set", cookie=f"session={stolen}")
    assert (response.status, response.set_cookies) == (200, [])
    assert server_target.counting.writes == writes
    assert (await browser.get("/")).json() == {"color": "green", "user": "ann"}


async def test_replay_of_an_old_cookie_session_works_until_it_expires(cookie_target: Target) -> None:
    """What no cookie store can prevent: nobody remembers the logout. The lifetime bounds it."""
    browser = await visitor(cookie_target, "/login")
    stolen = browser.jar["session"]
    await browser.get("/logout")
    assert browser.jar == {}
    thief = cookie_target.browser()
    assert (await thief.get("/", cookie=f"session={stolen}")).json() == {"user": "ann"}
    cookie_target.clock.now += 14 * 86400
    assert (await thief.get("/", cookie=f"session={stolen}")).json() == {}


async def test_replay_of_an_old_cookie_session_ends_with_the_absolute_timeout(cookie_target: Target) -> None:
    app = cookie_target.application(absolute_timeout=3600, max_age=1800)
    thief = Browser(app)
    await thief.get("/login")
    for _ in range(7):  # he keeps it alive...
        cookie_target.clock.now += 500
        assert (await thief.get("/")).json() == {"user": "ann"}
    cookie_target.clock.now += 100  # ...but not beyond an hour
    assert (await thief.get("/")).json() == {}


# -- downgrade -----------------------------------------------------------------------------------------------------------


async def test_downgrade_from_encrypted_to_signed(target: Target) -> None:
    """A signed cookie of the same key and name is worthless where cookies are encrypted, and the other way round."""
    other = target.application(store=CookieStore(), encrypt=target.kind != "encrypted")
    browser = Browser(other)
    await browser.get("/login")
    await refused_calmly(target, cookies(browser.jar["session"]), Malformed)


async def test_downgrade_of_a_stored_record(server_target: Target) -> None:
    """A plain record is worthless where records are encrypted: who can write to the store can not forge a session."""
    plain = await live_cookie(server_target)
    encrypting = server_target.application(encrypt=True)
    await refused_calmly(server_target, cookies(plain), Malformed, encrypting)


async def test_downgrade_to_a_bare_signature_of_the_key(target: Target) -> None:
    """The key itself signs nothing; each purpose has a derived one."""
    token = base64.urlsafe_b64encode(opened(target, await live_cookie(target))).rstrip(b"=")
    now = base64.urlsafe_b64encode(int(target.clock.now).to_bytes(5, "big")).rstrip(b"=")
    signature = base64.urlsafe_b64encode(hmac.digest(KEY.encode(), token + b"." + now, "sha256")).rstrip(b"=")
    expected = Malformed if target.kind == "encrypted" else BadSignature
    await refused_calmly(target, cookies(b".".join((token, now, signature))), expected)


# -- cookies of other frameworks, made with the same secret --------------------------------------------------------------

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


# -- a stolen store ------------------------------------------------------------------------------------------------------


def dump(target: Target) -> bytes:
    """All that the store keeps, file names and keys too."""
    if target.kind == "filesystem":
        files = sorted((target.path / "sessions").rglob("*"))
        return b"".join(str(file).encode() + (file.read_bytes() if file.is_file() else b"") for file in files)
    if target.kind == "redis":
        with redis.Redis.from_url(target.redis_url) as client:
            return b"".join(key + client.get(key) for key in client.keys(f"{target.path}:*"))
    assert isinstance(target.store, MemoryStore)
    return repr(target.store._records).encode() + b"".join(
        part for handle, (stored, _) in target.store._records.items() for part in (handle, *stored)
    )


def spellings(secret: bytes) -> list[bytes]:
    texts = [secret, base64.b64encode(secret), base64.urlsafe_b64encode(secret), secret.hex().encode()]
    return [text.rstrip(b"=") for text in texts]


@pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "encrypted"])
async def test_stolen_store_logs_nobody_in(server_target: Target, encrypt: bool) -> None:
    app = server_target.application(encrypt=encrypt)
    browser = Browser(app)
    await browser.get("/login")
    await browser.get("/set")
    cookie = browser.jar["session"]
    token = opened(server_target, cookie.encode())
    stolen = dump(server_target)
    for part in (*spellings(token[16:]), *spellings(token), cookie.encode(), KEY.encode()):
        assert part not in stolen
    assert (b"ann" in stolen) is not encrypt, "with encrypt=True not even the values"
    assert (b"green" in stolen) is not encrypt
    # Whoever holds the dump, and even the key, has the hash only: it opens nothing.
    hashed = server_target.seal(token[:16] + digest(token[16:]))
    await refused_calmly(server_target, cookies(hashed), Unknown, app)
    assert (await browser.get("/")).json() == {"user": "ann", "color": "green"}


async def test_stolen_store_records_can_not_be_moved_under_another_handle(server_target: Target) -> None:
    """Even with write access: an encrypted record belongs to its handle."""
    app = server_target.application(encrypt=True)
    victim, attacker = Browser(app), Browser(app)
    await victim.get("/login")
    await attacker.get("/set")
    store: Any = server_target.store
    handles = [opened(server_target, browser.jar["session"].encode())[:16] for browser in (victim, attacker)]
    records = [await store.read(handle) for handle in handles]
    assert await store.swap(handles[1], records[1].version, b"version!", records[0].data)
    await refused_calmly(server_target, cookies(attacker.jar["session"]), Malformed, app)


# -- a broken record in the store ----------------------------------------------------------------------------------------


async def test_corrupt_record_gives_way_to_a_new_session(server_target: Target) -> None:
    """The visitor goes on under a handle of its own; the file is put aside for those who want to know."""
    cookie = await server_target.planted(b"\xc1 corrupt")
    browser = server_target.browser()
    browser.jar["session"] = cookie
    response = await browser.get("/login")
    assert (response.status, len(response.set_cookies)) == (200, 1)
    assert (await browser.get("/")).json() == {"user": "ann"}
    assert browser.jar["session"] != cookie
    if server_target.kind == "filesystem":
        [put_aside] = (server_target.path / "sessions").rglob("*.corrupt")
        assert put_aside.read_bytes().endswith(b"\xc1 corrupt")


@pytest.mark.parametrize("server_target", ["redis"], indirect=True)
async def test_foreign_redis_key_is_left_alone(server_target: Target) -> None:
    from .stored import redis_of

    with redis_of(server_target) as (client, key):
        client.rpush(key, "mine")
        browser = server_target.browser()
        browser.jar["session"] = server_target.seal(bytes(range(0xA0, 0xB0)) + bytes(32))
        await browser.get("/login")
        assert (await browser.get("/")).json() == {"user": "ann"}
        await browser.get("/logout")
        assert client.lrange(key, 0, -1) == [b"mine"]
