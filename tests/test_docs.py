"""Every page of the documentation is true: its Python is one program that runs, and its links lead somewhere."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import asgi_sessions
from asgi_sessions import Session

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}

#: Commands that the tests do not run, and why.
NOT_RUN = {
    "pip install asgi-session-registry": "installs",
    "pip install asgi-session-registry uvicorn": "installs",
    "pip install asgi-session-registry fastapi uvicorn": "installs",
    "pip install asgi-session-registry uvicorn python-multipart": "installs",
    "uvicorn shop:app": "serves until it is stopped",
    "uvicorn shop:app --proxy-headers --forwarded-allow-ips=127.0.0.1": "serves until it is stopped",
    "python -m docs.capacity": "takes minutes",
}


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def programs() -> dict[str, str]:
    return {page: "\n".join(blocks("python", text)) for page, text in PAGES.items() if "```python" in text}


def are_tests(program: str) -> bool:
    return re.search(r"^def test_|^class Test", program, re.MULTILINE) is not None


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the package may not be installed
    monkeypatch.setenv("SECRET_KEY", asgi_sessions.generate_key())


@pytest.mark.parametrize("page", [page for page, program in programs().items() if not are_tests(program)])
def test_a_page_is_a_program_that_runs(page: str) -> None:
    exec(compile(programs()[page], page, "exec"), {"__name__": "page"})


def test_pages_of_tests_pass(tmp_path: Path) -> None:
    for page, program in programs().items():
        if are_tests(program):
            tmp_path.joinpath(f"test_{Path(page).stem.replace('-', '_')}.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_commands_are_run_or_are_known_to_be_left_out() -> None:
    commands = {line for text in PAGES.values() for block in blocks("sh", text) for line in block.splitlines()}
    assert commands >= NOT_RUN.keys()
    for command in sorted(commands - NOT_RUN.keys()):
        line = command.replace("python -m", f"{sys.executable} -m")
        subprocess.run(["bash", "-ec", line], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_that_are_there(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", PAGES[page]):
        if "://" not in target:
            assert (DOCS / page).parent.joinpath(target).resolve().is_file(), target


@pytest.mark.parametrize("page", PAGES)
def test_what_is_called_a_part_of_a_session_is_one(page: str) -> None:
    for name in re.findall(r"`(?:await |request\.)?session\.([a-z]\w*)", PAGES[page]):
        assert hasattr(Session, name), name


def test_the_changelog_knows_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog
    assert asgi_sessions.__version__ in changelog


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")),
    reason="mkdocs is not installed (pip install 'asgi-session-registry[docs]')",
)
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    # Not with --quiet, which would drop the warnings before they are counted.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "<h1" in (tmp_path / "site/index.html").read_text(encoding="utf-8")
