"""``python -m asgi_sessions sessions``: list and revoke from outside the application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asgi_sessions import FilesystemStore, RedisStore, Session
from asgi_sessions.cli import main

from .browser import KEY, Browser, application


async def login(session: Session) -> None:
    session.owner = "ann"
    session.label = {"device": "phone\x1b[2J"}


async def count(session: Session) -> None:
    session.owner = 7


async def who(session: Session) -> Any:
    return session.owner


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASGI_SESSIONS_SECRET_KEY", KEY)


@pytest.fixture(params=["file", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file:{tmp_path}"
    return str(request.getfixturevalue("redis_url"))


def run(*arguments: str) -> int:
    return main(["sessions", *arguments])


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"{tmp_path.name}:"


def use(url: str, prefix: str, path: str) -> Browser:
    """A browser that has asked for a path of the application."""
    import anyio

    browser = Browser(None)

    async def visit() -> None:
        store: Any = FilesystemStore(url[5:]) if url.startswith("file:") else RedisStore(url, prefix=prefix)
        browser.app = application({"/login": login, "/count": count, "/who": who}, store=store)
        await browser.get(path)
        await store.close()

    anyio.run(visit)
    return browser


def test_sessions_are_listed_and_revoked(url: str, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    there = ["--store", url, "--prefix", prefix]
    use(url, prefix, "/login")
    use(url, prefix, "/login")
    use(url, prefix, "/count")
    assert run("list", "ann", "--json", *there) == 0
    first, _ = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert first["label"] == {"device": "phone\x1b[2J"}
    assert run("list", "ann", *there) == 0
    shown = capsys.readouterr().out
    assert first["handle"] in shown
    assert "\x1b" not in shown
    assert "created 20" in shown
    assert run("list", "7", *there) == 1
    assert run("list", "7", "--int", *there) == 0
    capsys.readouterr()
    assert run("revoke", first["handle"], *there) == 0
    assert run("revoke", first["handle"], *there) == 1
    assert run("revoke", "--owner", "ann", *there) == 0
    assert run("revoke", "--owner", "ann", *there) == 1
    assert capsys.readouterr().out.splitlines() == ["1 session ended", "0 sessions ended"] * 2
    assert run("revoke", "--owner", "7", "--int", *there) == 0


def test_one_session_can_be_revoked_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"file:{tmp_path}"
    use(url, "", "/login")
    run("list", "ann", "--json", "--store", url)
    handle = json.loads(capsys.readouterr().out)["handle"]
    monkeypatch.delenv("ASGI_SESSIONS_SECRET_KEY")
    assert run("revoke", handle, "--store", url) == 0


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["list", "ann"], "which store? write --store redis://HOST:PORT/DB", 2),
        (["list", "ann", "--store", "mysql://x"], "which store?", 2),
        (["list", "ann", "--store", "file:/nowhere/at/all"], "/nowhere/at/all is not a directory", 2),
        (["list", "ann", "--int", "--store", "file:."], "'ann' is no number; leave --int out for a text", 2),
        (["revoke", "x", "--store", "file:."], "'x' is no handle", 2),
        (["list", "ann", "--store", "redis://127.0.0.1:1"], "Redis at 127.0.0.1:1", 1),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str],
    message: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1
    assert shown.out == ""


def test_the_store_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASGI_SESSIONS_STORE", f"file:{tmp_path}")
    use(f"file:{tmp_path}", "", "/login")
    assert run("list", "ann") == 0


@pytest.mark.parametrize(
    "arguments", [[], ["list"], ["revoke"], ["revoke", "x", "--owner", "y"], ["list", "a", "--max-age", "x"]]
)
def test_a_command_line_that_can_not_be_right_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        run(*arguments)
    assert refused.value.code == 2


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("revoke", "--help")
    assert "asgi-sessions sessions revoke --owner alice@example.org" in capsys.readouterr().out
