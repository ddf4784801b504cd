"""Attacks that have a name."""

import base64
import hmac
from typing import Any

import pytest

from asgi_sessions import (
    BadCookieSignature,
    CookieRefused,
    CookieStore,
    DuplicateCookie,
    MalformedSession,
    RegeneratedSession,
    Session,
    SessionConfig,
    UnknownSession,
    get_session,
)

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


# -- session fixation ------------------------------------------------------------------------------------------------


async def test_session_fixation_with_the_attackers_own_session(server_target: Target) -> None:
    """The attacker plants his anonymous session; once the victim has logged in with it, his cookie is worthless."""
    attacker = await visitor(server_target, "/set")
    planted = attacker.jar["session"]
    victim = server_target.browser()
    victim.jar["session"] = planted
    await victim.get("/login")
    assert (await victim.get("/")).json()["user"] == "ann"
    await refused_calmly(server_target, cookies(planted), RegeneratedSession)
    server_target.clock.now += 61
    await refused_calmly(server_target, cookies(planted), UnknownSession)


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
    assert isinstance(cookie_target.errors[-1], DuplicateCookie)


async def test_session_fixation_with_a_made_up_token_adopts_nothing(server_target: Target) -> None:
    """An authentic token that the store does not know: the victim's session gets a handle of the server's making."""
    made_up = server_target.seal(bytes(range(48)))
    victim = server_target.browser()
    victim.jar["session"] = made_up
    await victim.get("/login")
    token = opened(server_target, victim.jar["session"].encode())
    assert token[:16] != bytes(range(16))
    assert token[16:] != bytes(range(16, 48))
    await refused_calmly(server_target, cookies(made_up), UnknownSession)


async def test_session_fixation_does_not_revive_a_session_that_ended(server_target: Target) -> None:
    victim = await visitor(server_target, "/set")
    old = victim.jar["session"]
    await victim.get("/logout")
    victim.jar["session"] = old
    await victim.get("/login")
    assert opened(server_target, victim.jar["session"].encode())[:16] != opened(server_target, old.encode())[:16]
    await refused_calmly(server_target, cookies(old), UnknownSession)


# -- session swapping ------------------------------------------------------------------------------------------------


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
    assert isinstance(seen[-1], BadCookieSignature)
    assert response.set_cookies == []


async def test_session_swapping_between_two_applications_of_one_key(target: Target) -> None:
    other = Browser(target.application(session_cookie="admin"))
    await other.get("/login")
    await refused_calmly(target, cookies(other.jar["admin"]), BadCookieSignature)


# -- cookie tossing --------------------------------------------------------------------------------------------------


async def test_cookie_tossing_with_the_attackers_live_session(target: Target) -> None:
    """A sibling domain sets a second cookie of the name, with a session of the attacker's; in whichever order."""
    mine, his = await live_cookie(target), await live_cookie(target)
    await refused_calmly(target, cookies(mine, his), DuplicateCookie)
    await refused_calmly(target, cookies(his, mine), DuplicateCookie)


async def test_cookie_tossing_over_two_headers(target: Target) -> None:
    mine, his = await live_cookie(target), await live_cookie(target)
    await refused_calmly(target, [*cookies(mine), *cookies(his)], DuplicateCookie)


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


async def test_one_of_two_cookies_of_a_session_is_renewed_when_it_is_due(target: Target) -> None:
    older = await live_cookie(target)
    newer = sealed_later(target, older, 50)
    target.clock.now += 2 * 86400
    assert (await target.browser().get(headers=cookies(older, newer))).set_cookies


async def test_cookie_tossing_with_an_older_state_of_a_cookie_session_takes_the_newer(cookie_target: Target) -> None:
    browser = await visitor(cookie_target, "/login")
    older = browser.jar["session"]
    cookie_target.clock.now += 1
    await browser.get("/set")
    newer = browser.jar["session"]
    for headers in (cookies(older, newer), cookies(newer, older)):
        assert (await cookie_target.browser().get(headers=headers)).json() == {"user": "ann", "color": "green"}


async def test_cookie_tossing_does_not_help_a_superseded_cookie(server_target: Target) -> None:
    browser = await visitor(server_target, "/set")
    before = browser.jar["session"]
    server_target.clock.now += 1
    await browser.get("/login")
    for headers in (cookies(before, browser.jar["session"]), cookies(browser.jar["session"], before)):
        assert (await server_target.browser().get(headers=headers)).json() == {"color": "green", "user": "ann"}


async def test_cookie_tossing_can_not_push_the_visitors_cookie_out_of_sight(target: Target) -> None:
    his, mine = await live_cookie(target), await live_cookie(target)
    await refused_calmly(target, cookies(his, "a", "b", "c", mine), DuplicateCookie)


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
        assert isinstance(target.errors[-1], DuplicateCookie)


async def test_cookie_tossing_is_reported_with_a_likely_cause(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    await target.browser().get(headers=cookies(await live_cookie(target), await live_cookie(target)))
    [record] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "a changed path or domain of the cookie is a likely cause" in record.getMessage()


# -- replay ----------------------------------------------------------------------------------------------------------


async def test_replay_after_logout(server_target: Target) -> None:
    browser = await visitor(server_target, "/login")
    stolen = browser.jar["session"]
    await browser.get("/logout")
    await refused_calmly(server_target, cookies(stolen), UnknownSession)
    await refused_calmly(server_target, cookies(sealed_later(server_target, stolen, 30)), UnknownSession)


async def test_replay_after_regenerate(server_target: Target) -> None:
    async def regenerate(session: Session) -> None:
        session.regenerate()

    store: Any = server_target.counting
    app = application({"/login": login, "/regenerate": regenerate}, store=store, clock=server_target.clock)
    browser = Browser(app)
    await browser.get("/login")
    stolen = browser.jar["session"]
    await browser.get("/regenerate")
    await refused_calmly(server_target, cookies(stolen), RegeneratedSession)
    server_target.clock.now += 61
    await refused_calmly(server_target, cookies(stolen), UnknownSession)
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


# -- downgrade -------------------------------------------------------------------------------------------------------


async def test_downgrade_from_encrypted_to_signed(target: Target) -> None:
    """A signed cookie of the same key and name is worthless where cookies are encrypted, and the other way round."""
    other = target.application(store=CookieStore(), encrypt=target.kind != "encrypted")
    browser = Browser(other)
    await browser.get("/login")
    await refused_calmly(target, cookies(browser.jar["session"]), MalformedSession)


async def test_downgrade_of_a_stored_record(server_target: Target) -> None:
    """A plain record is worthless where records are encrypted: who can write to the store cannot forge a session."""
    plain = await live_cookie(server_target)
    encrypting = server_target.application(encrypt=True)
    await refused_calmly(server_target, cookies(plain), MalformedSession, encrypting)


async def test_downgrade_to_a_bare_signature_of_the_key(target: Target) -> None:
    """The key itself signs nothing; each purpose has a derived one."""
    opened_token = b"\x01" + int(target.clock.now).to_bytes(5, "big") + opened(target, await live_cookie(target))
    token = base64.urlsafe_b64encode(opened_token).rstrip(b"=")
    signature = base64.urlsafe_b64encode(hmac.digest(KEY.encode(), token, "sha256")).rstrip(b"=")
    expected = MalformedSession if target.kind == "encrypted" else BadCookieSignature
    await refused_calmly(target, cookies(b".".join((token, signature))), expected)
