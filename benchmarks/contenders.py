"""Who is measured, by name; nothing here imports them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: The versions that are compared. What is not in the ``bench`` extra runs in an environment of its own, see APART.
PINS = {
    "starlette": "1.10.0",
    "starsessions": "2.2.1",
    "litestar": "2.25.0",
    "fastapi-redis-sdk": "0.9.1",
    "fastapi-alcazaba": "0.2.0",
    "redsession": "1.4.0",
}
#: Requirements of the environments that the suite creates, because they conflict with this package's.
APART = {"redsession": (f"redsession=={PINS['redsession']}", "redis==5.3.1", "uvloop", "hiredis", "orjson")}

OURS = "asgi_sessions"
USUAL = ("untouched", "read", "write", "nested")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """
    Attributes:
        package: as people call it.
        kind: where its sessions are.
        module: in ``benchmarks.peers``.
        environment: empty: the one that the suite runs in; else a name in APART.
        scenarios: those that the package can do.
    """

    package: str
    kind: str
    module: str
    environment: str = ""
    scenarios: tuple[str, ...] = USUAL

    @property
    def name(self) -> str:
        return f"{self.package}, {self.kind}"

    @property
    def is_ours(self) -> bool:
        return self.package == OURS

    @property
    def has_server(self) -> bool:
        """Whether requests wait for something, so that it matters how many there are at once."""
        return self.kind in ("files", "Redis")


def _ours(kind: str, scenarios: tuple[str, ...] = (*USUAL, "flash", "login")) -> Contender:
    return Contender(package=OURS, kind=kind, module="ours", scenarios=scenarios)


def _peer(package: str, kind: str, module: str, *more: str, environment: str = "") -> Contender:
    scenarios = (*USUAL, *more)
    return Contender(package=package, kind=kind, module=module, scenarios=scenarios, environment=environment)


CONTENDERS = (
    _ours("signed cookie", (*USUAL, "strangers", "flash", "login")),
    _ours("encrypted cookie", (*USUAL, "strangers", "flash", "login")),
    _ours("memory"),
    _ours("memory, no autoload", ("untouched",)),
    _ours("files"),
    _ours("files, no autoload", ("untouched",)),
    _ours("Redis", (*USUAL, "strangers", "flash", "login")),
    _ours("Redis, no autoload", ("untouched",)),
    _ours("Redis, renewal due", ("untouched", "read")),
    _peer("Starlette", "signed cookie", "starlettes", "strangers"),
    _peer("starsessions", "signed cookie", "starsessions_", "login"),
    _peer("starsessions", "memory", "starsessions_", "login"),
    _peer("starsessions", "Redis", "starsessions_", "login", "strangers"),
    _peer("Litestar", "encrypted cookie", "litestars", "strangers"),
    _peer("Litestar", "memory", "litestars"),
    _peer("Litestar", "files", "litestars"),
    _peer("Litestar", "Redis", "litestars"),
    _peer("redsession", "Redis", "redsessions", environment="redsession"),
    _peer("fastapi-redis-sdk", "Redis", "redis_sdk", "login"),
    _peer("fastapi-alcazaba", "memory", "alcazaba", "login"),
    _peer("fastapi-alcazaba", "Redis", "alcazaba", "login"),
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}


def chosen(words: Sequence[str], among: Iterable[Contender] = CONTENDERS) -> list[Contender]:
    """Those whose name contains one of the words; all of them if there is no word."""
    lowered = [word.lower() for word in words]
    return [each for each in among if not lowered or any(word in each.name.lower() for word in lowered)]
