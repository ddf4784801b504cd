"""The structure that the package promises: layers, a pure core, no reaching into others, no accidental exports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import asgi_sessions

PACKAGE = Path(asgi_sessions.__file__).parent

# From the bottom to the top: a module imports only from its own layer and from those before it. Each entry is a module,
# or a package with all that is in it; the most specific one counts.
LAYERS: dict[str, tuple[str, ...]] = {
    "foundations": ("exceptions", "lifetime", "cookies", "_engine.cache"),
    "formats": ("crypto", "serializers"),
    "records": ("importers", "models", "_engine.record", "_engine.codec"),
    "stores": ("stores", "_engine.queue"),
    "engine": ("_engine",),
    "API": ("config", "session", "manager", "registry", "middleware", "fastapi", "__init__"),
    "tools": ("testing", "cli", "demo", "__main__"),
}

# What is decided here is decided without a clock, an event loop or I/O: time comes in as a number.
PURE = {
    *("exceptions", "lifetime", "cookies", "importers", "models", "crypto", "serializers", "_engine.cache"),
    *("_engine.record", "_engine.codec", "_engine.profile", "_engine.state", "_engine.plan", "_engine.assignment"),
}
IMPURE = {
    "aiofiles",
    "anyio",
    "asyncio",
    "queue",
    "random",
    "redis",
    "sched",
    "select",
    "selectors",
    "shutil",
    "signal",
}
IMPURE |= {"socket", "sqlite3", "ssl", "starlette", "subprocess", "tempfile", "time", "trio", "uvloop"}

# Underscore names of another module's objects. redis-py has no public way to what reads and writes a connection, and
# none to how it makes an error of an error reply; without them each command would take a connection of its own.
REACHED_INTO = {
    ("stores.redis.connection", "_reader"),
    ("stores.redis.connection", "_writer"),
    ("stores.redis.connection", "_parser"),
}


def modules() -> dict[str, Path]:
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


MODULES = dict(sorted(modules().items()))
every_module = pytest.mark.parametrize("name", MODULES)


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def nodes(root: ast.AST, *, at_run_time: bool) -> Iterator[ast.AST]:
    """All below; those that run only, without what is under ``if TYPE_CHECKING:``."""
    for node in ast.iter_child_nodes(root):
        if at_run_time and isinstance(node, ast.If) and is_for_type_checkers(node):
            for other in node.orelse:
                yield from nodes(other, at_run_time=True)
            continue
        yield node
        yield from nodes(node, at_run_time=at_run_time)


def imported(name: str, *, at_run_time: bool = False) -> set[str]:
    """What the module imports: modules of this package begin with a dot, others are named by their root."""
    found = set()
    for node in nodes(tree(name), at_run_time=at_run_time):
        if isinstance(node, ast.Import):
            found |= {own(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = ".".join([*around(name, node.level), *([node.module] if node.module else [])])
            known = [f"{module}.{alias.name}".removeprefix(".") for alias in node.names]
            if node.level:
                found |= {f".{full if full in MODULES else module or '__init__'}" for full in known}
            else:
                found.add(own(module))
    return found


def around(name: str, level: int) -> list[str]:
    """The package that a relative import starts from."""
    if not level or name == "__init__":
        return []
    parts = name.split(".")
    is_package = MODULES[name].name == "__init__.py"
    return parts[: len(parts) - level + is_package]


def own(module: str) -> str:
    """An absolute name, as ``imported`` returns it."""
    root, _, rest = module.partition(".")
    return root if root != "asgi_sessions" else f".{rest or '__init__'}"


def imported_modules(name: str, *, at_run_time: bool = False) -> set[str]:
    return {module[1:] for module in imported(name, at_run_time=at_run_time) if module.startswith(".")}


def entry_of(name: str, entries: set[str]) -> str | None:
    """The entry that a module belongs to: the most specific one."""
    matching = [entry for entry in entries if name == entry or name.startswith(f"{entry}.")]
    return max(matching, key=len, default=None)


LAYER_OF_ENTRY = {entry: number for number, entries in enumerate(LAYERS.values()) for entry in entries}


def layer_of(name: str) -> int:
    entry = entry_of(name, {*LAYER_OF_ENTRY})
    assert entry is not None, f"{name} has no layer"
    return LAYER_OF_ENTRY[entry]


# -- layers ---------------------------------------------------------------------------------------------------------


@every_module
def test_every_module_has_one_layer(name: str) -> None:
    assert layer_of(name) in range(len(LAYERS))


def test_no_module_has_two_layers() -> None:
    assert len(LAYER_OF_ENTRY) == sum(map(len, LAYERS.values()))


@pytest.mark.parametrize("entry", LAYER_OF_ENTRY)
def test_what_has_a_layer_is_there(entry: str) -> None:
    assert entry in MODULES


@every_module
def test_imports_go_down_the_layers(name: str) -> None:
    above = {module for module in imported_modules(name) if layer_of(module) > layer_of(name)}
    assert not above


@every_module
def test_no_module_imports_itself_by_way_of_others(name: str) -> None:
    reached: set[str] = set()
    waiting = [*imported_modules(name)]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imported_modules(module)
    assert name not in reached


# -- purity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", sorted(PURE))
def test_what_is_pure_is_there(entry: str) -> None:
    assert entry in MODULES


@pytest.mark.parametrize("name", [name for name in MODULES if entry_of(name, PURE)])
def test_the_pure_part_has_no_clock_no_event_loop_and_no_io(name: str) -> None:
    assert not imported(name, at_run_time=True) & IMPURE
    calls = [node.func for node in nodes(tree(name), at_run_time=True) if isinstance(node, ast.Call)]
    assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}
    assert not [
        node for node in ast.walk(tree(name)) if isinstance(node, ast.AsyncFunctionDef) and not is_declared(node)
    ]


@pytest.mark.parametrize("name", [name for name in MODULES if entry_of(name, PURE)])
def test_the_pure_part_imports_only_the_pure_part(name: str) -> None:
    assert not {module for module in imported_modules(name, at_run_time=True) if not entry_of(module, PURE)}


def is_declared(function: ast.AsyncFunctionDef) -> bool:
    """Whether it has no body but a docstring, as in a Protocol."""
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in function.body)


# -- what belongs to a module is its own -------------------------------------------------------------------------------


def names_of(name: str) -> set[str]:
    """The names that a module defines: functions, classes, variables, and attributes of its own objects."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            found.add(node.attr)
    return found


def is_self(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "mcs")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def reached_into(name: str) -> set[tuple[str, str]]:
    """Underscore names of others: ``x._name``, ``getattr(x, "_name")``, ``from x import _name``."""
    found = set()
    for node in nodes(tree(name), at_run_time=True):
        if isinstance(node, ast.Attribute) and not is_self(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            found |= {str(arg.value) for arg in node.args[1:2] if isinstance(arg, ast.Constant)}
    return {(name, attribute) for attribute in found - names_of(name) if is_private(attribute)}


@every_module
def test_no_module_touches_an_underscore_name_of_another_modules_objects(name: str) -> None:
    assert reached_into(name) <= REACHED_INTO


def test_the_exceptions_from_that_are_needed() -> None:
    assert {found for name in MODULES for found in reached_into(name)} == REACHED_INTO


# -- what is exported -----------------------------------------------------------------------------------------------


def test_the_top_level_exports_are_these() -> None:
    assert asgi_sessions.__all__ == [
        "BadCookieSignature", "CookieOptions", "CookieReader", "CookieRefused", "CookieStore", "CookieTooLarge",
        "DuplicateCookie", "ExpiredSession", "FilesystemStore", "FlashMessage", "JSONSerializer", "LeaseExpired",
        "LeaseTimeout", "MalformedSession", "MemoryStore", "MessagePackSerializer", "ModelMismatch", "NewerFormat",
        "NotSupported", "OwnerIndex", "RecordStore", "RedisStore", "RegeneratedSession", "ResponseStarted",
        "SerializationError", "Serializer", "Session", "SessionConfig", "SessionConflict", "SessionError",
        "SessionInfo", "SessionManager", "SessionMiddleware", "SessionNotConfigured", "SessionNotLoaded",
        "SessionRegistry", "SessionSuperseded", "StarletteCookies", "Store", "StoreError", "StoreFull",
        "StoreTimeout", "StoreUnavailable", "Stored", "UnknownSession", "generate_key", "get_session", "get_sessions",
    ]  # fmt: skip


@pytest.mark.parametrize("name", asgi_sessions.__all__)
def test_every_export_has_a_docstring(name: str) -> None:
    assert getattr(asgi_sessions, name).__doc__


def test_every_error_is_exported() -> None:
    errors = {node.name for node in tree("exceptions").body if isinstance(node, ast.ClassDef)}
    assert errors <= {*asgi_sessions.__all__}
