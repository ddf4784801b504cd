"""Every block of the README is true."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from asgi_sessions import RecordStore
from asgi_sessions.testing import StoreContract
from benchmarks import report

ROOT = Path(__file__).parent.parent
README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def run(marker: str) -> dict[str, Any]:
    (block,) = [block for block in BLOCKS if marker in block]
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    return names


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


def test_there_is_a_block_for_each_test() -> None:
    assert len(BLOCKS) == 7
    assert len(COMMANDS) == 3


def test_the_front_page_is_short() -> None:
    prose, code = README.split("```python\n")[:2]
    assert len([line for line in prose.splitlines() if line and not line.startswith("#")]) <= 12
    assert len(code.split("```")[0].splitlines()) <= 12


async def test_the_first_application_counts_visits() -> None:
    async with client(run("async def visits")["app"]) as browser:
        assert [(await browser.get("/")).json() for _ in range(2)] == [{"visits": 1}, {"visits": 2}]


async def test_the_starlette_application_keeps_a_cart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run('Route("/add"')
    async with client(names["app"]) as browser:
        await browser.get("/add", params={"item": "apple"})
        answer = (await browser.get("/add", params={"item": "pear"})).json()
    assert answer == {"cart": {"items": ["apple", "pear"]}, "session": {"last": "cart"}}


async def test_the_fastapi_application_logs_in_spends_and_logs_out() -> None:
    async with client(run("async def spend")["app"]) as browser:
        assert (await browser.post("/login", params={"user": "eve"})).headers["set-cookie"].count("Max-Age=2592000")
        assert [(await browser.post("/spend", params={"amount": 30})).json() for _ in range(2)] == [70, 40]
        await browser.post("/logout")
        assert not browser.cookies
        assert (await browser.post("/spend", params={"amount": 30})).json() == 70


async def test_the_typed_cart_is_kept() -> None:
    async with client(run("async def add_item")["app"]) as browser:
        assert (await browser.post("/add", params={"item": "apple"})).json() == ["apple"]
        assert (await browser.post("/add", params={"item": "pear"})).json() == ["apple", "pear"]


async def test_a_new_password_ends_the_other_sessions_of_the_owner() -> None:
    app = run("async def change_password")["app"]
    async with client(app) as laptop, client(app) as phone:
        for browser, device in ((laptop, "laptop"), (phone, "phone")):
            await browser.post("/login", params={"user": "eve", "device": device})
        assert sorted((await laptop.get("/devices")).json()) == [["laptop", True], ["phone", False]]
        assert (await laptop.post("/password")).json() == 1
        assert (await laptop.get("/devices")).json() == [["laptop", True]]


def test_the_figures_are_those_of_the_kept_result() -> None:
    result = json.loads((ROOT / "benchmarks" / "result.json").read_text(encoding="utf-8"))
    assert report.short(result) in README
    assert report.growing(result) in README
    bare = next(row["median"] for row in result["load"] if row["contender"] == "bare application")
    assert f"the bare application: {bare:,.0f})" in README
    assert f"Measured on {result['machine']['date']} with {result['machine']['python']}" in README


async def test_the_plain_application_counts_visits() -> None:
    async with client(run("async def application")["app"]) as browser:
        assert [(await browser.get("/")).text for _ in range(2)] == ["1", "2"]


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> RecordStore:
        store: RecordStore = run("class SQLiteStore")["SQLiteStore"](tmp_path / "sessions.db")
        return store


def test_each_command_is_one_line_that_does_all_of_its_set_up() -> None:
    demo, tests = (command.strip() for command in COMMANDS[:2])
    for command in (demo, tests):
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert demo.endswith("-m asgi_sessions demo")
    assert tests.endswith("-m pytest")
