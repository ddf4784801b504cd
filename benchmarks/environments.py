"""Worker processes, and the virtual environments of those contenders that cannot share ours."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .contenders import APART

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asgi-sessions-benchmarks"


class Unavailable(Exception):
    """A contender that cannot be measured here; the message says why."""


class Worker:
    """Asks a process that runs ``benchmarks.worker``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, do: str, **arguments: Any) -> Any:
        """
        Raises:
            Unavailable: it could not do it, or is no more.
        """
        self.tell({"do": do, **arguments})
        answer = json.loads(self.listen())
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer["answer"]

    def tell(self, message: dict[str, Any]) -> None:
        """One line to its standard input."""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps(message) + "\n")  # type: ignore[union-attr]  # it is a pipe
            self._process.stdin.flush()  # type: ignore[union-attr]  # it is a pipe

    def listen(self) -> str:
        """One line of its standard output."""
        line: str = self._process.stdout.readline()  # type: ignore[union-attr]  # it is a pipe
        if not line:
            raise Unavailable("its process ended")
        return line


def python_of(environment: str) -> str:
    """The interpreter of an environment, which is made the first time, under CACHE.

    Raises:
        Unavailable: pip could not install it.
    """
    if not environment:
        return sys.executable
    requirements = APART[environment]
    name = hashlib.sha256(repr((requirements, sys.version)).encode()).hexdigest()[:12]
    folder = CACHE / f"{environment}-{name}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "complete").exists():
        print(f"making an environment for {environment} in {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"pip could not install it: {done.stderr.strip().splitlines()[-1]}")
        (folder / "complete").touch()
    return str(python)


@contextlib.contextmanager
def program(
    module: str, setting: dict[str, Any], environment: str = "", prefix: Sequence[str] = ()
) -> Iterator[Worker]:
    """Run a module of the suite until the block ends; ``setting`` is the first line that it reads.

    Args:
        environment: empty: the one that the suite runs in; else a name in APART.
        prefix: a command that runs it, such as strace.
    """
    process = subprocess.Popen(
        [*prefix, python_of(environment), "-m", f"{__package__}.{module}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,  # Ctrl+C is for the suite, which then closes their input
    )
    try:
        started = Worker(process)
        started.tell(setting)
        yield started
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Each program of the suite ends with its input."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
