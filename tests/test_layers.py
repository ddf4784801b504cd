"""The structure that the package promises: imports go strictly downwards, and nothing is exported by accident."""

import ast
from pathlib import Path

import pytest

import asgi_sessions

PACKAGE = Path(asgi_sessions.__file__).parent

# From the bottom to the top: a module imports only from those before it.
LAYERS = [
    "exceptions",
    "lifetime",
    "_engine.cache",
    "serializers.base",
    "serializers.types",
    "serializers.msgpack",
    "serializers.json",
    "serializers",
    "crypto.xaes",
    "crypto.seal",
    "crypto.keys",
    "crypto",
    "cookies",
    "opener",
    "record",
    "edits",
    "attributes",
    "lazydict",
    "shapes",
    "models",
    "session",
    "loops",
    "stores.turns",
    "stores.base",
    "stores.cookie",
    "stores.owners",
    "stores.memory",
    "stores.atomic",
    "stores.locks",
    "stores.file_index",
    "stores.files",
    "stores.workers",
    "stores.filesystem",
    "stores.resp",
    "stores.coalescer",
    "stores.redis_scripts",
    "stores.redis_routes",
    "stores.redis",
    "stores",
    "config",
    "manager",
    "presented",
    "plans",
    "late",
    "owners",
    "writing",
    "completion",
    "exchange",
    "exclusive",
    "registry",
    "middleware",
    "__init__",
    "fastapi",
    "testing.contract.values",
    "testing.contract.verbs",
    "testing.contract.races",
    "testing.contract",
    "testing.client",
    "testing.sessions",
    "testing",
    "cli.parsers",
    "cli.keys",
    "cli.keygen",
    "cli.demo",
    "cli.prune",
    "cli.cookies",
    "cli.findings",
    "cli.reports",
    "cli.sessions",
    "cli.inspect",
    "cli",
    "__main__",
]
PURE = LAYERS[: LAYERS.index("session") + 1]
FORBIDDEN_IN_PURE = {"asyncio", "anyio", "time", "random", "socket", "aiofiles", "redis", "starlette"}


def modules() -> dict[str, Path]:
    files = [path for path in PACKAGE.rglob("*.py") if "demo" not in path.parts]
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def imports(name: str, path: Path) -> list[str]:
    """Modules that are imported: ``.name`` for those of this package."""
    found = []
    package = name.split(".")[:-1] if path.name != "__init__.py" else name.split(".")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            base = [] if name == "__init__" else package[: len(package) - node.level + 1]
            found.append("." + ".".join([*base, *(node.module or "").split(".")]))
    return found


@pytest.mark.parametrize("name", sorted(modules()))
def test_every_module_has_its_layer(name: str) -> None:
    assert name in LAYERS


@pytest.mark.parametrize("name", LAYERS)
def test_imports_go_strictly_downwards(name: str) -> None:
    below = {f".{module}" for module in LAYERS[: LAYERS.index(name)]}
    own = [module for module in imports(name, modules()[name]) if module.startswith(".") and module != ".demo"]
    assert set(own) <= below


@pytest.mark.parametrize("name", PURE)
def test_the_pure_part_has_no_clock_no_event_loop_and_no_io(name: str) -> None:
    roots = {module.split(".")[0] for module in imports(name, modules()[name])}
    assert not roots & FORBIDDEN_IN_PURE


def test_the_top_level_exports_are_these() -> None:
    assert sorted(asgi_sessions.__all__) == asgi_sessions.__all__
    assert set(asgi_sessions.__all__) == {
        "BadCookieSignature", "CookieOptions", "CookieReader", "CookieRefused", "CookieStore", "CookieTooLarge", "DuplicateCookie",
        "ExpiredSession", "FilesystemStore", "FlashMessage", "JSONSerializer", "LeaseExpired", "LeaseTimeout", "MalformedSession",
        "MemoryStore", "MessagePackSerializer", "ModelMismatch", "NewerFormat", "NotSupported", "OwnerIndex", "RecordStore",
        "RedisStore", "ResponseStarted", "SerializationError", "Serializer", "Session", "SessionConfig",
        "SessionConflict", "SessionError", "SessionInfo", "SessionManager", "SessionMiddleware", "SessionNotConfigured",
        "SessionNotLoaded", "SessionRegistry", "SessionSuperseded", "StarletteCookies", "Store", "StoreError",
        "StoreFull", "StoreTimeout", "StoreUnavailable", "Stored", "RegeneratedSession", "UnknownSession", "generate_key",
        "get_session", "get_sessions",
    }  # fmt: skip
    for name in asgi_sessions.__all__:
        assert getattr(asgi_sessions, name).__doc__
