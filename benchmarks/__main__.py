"""Time added by a session middleware over the bare application, measured side by side in one process.

Each contender is called in turns with the bare application, round after round, so that a machine that gets slower or
faster meanwhile does so for all of them; the table shows the medians, and their ratio to Starlette's middleware.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.middleware.sessions import SessionMiddleware as StarlettesMiddleware

from asgi_sessions import FilesystemStore, MemoryStore, RedisStore, SessionMiddleware, generate_key

KEY = generate_key()
REFERENCE = "Starlette, signed cookie"

#: About 300 bytes as JSON.
VALUES: dict[str, Any] = {
    "user": "alice@example.org",
    "roles": ["admin", "editor"],
    "csrf": "9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c",
    "cart": [{"sku": "A-100", "n": 2}, {"sku": "B-200", "n": 1}],
    "locale": "de_DE",
    "theme": "dark",
    "seen": 1234567890,
    "note": "x" * 60,
    "n": 0,
}

App = Callable[..., Any]


async def respond(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def fill(scope: Any, receive: Any, send: Any) -> None:
    scope["session"].update(VALUES)
    await respond(scope, receive, send)


async def read(scope: Any, receive: Any, send: Any) -> None:
    _ = scope["session"]["user"]
    await respond(scope, receive, send)


async def write(scope: Any, receive: Any, send: Any) -> None:
    scope["session"]["n"] += 1
    await respond(scope, receive, send)


SCENARIOS = {"untouched": respond, "read": read, "write": write}


async def call(app: App, cookie: bytes) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"example.org"), (b"user-agent", b"Mozilla/5.0"), (b"accept", b"*/*")]
    if cookie:
        headers.append((b"cookie", b"first=1; " + cookie + b"; last=2"))
    await app({"type": "http", "scheme": "http", "method": "GET", "path": "/", "headers": headers}, receive, send)
    return sent


async def cookie_of(app: App) -> bytes:
    start = (await call(app, b""))[0]
    return next(value for name, value in start["headers"] if name.lower() == b"set-cookie").split(b";")[0]


async def timed(app: App, cookie: bytes, count: int, at_once: int) -> float:
    """Microseconds for each of ``count`` requests, ``at_once`` of them running at any time."""

    async def run(number: int) -> None:
        for _ in range(number):
            await call(app, cookie)

    start = time.perf_counter()
    if at_once == 1:
        await run(count)
    else:
        await asyncio.gather(*(run(count // at_once) for _ in range(at_once)))
    return (time.perf_counter() - start) / (count // at_once * at_once) * 1e6


Contender = Callable[[App], App]


async def measure(contenders: dict[str, Contender], rounds: int, at_once: int) -> dict[str, dict[str, float]]:
    """Contender -> scenario -> microseconds added, median over the rounds."""
    cookies = {name: await cookie_of(wrap(fill)) for name, wrap in contenders.items()}
    samples: dict[str, dict[str, list[float]]] = {name: {scenario: [] for scenario in SCENARIOS} for name in contenders}
    for _ in range(rounds):
        for name, wrap in contenders.items():
            for scenario, app in SCENARIOS.items():
                bare = await timed(respond, cookies[name], 1000, at_once)
                samples[name][scenario].append(await timed(wrap(app), cookies[name], 1000, at_once) - bare)
    return {name: {s: statistics.median(values) for s, values in found.items()} for name, found in samples.items()}


@contextlib.contextmanager
def embedded_redis() -> Iterator[str]:
    from asgi_sessions.demo.valkey import find_program, valkey

    with tempfile.TemporaryDirectory() as directory, valkey(find_program(), Path(directory)) as url:
        yield url


def contenders(redis_url: str, directory: str) -> dict[str, Contender]:
    memory, files, redis = MemoryStore(), FilesystemStore(directory), RedisStore(redis_url)
    return {
        REFERENCE: lambda app: StarlettesMiddleware(app, KEY),
        "signed cookie": lambda app: SessionMiddleware(app, KEY),
        "encrypted cookie": lambda app: SessionMiddleware(app, KEY, encrypt=True),
        "memory": lambda app: SessionMiddleware(app, KEY, store=memory),
        "memory, no autoload": lambda app: SessionMiddleware(without_loading(app), KEY, store=memory, autoload=False),
        "files": lambda app: SessionMiddleware(app, KEY, store=files),
        "Redis": lambda app: SessionMiddleware(app, KEY, store=redis),
    }


def without_loading(app: App) -> App:
    """What an application does that loads its session itself where it needs it."""
    if app is respond:
        return app

    async def load(scope: Any, receive: Any, send: Any) -> None:
        await scope["sessions"].get()
        await app(scope, receive, send)

    return load


def table(results: dict[str, dict[str, float]]) -> str:
    lines = [f"{'time added, us':28}" + "".join(f"{scenario:>20}" for scenario in SCENARIOS)]
    for name, found in results.items():
        cells = [f"{us:9.1f} ({us / results[REFERENCE][scenario]:6.2f} x)" for scenario, us in found.items()]
        lines.append(f"{name:28}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--concurrent", type=int, default=1, help="requests at once (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures in a file")
    options = parser.parse_args()
    with embedded_redis() as url, tempfile.TemporaryDirectory() as directory:
        results = asyncio.run(measure(contenders(url, directory), options.rounds, options.concurrent))
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
