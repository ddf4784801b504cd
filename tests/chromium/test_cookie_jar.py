"""What a real browser does with our cookies: keeps, sends, hides and refuses them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from .conftest import Launch, Visitor

# Chromium is about to block the cookies of third parties by default; this is its setting to allow them.
ALLOW_THIRD_PARTIES = {"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": False}}


def post(page: "Page", path: str) -> None:
    """From the page, as its scripts would."""
    page.evaluate("path => fetch(path, {method: 'POST'}).then(answer => answer.json())", path)


def get(page: "Page", path: str) -> Any:
    return page.evaluate("path => fetch(path).then(answer => answer.json())", path)


def shown(page: "Page") -> Any:
    """The JSON that the browser went to."""
    return json.loads(page.inner_text("body"))


def cookies(page: "Page") -> dict[str, Any]:
    return {cookie["name"]: cookie for cookie in page.context.cookies()}


def test_scripts_can_not_read_the_cookie(visitor: "Visitor", shop: str) -> None:
    page = visitor(f"http://shop.test:{shop}/")
    post(page, "/fill")
    assert get(page, "/keys") == ["filled"]
    assert cookies(page)["session"]["httpOnly"]
    assert page.evaluate("document.cookie") == ""


def test_a_form_of_another_site_is_sent_without_the_session(visitor: "Visitor", shop: str) -> None:
    page = visitor(f"http://shop.test:{shop}/")
    post(page, "/fill")
    page.goto(f"http://evil.test:{shop}/")
    page.set_content(f"<form method=post action='http://shop.test:{shop}/seen'><button>Win a prize</button></form>")
    page.click("button")
    page.wait_for_url("http://shop.test:*/seen")
    assert shown(page) == []
    page.goto(f"http://shop.test:{shop}/seen")
    assert shown(page) == ["session", "strict"]


def test_a_link_from_another_site_brings_the_lax_session_and_not_the_strict_one(visitor: "Visitor", shop: str) -> None:
    page = visitor(f"http://shop.test:{shop}/")
    post(page, "/fill")
    page.goto(f"http://evil.test:{shop}/")
    page.set_content(f"<a href='http://shop.test:{shop}/seen'>To the shop</a>")
    page.click("a")
    page.wait_for_url("http://shop.test:*/seen")
    assert shown(page) == ["session"]


def test_a_frame_in_another_site_has_only_the_session_that_was_allowed_there(
    launch: "Launch", secure_shop: str, tmp_path: Path
) -> None:
    (tmp_path / "Default").mkdir()
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(ALLOW_THIRD_PARTIES))
    with launch(tmp_path) as browser:
        page = browser.new_page()
        page.goto(f"https://shop.test:{secure_shop}/")
        post(page, "/fill")
        assert get(page, "/seen") == ["session", "strict", "everywhere", "framed"]
        page.goto(f"https://evil.test:{secure_shop}/")
        page.set_content(f"<iframe src='https://shop.test:{secure_shop}/seen'></iframe>")
        inner = page.frame_locator("iframe").locator("body").inner_text()
    assert json.loads(inner) == ["everywhere"]  # the partitioned one belongs to the top-level site where it was set


def test_a_form_of_another_site_brings_the_sessions_that_were_allowed_there(
    visitor: "Visitor", secure_shop: str
) -> None:
    page = visitor(f"https://shop.test:{secure_shop}/")
    post(page, "/fill")
    page.goto(f"https://evil.test:{secure_shop}/")
    page.set_content(f"<form method=post action='https://shop.test:{secure_shop}/seen'><button>Pay</button></form>")
    page.click("button")
    page.wait_for_url("https://shop.test:*/seen")
    assert shown(page) == ["everywhere", "framed"]


def test_a_partitioned_session_lives_in_its_frame_only(visitor: "Visitor", secure_shop: str) -> None:
    page = visitor(f"https://evil.test:{secure_shop}/")
    page.set_content(f"<iframe src='https://shop.test:{secure_shop}/'></iframe>")
    page.frame_locator("iframe").get_by_text("shop").wait_for()
    post(page.frames[1], "/fill")
    assert "framed" in get(page.frames[1], "/seen")
    page.goto(f"https://shop.test:{secure_shop}/seen")
    assert "framed" not in shown(page)


def test_a_host_prefixed_cookie_is_kept_over_https_and_belongs_to_the_host(
    visitor: "Visitor", secure_shop: str
) -> None:
    page = visitor(f"https://shop.test:{secure_shop}/")
    post(page, "/fill")
    assert get(page, "/keys") == ["filled"]
    kept = cookies(page)["__Host-session"]
    assert (kept["secure"], kept["path"], kept["domain"]) == (True, "/", "shop.test")  # no dot: this host only
    page.goto(f"https://sub.shop.test:{secure_shop}/keys")
    assert shown(page) == []


def test_a_host_prefixed_cookie_is_refused_over_http(visitor: "Visitor", shop: str) -> None:
    page = visitor(f"http://shop.test:{shop}/")
    post(page, "/fill")
    assert sorted(cookies(page)) == ["session", "strict"]


def test_a_session_of_https_is_not_sent_over_http(visitor: "Visitor", shop: str, secure_shop: str) -> None:
    page = visitor(f"https://shop.test:{secure_shop}/")
    post(page, "/fill")
    page.goto(f"http://shop.test:{shop}/")
    with page.expect_request("**/keys") as sent:
        get(page, "/keys")
    assert "cookie" not in sent.value.all_headers()
    page.goto(f"https://shop.test:{secure_shop}/")
    with page.expect_request("**/keys") as sent:
        get(page, "/keys")
    assert "__Host-session=" in sent.value.all_headers()["cookie"]


def test_twenty_parallel_fetches_are_all_kept(visitor: "Visitor", shop: str) -> None:
    page = visitor(f"http://shop.test:{shop}/")
    post(page, "/fill")
    keys = [f"key-{number}" for number in range(20)]
    page.evaluate("keys => Promise.all(keys.map(key => fetch(`/add/${key}`, {method: 'POST'})))", keys)
    assert get(page, "/keys") == sorted(["filled", *keys])


TALK = """key => new Promise((resolve, reject) => {
  const socket = new WebSocket(document.URL.replace(/^http/, 'ws') + 'talk');
  socket.onopen = () => socket.send(key);
  socket.onerror = () => reject(new Error('no websocket'));
  socket.onmessage = message => { resolve(JSON.parse(message.data)); socket.close(); };
})"""


def test_a_websocket_and_requests_share_the_session(visitor: "Visitor", shop: str, secure_shop: str) -> None:
    for url in (f"http://shop.test:{shop}/", f"https://shop.test:{secure_shop}/"):
        page = visitor(url)
        assert (
            page.evaluate(TALK, "nobody") == []
        )  # there is no session yet, and a websocket can set no cookie any more
        post(page, "/fill")
        assert page.evaluate(TALK, "talked") == ["filled", "talked"]
        assert get(page, "/keys") == ["filled", "talked"]


def test_what_is_written_while_a_websocket_is_open_is_kept_on_both_sides(visitor: "Visitor", shop: str) -> None:
    page = visitor(f"http://shop.test:{shop}/")
    post(page, "/fill")
    program = """async () => {
      const socket = new WebSocket(document.URL.replace(/^http/, 'ws') + 'talk');
      await new Promise(open => socket.onopen = open);
      await fetch('/add/fetched', {method: 'POST'});
      const answer = new Promise(done => socket.onmessage = message => done(JSON.parse(message.data)));
      socket.send('talked');
      return answer.finally(() => socket.close());
    }"""
    assert page.evaluate(program) == ["fetched", "filled", "talked"]
    assert get(page, "/keys") == ["fetched", "filled", "talked"]


def test_a_websocket_from_another_site_has_no_session(visitor: "Visitor", shop: str) -> None:
    page = visitor(f"http://shop.test:{shop}/")
    post(page, "/fill")
    page.goto(f"http://evil.test:{shop}/")
    elsewhere = TALK.replace("document.URL.replace(/^http/, 'ws')", f"'ws://shop.test:{shop}/'")
    assert page.evaluate(elsewhere, "stolen") == []


def test_remember_me_survives_a_restart_of_the_browser(launch: "Launch", demo: str, tmp_path: Path) -> None:
    with launch(tmp_path) as browser:
        page = browser.new_page()
        page.goto(demo)
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Remember me").check()
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("Logged in as Ada").wait_for()
    with launch(tmp_path) as browser:
        page = browser.new_page()
        page.goto(demo)
        page.get_by_text("Logged in as Ada, remembered for 30 days").wait_for()
        page.get_by_role("button", name="Do not remember me").click()
        page.get_by_text("Logged in as Ada, remembered until the browser closes").wait_for()
        page.get_by_role("button", name="One Apple more").click()
        page.get_by_text("Apple: 1 in your cart.").wait_for()
    with launch(tmp_path) as browser:
        page = browser.new_page()
        page.goto(demo)
        page.get_by_role("button", name="Log in").wait_for()  # the browser forgot the session, and kept the cart
        assert page.get_by_label("Apple in the cart").inner_text() == "1"
