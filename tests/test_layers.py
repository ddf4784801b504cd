"""The structure that the package promises: imports go strictly downwards, and nothing is exported by accident."""

import ast
from pathlib import Path

import pytest

import asgi_sessions

PACKAGE = Path(asgi_sessions.__file__).parent

# From the bottom to the top: a module imports only from those before it.
LAYERS = [
    "_engine",
    "_engine.cache",
    "exceptions",
    "lifetime",
    "serializers.base",
    "serializers.walker",
    "serializers.extensions",
    "serializers.registered",
    "serializers.reader",
    "serializers.again",
    "serializers.messagepack",
    "serializers.json",
    "serializers",
    "crypto",
    "crypto.xaes",
    "crypto.seal",
    "crypto.keys",
    "importers",
    "cookies",
    "opener",
    "record",
    "edits",
    "attributes",
    "lazydict",
    "models",
    "session",
    "_engine.queue",
    "stores.base",
    "stores.cookie",
    "stores.owners",
    "stores.memory",
    "stores.filesystem.directory",
    "stores.filesystem.index",
    "stores.filesystem.files",
    "stores.filesystem.workers",
    "stores.filesystem.store",
    "stores.filesystem",
    "stores.redis.connection",
    "stores.redis.scripts",
    "stores.redis.routes",
    "stores.redis.store",
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
            named = [node.module] if node.module else [alias.name for alias in node.names]
            found += ["." + ".".join([*base, module]) for module in named]
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
    assert asgi_sessions.__all__ == [
        "BadCookieSignature", "CookieOptions", "CookieReader", "CookieRefused", "CookieStore", "CookieTooLarge",
        "DuplicateCookie", "ExpiredSession", "FilesystemStore", "FlashMessage", "JSONSerializer", "LeaseExpired",
        "LeaseTimeout", "MalformedSession", "MemoryStore", "MessagePackSerializer", "ModelMismatch", "NotSupported",
        "OwnerIndex", "RecordStore", "RedisStore", "RegeneratedSession", "ResponseStarted", "SerializationError",
        "Serializer", "Session", "SessionConfig", "SessionConflict", "SessionError", "SessionInfo", "SessionManager",
        "SessionMiddleware", "SessionNotConfigured", "SessionNotLoaded", "SessionRegistry", "SessionSuperseded",
        "StarletteCookies", "Store", "StoreError", "StoreFull", "StoreTimeout", "StoreUnavailable", "Stored",
        "UnknownSession", "generate_key", "get_session", "get_sessions",
    ]  # fmt: skip
    for name in asgi_sessions.__all__:
        assert getattr(asgi_sessions, name).__doc__
