"""``python -m asgi_sessions``."""

import datetime
import fcntl
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.middleware.sessions import SessionMiddleware as StarletteSessions
from starlette.responses import JSONResponse
from starlette.testclient import TestClient

from asgi_sessions import (
    FilesystemStore,
    JSONSerializer,
    MemoryStore,
    MessagePackSerializer,
    Serializer,
    SessionConfig,
    SessionMiddleware,
)
from asgi_sessions.cli import main
from asgi_sessions.crypto.keys import Keyring
from asgi_sessions.testing import TestSessions

from .browser import KEY, OTHER_KEY

OLD = b"version1"
DAY = 86400
MODULE = [sys.executable, "-m", "asgi_sessions"]


def test_keygen_prints_a_key_that_the_middleware_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen"]) == 0
    key = capsys.readouterr().out.strip()
    assert len(key) == 43
    SessionMiddleware(lambda: None, secret_key=key)  # type: ignore[arg-type]  # never called
    main(["keygen"])
    assert capsys.readouterr().out.strip() != key


def test_it_runs_as_a_module_and_help_shows_examples() -> None:
    done = subprocess.run([*MODULE, "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert "python -m asgi_sessions prune" in done.stdout
    assert "exit codes" in done.stdout


@pytest.mark.parametrize("command", ["keygen", "inspect", "prune", "demo"])
def test_each_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"examples:\n  asgi-sessions {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["inspect"], ["inspect", "a", "--max-age", "soon"], ["unknown"]])
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: asgi-sessions" in capsys.readouterr().err


# -- prune -------------------------------------------------------------------------------------------------------------


async def test_prune_removes_the_expired_and_only_those(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FilesystemStore(tmp_path)
    for index in range(20):
        deadline = time.time() + (3600 if index % 2 else -1)
        await store.create(bytes([index] * 16), OLD, b"data", deadline)
    assert main(["prune", str(tmp_path)]) == 0
    assert "10 expired sessions removed" in capsys.readouterr().out
    assert len([path for path in tmp_path.glob("??/*") if path.is_file()]) == 10
    assert await store.read(bytes([1] * 16)) is not None
    await store.close()


async def test_prune_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    for index in range(4):
        await store.create(bytes([index] * 16), OLD, b"data", time.time() - 1)
    await store.close()
    shown, code = at_a_terminal(["prune", str(tmp_path)])
    assert code == 0
    assert f"[{'#' * 20}{' ' * 20}] 2/4 folders, 2 removed\r[" in shown
    assert f"[{'#' * 40}] 4/4 folders, 4 removed\r\n" in shown


def test_prune_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", str(tmp_path / "missing")]) == 1
    assert "is not a directory" in capsys.readouterr().err


# -- inspect -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASGI_SESSIONS_SECRET_KEY", KEY)
    monkeypatch.delenv("ASGI_SESSIONS_FALLBACK_KEYS", raising=False)


def sessions(secret_key: str = KEY, **options: Any) -> TestSessions:
    return TestSessions(SessionMiddleware(lambda: None, secret_key, **options))  # type: ignore[arg-type]  # never called


def cookie(values: Any = None, name: str | None = None, owner: str | None = None, **options: Any) -> str:
    """``name=value``"""
    [pair] = sessions(**options).cookies(values, name=name, owner=owner).items()
    return "=".join(pair)


def inspect(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["inspect", *arguments])
    printed = capsys.readouterr()
    assert not printed.err
    assert KEY not in printed.out
    return code, printed.out


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("encrypt", [False, True], ids=["signed", "encrypted"])
@pytest.mark.parametrize("serializer", [MessagePackSerializer(), JSONSerializer()], ids=["msgpack", "json"])
def test_a_cookie_session_is_shown(
    encrypt: bool, serializer: Serializer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    an_hour_ago = time.time() - 3600 - 310
    kit = sessions(encrypt=encrypt, serializer=serializer, clock=lambda: an_hour_ago)
    client = TestClient(None)  # type: ignore[arg-type]  # nothing is asked of it
    with kit.open(client) as session:
        session["cart"] = {"apples": 3, "text": "x" * 60, "esc": "\x1b[31m"}
        session.owner = "eve"
        session.flash("Hello", "success")
    code, shown = inspect(f"session={client.cookies['session']}", capsys=capsys)
    assert code == 0
    assert f"mode      {'encrypted' if encrypt else 'signed'}\n" in shown
    assert "kind      cookie session" in shown
    assert "UTC, 1 hour 5 minutes ago\nexpires   " in shown
    assert "UTC, in 13 days 22 hours\n" in shown
    assert "owner     'eve'\n" in shown
    assert f"values    {{'cart': {{'apples': 3,\n                    'text': '{'x' * 40}" in shown
    assert "\x1b" not in shown
    assert "flash     success: 'Hello'\n" in shown


@pytest.mark.usefixtures("key")
def test_types_of_the_application_are_marked_and_the_rest_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")

    @dataclass
    class Cart:
        apples: int

    class Own(JSONSerializer):
        def dumps(self, value: object) -> bytes:
            return b"own" + super().dumps(value)

        def loads(self, data: bytes) -> object:
            return super().loads(data[3:])

    serializer = MessagePackSerializer([Cart])
    _, shown = inspect(cookie({"a": (1,), "cart": Cart(3)}, serializer=serializer), capsys=capsys)
    assert "values    {'a': (1,), 'cart': <" in shown
    assert "no type is registered as '" in shown
    _, shown = inspect(cookie({"a": 1}, serializer=Own()), capsys=capsys)
    assert "values    <10 bytes that only the application's serializer can read>" in shown


@pytest.mark.usefixtures("key")
def test_of_a_server_side_session_the_handle_is_shown_and_never_the_secret(capsys: pytest.CaptureFixture[str]) -> None:
    kit = sessions(store=MemoryStore(), session_cookie="sid")
    client = TestClient(None)  # type: ignore[arg-type]  # nothing is asked of it
    kit.log_in(client, 7)
    value = client.cookies["sid"]
    for arguments in ([f"sid={value}"], [value, "--name", "sid"], [f"sid={value}", "--json"]):
        code, shown = inspect(*arguments, capsys=capsys)
        assert code == 0
        assert str(kit.read(client).handle) in shown
        assert "server-side" in shown
        assert value not in shown
        assert value.split(".")[0][24:] not in shown  # the secret as it stands there
        secret = Keyring(KEY).signer("sid").unseal(value.encode(), time.time()).token[16:]
        assert secret.hex() not in shown


@pytest.mark.usefixtures("key")
def test_it_writes_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"n": [1, None, 2.5, float("inf")], 5: {"a"}, "at": datetime.date(2026, 1, 2), "t": (True, "é")}
    line = cookie(values, owner="eve", max_age=3600)
    cart = cookie({"b": 1}, name="cart", sessions=[SessionConfig("cart")])
    code, shown = inspect(f"Cookie: {line}; {cart}", "--json", "--max-age", "3600", capsys=capsys)
    found, other = map(json.loads, shown.splitlines())
    assert code == 0
    assert (other["name"], other["values"]) == ("cart", {"b": 1})
    assert found["values"] == {
        "n": [1, None, 2.5, "inf"],
        "5": "{'a'}",
        "at": "datetime.date(2026, 1, 2)",
        "t": [True, "é"],
    }
    assert found["expires_at"] == found["sealed_at"] + 3600 == found["created_at"] + 3600
    assert {key: found[key] for key in ("accepted", "reason", "mode", "kind", "owner", "flashes", "stale")} == {
        "accepted": True,
        "reason": None,
        "mode": "signed",
        "kind": "cookie",
        "owner": "eve",
        "flashes": [],
        "stale": False,
    }


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "form",
    [
        "{value}",
        "session={value}",
        "Set-Cookie: session={value}; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax",
        "session={value}; Path=/; HttpOnly",
        "set-cookie:session={value}",
        "cookie: _ga=GA1.2.3; session={value}; theme=dark",
        "_ga=GA1.2.3;session={value}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: session={value}; Path=/\r\n\r\na=b",
    ],
)
@pytest.mark.parametrize("stdin", [False, True], ids=["", "stdin"])
def test_a_cookie_is_found_in_whatever_people_copy(
    form: str, stdin: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = form.format(value=cookie({"a": 1}).partition("=")[2])
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    code, shown = inspect("-" if stdin else text, capsys=capsys)
    assert (code, shown.count("cookie    ")) == (0, 1)
    assert "values    {'a': 1}" in shown


@pytest.mark.usefixtures("key")
def test_the_name_picks_one_of_several(capsys: pytest.CaptureFixture[str]) -> None:
    header = f"Cookie: {cookie({'a': 1})}; x=y"
    assert inspect(header, "--name", "session", capsys=capsys)[0] == 0
    assert inspect(header, "--name", "x", capsys=capsys)[0] == 1
    assert main(["inspect", header, "--name", "cart"]) == 1
    assert capsys.readouterr().err == "no cookie named 'cart', but 'session', 'x'\n"
    shown = inspect("a=b\nCookie: x=y", capsys=capsys)[1]  # a line that says it is one counts alone
    assert (shown.count("cookie    "), "cookie    x\n" in shown) == (1, True)
    assert main(["inspect", " "]) == 1
    assert capsys.readouterr().err == "no cookie in it\n"


def refused() -> dict[str, tuple[str, str]]:
    signed, encrypted = cookie({"a": 1}), cookie({"a": 1}, encrypt=True)
    a_month_ago = time.time() - 30 * DAY
    tomorrow = time.time() + DAY
    client = TestClient(StarletteSessions(put_one, KEY))
    client.get("/")
    starlettes = client.cookies["session"]
    return {
        "another key": (cookie({"a": 1}, secret_key=OTHER_KEY), "not sealed under these keys for a cookie named 'sess"),
        "another name": (signed.replace("session", "cart"), "not sealed under these keys for a cookie named 'cart'"),
        "altered": (signed.replace("=A", "=B", 1), "not sealed under these keys"),
        "altered ciphertext": (encrypted[:-4] + "AAAA", "not sealed under these keys"),
        "cut off": (signed[:40], "not one of our tokens, or a part of one"),
        "expired": (cookie({"a": 1}, clock=lambda: a_month_ago), "it has expired\n"),
        "the future": (cookie({"a": 1}, clock=lambda: tomorrow), "the token comes from the future"),
        "starlette": (starlettes, "it looks like a cookie of Starlette's own SessionMiddleware"),
        "starlette, named": (f"session={starlettes}", "it looks like a cookie of Starlette's"),
        "no name": ("a\x1b[b=c", r"cookie name 'a\x1b[b': '\x1b' cannot be in it"),
        "not ascii": ("session=é\udcff", "not one of our tokens"),
    }


async def put_one(scope: Any, receive: Any, send: Any) -> None:
    scope["session"]["a"] = 1
    await JSONResponse(None)(scope, receive, send)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("case", refused())
def test_a_refused_cookie_is_explained(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, reason = refused()[case]
    code, shown = inspect(text, capsys=capsys)
    assert code == 1
    assert reason in shown.replace("refused   ", "")
    assert "\x1b" not in shown
    code, line = inspect(text, "--json", capsys=capsys)
    assert (code, json.loads(line)["accepted"]) == (1, False)


@pytest.mark.usefixtures("key")
def test_an_expired_cookie_is_shown_with_what_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    a_month_ago = time.time() - 30 * DAY
    old = cookie({"a": 1}, clock=lambda: a_month_ago)
    code, shown = inspect(old, capsys=capsys)
    assert code == 1
    assert re.search(r"UTC, 16 days( 1 second)? ago\nvalues    \{'a': 1\}", shown)
    assert inspect(old, "--max-age", str(40 * DAY), capsys=capsys)[0] == 0


@pytest.mark.usefixtures("key")
def test_a_lifetime_chosen_at_run_time_counts(capsys: pytest.CaptureFixture[str]) -> None:
    a_month_ago = time.time() - 30 * DAY
    client, kit = TestClient(None), sessions(clock=lambda: a_month_ago)  # type: ignore[arg-type]  # nothing is asked
    with kit.open(client) as session:
        session.remember(40 * DAY)
        session["a"] = 1
    code, shown = inspect(client.cookies["session"], capsys=capsys)
    assert code == 0
    assert "remember  40 days\n" in shown
    with kit.open(client) as session:
        session.forget()
    code, shown = inspect(client.cookies["session"], capsys=capsys)
    assert code == 1
    assert "remember  until the browser closes\n" in shown


def test_fallback_keys_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASGI_SESSIONS_SECRET_KEY", OTHER_KEY)
    monkeypatch.setenv("ASGI_SESSIONS_FALLBACK_KEYS", f" {KEY}\n")
    code, shown = inspect(cookie({"a": 1}), capsys=capsys)
    assert code == 0
    assert "signed, under a fallback key" in shown


@pytest.mark.parametrize("fallback", ["", KEY])
def test_a_key_that_can_not_be_one_is_named_and_not_shown(
    fallback: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASGI_SESSIONS_SECRET_KEY", KEY if fallback else "j8Q2vN0x")
    monkeypatch.setenv("ASGI_SESSIONS_FALLBACK_KEYS", fallback)
    assert main(["inspect", "a=b"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("fallback_keys[0]: the same key" if fallback else "secret_key has 8 characters")
    assert "j8Q2vN0x" not in message


def test_without_a_terminal_a_missing_key_is_an_error_and_nothing_is_read_in_the_open() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASGI_SESSIONS_")}
    done = subprocess.run(
        [*MODULE, "inspect", "a=b"],
        input=KEY,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        start_new_session=True,  # nor is there a terminal to find
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "no key: set ASGI_SESSIONS_SECRET_KEY, or type it at a terminal\n"


# -- at a terminal -----------------------------------------------------------------------------------------------------


def at_the_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # shells let what runs in the background ignore it
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def terminal(arguments: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command with a terminal of its own, and the other end of it."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASGI_SESSIONS_")}
    process = subprocess.Popen(
        [*MODULE, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        preexec_fn=at_the_terminal,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def until(ours: int, text: bytes = b"") -> str:
    """What appears on the terminal until ``text`` does, or the command ends."""
    shown = b""
    while not text or text not in shown:
        try:
            more = os.read(ours, 4096)
        except OSError:  # Linux says so when the last process has closed the terminal
            break
        if not more:
            break
        shown += more
    return shown.decode()


def at_a_terminal(arguments: list[str], typed: bytes = b"") -> tuple[str, int]:
    """What a person sees who types this when asked for a key, and the exit code."""
    with terminal(arguments) as (process, ours):
        shown = until(ours, b"secret_key") if typed else ""
        os.write(ours, typed)
        return shown + until(ours), process.wait(60)


def test_a_key_that_is_typed_is_not_shown() -> None:
    shown, code = at_a_terminal(["inspect", cookie({"a": 1})], KEY.encode() + b"\n")
    assert code == 0
    assert "secret_key (not shown): " in shown
    assert "values    {'a': 1}" in shown
    assert KEY not in shown


@pytest.mark.parametrize(("typed", "code"), [(b"\x03", 130), (b"\x04", 2), (b"\n", 2)], ids=["^C", "^D", "nothing"])
def test_who_types_no_key_gets_no_traceback(typed: bytes, code: int) -> None:
    shown, ended = at_a_terminal(["inspect", "a=b"], typed)
    assert ended == code
    assert "Traceback" not in shown


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    process = subprocess.Popen(
        [*MODULE, "inspect", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "ASGI_SESSIONS_SECRET_KEY": KEY},
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, complaint = process.communicate(b"a=b", timeout=60)
    assert (process.returncode, complaint) == (1, b"")
