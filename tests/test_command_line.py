"""``python -m asgi_sessions``."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from asgi_sessions import FilesystemStore, SessionMiddleware
from asgi_sessions.__main__ import main

OLD = b"version1"


def test_keygen_prints_a_key_that_the_middleware_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen"]) == 0
    key = capsys.readouterr().out.strip()
    assert len(key) == 43
    SessionMiddleware(lambda: None, secret_key=key)  # type: ignore[arg-type]  # never called
    main(["keygen"])
    assert capsys.readouterr().out.strip() != key


def test_it_runs_as_a_module_and_help_shows_examples() -> None:
    command = [sys.executable, "-m", "asgi_sessions", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "python -m asgi_sessions prune" in done.stdout


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "command" in capsys.readouterr().err


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


def test_prune_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", str(tmp_path / "missing")]) == 1
    assert "is not a directory" in capsys.readouterr().err
