"""The demo, as a visitor meets it: a process, an address, a browser's cookie jar."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

START = [sys.executable, "-m", "asgi_sessions", "demo", "--port", "0", "--data"]


@contextlib.contextmanager
def demo(data: Path) -> Iterator[str]:
    """The address of a running demo."""
    process = subprocess.Popen([*START, str(data)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+)/ in your browser \(Ctrl\+C stops the demo\)\n", line)
        assert found, line
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "demo"


def post(browser: httpx.Client, path: str, **form: object) -> httpx.Response:
    return browser.post(path, data={name: str(value) for name, value in form.items()}, follow_redirects=True)


def cart(page: httpx.Response) -> dict[str, int]:
    found = re.findall(r'aria-label="(\w+) in the cart">(\d+)<', page.text)
    return {name: int(count) for name, count in found}


def recent(page: httpx.Response) -> list[str]:
    return re.findall(r"<li>(\w+)</li>", page.text)


def test_everything_survives_a_restart_and_ends_with_logout(data: Path) -> None:
    with demo(data) as address, httpx.Client(base_url=address) as browser:
        first = browser.get("/")
        assert first.status_code == 200
        assert "set-cookie" not in first.headers
        login = browser.post("/login", data={"user": "Ada <b>", "remember": "true"})
        assert "; Max-Age=2592000;" in login.headers["set-cookie"]
        page = browser.get("/")
        assert "Welcome, Ada &lt;b&gt;!" in page.text
        assert "Welcome" not in browser.get("/").text
        post(browser, "/cart/apple", change=1)
        assert cart(post(browser, "/cart/apple", change=1)) == {"Apple": 2, "Bread": 0, "Coffee": 0}
        for name in ("news", "weather", "news"):
            page = browser.get(f"/pages/{name}", follow_redirects=True)
        assert recent(page) == ["News", "Weather"]
        browser.get("/pages/sports")  # leaves a flash message for later
        cookies = browser.cookies

    with demo(data) as address, httpx.Client(base_url=address, cookies=cookies) as browser:
        page = browser.get("/")
        assert "Logged in as <strong>Ada &lt;b&gt;</strong>" in page.text
        assert "for 30 days" in page.text
        assert "You looked at Sports." in page.text
        assert cart(page) == {"Apple": 2, "Bread": 0, "Coffee": 0}
        assert recent(page) == ["Sports", "News", "Weather"]
        stolen = browser.cookies["cart"]
        page = post(browser, "/logout")
        assert "You are logged out" in page.text
        assert "Logged in" not in page.text

    with demo(data) as address, httpx.Client(base_url=address, cookies={"cart": stolen}) as thief:
        page = thief.get("/")
        assert cart(page) == {"Apple": 0, "Bread": 0, "Coffee": 0}
        assert "set-cookie" not in page.headers


def test_without_remember_me_the_cookie_ends_with_the_browser(data: Path) -> None:
    with demo(data) as address, httpx.Client(base_url=address) as browser:
        login = browser.post("/login", data={"user": "Ada"})
        assert login.status_code == 303
        assert "Max-Age" not in login.headers["set-cookie"]
        assert "until the browser closes" in browser.get("/").text


def test_forms_from_other_sites_are_refused(data: Path) -> None:
    with demo(data) as address, httpx.Client(base_url=address) as browser:
        headers = {"origin": "https://evil.example"}
        assert browser.post("/login", data={"user": "Eve"}, headers=headers).status_code == 403
        assert browser.post("/login", data={"user": "Ada"}, headers={"origin": address}).status_code == 303


def test_what_it_is_not_for_is_refused_politely(data: Path) -> None:
    with demo(data) as address, httpx.Client(base_url=address) as browser:
        assert browser.get("/pages/nowhere").status_code == 404
        assert browser.post("/cart/gold", data={"change": "1"}).status_code == 404
        assert browser.post("/cart/apple", data={"change": "5"}).status_code == 422
        assert "Please tell a name" in post(browser, "/login", user="  ").text


def test_it_keeps_its_files_to_itself_and_leaves_no_server_behind(data: Path) -> None:
    with demo(data):
        assert data.stat().st_mode & 0o077 == 0
        assert (data / "secret_key").stat().st_mode & 0o077 == 0
        pid = int((data / "valkey" / "pid").read_text())
        os.kill(pid, 0)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_port_that_is_taken_is_named(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [*START[:-2], str(port), "--data", str(data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 can not be used" in done.stderr
    assert "--port" in done.stderr
