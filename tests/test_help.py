"""``help()`` of what the package exports names nothing that cannot be imported from it."""

import builtins
import inspect
import re
from collections.abc import Iterator

import pytest

import asgi_sessions

# ``Name``, ``Name.attribute``, ``Name(...)`` and ``Name[...]``; not ``Set-Cookie``, which is no name of Python's.
NAME = re.compile(r"``([A-Z]\w*[a-z]\w*)(?:[.(\[][^`]*)?``")
FOREIGN = {
    "Decimal",  # the standard library's
    "Redis", "RedisCluster",  # redis-py's
}  # fmt: skip


def documented(name: str) -> Iterator[tuple[str, str]]:
    """The docstrings of an export, and of its public methods and properties, inherited ones of ours included."""
    export = getattr(asgi_sessions, name)
    yield name, export.__doc__ or ""
    if not inspect.isclass(export):
        return
    for base in export.__mro__:
        if base.__module__.startswith("asgi_sessions"):
            members = {attribute: member for attribute, member in vars(base).items() if not attribute.startswith("_")}
            for attribute, member in members.items():
                yield f"{name}.{attribute}", getattr(member, "__doc__", None) or ""


@pytest.mark.parametrize("name", asgi_sessions.__all__)
def test_help_names_only_what_can_be_imported(name: str) -> None:
    known = {*asgi_sessions.__all__, *dir(builtins), *FOREIGN}
    named = {(place, word) for place, text in documented(name) for word in NAME.findall(text)}
    assert {(place, word) for place, word in named if word not in known} == set()
