"""One Chromium for all tests of this folder, and a visitor of its own for each."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import servers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, BrowserType, Page

    Visitor = Callable[..., Page]
    Launch = Callable[[Path], BrowserContext]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = {
    # Every name that ends in .test is this machine, so that there are several sites.
    "args": ["--no-sandbox", "--host-resolver-rules=MAP *.test 127.0.0.1"],
    "executable_path": next(filter(None, map(shutil.which, PROGRAMS)), None),
}


@pytest.fixture(scope="package")
def chromium() -> Iterator["BrowserType"]:
    # Playwright's synchronous API keeps an event loop running in this thread: it must end with this folder.
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    with api.sync_playwright() as playwright:
        if OPTIONS["executable_path"] is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("there is no browser: apt install chromium")
        yield playwright.chromium


@pytest.fixture(scope="package")
def browser(chromium: "BrowserType") -> Iterator["Browser"]:
    with chromium.launch(**OPTIONS) as launched:
        yield launched


@pytest.fixture
def visitor(browser: "Browser") -> Iterator["Visitor"]:
    """Opens pages, each with cookies of its own; none of them may complain in its console."""
    complaints: list[str] = []
    contexts = []

    def visit(url: str, **options: Any) -> "Page":
        context = browser.new_context(ignore_https_errors=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def launch(chromium: "BrowserType") -> "Launch":
    """Starts another browser, on a profile that stays when it is closed."""

    def start(profile: Path) -> "BrowserContext":
        return chromium.launch_persistent_context(profile, ignore_https_errors=True, **OPTIONS)

    return start


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory, chromium: "BrowserType") -> Iterator[str]:
    """The demo's address."""
    with servers.demo(tmp_path_factory.mktemp("demo")) as port:
        yield f"http://demo.test:{port}"


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory, chromium: "BrowserType") -> Iterator[str]:
    """The port of a site on http."""
    with servers.shop(tmp_path_factory.mktemp("shop")) as port:
        yield port


@pytest.fixture(scope="package")
def secure_shop(tmp_path_factory: pytest.TempPathFactory, chromium: "BrowserType") -> Iterator[str]:
    """The port of a site on https."""
    with servers.secure_shop(tmp_path_factory.mktemp("secure")) as port:
        yield port
