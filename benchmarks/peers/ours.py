"""This package."""

from __future__ import annotations

from typing import Any

from asgi_sessions import FilesystemStore, MemoryStore, RedisStore, SessionMiddleware, Store

from ..applications import Application, respond
from ..subject import Setting, Subject


async def flash(scope: Any, receive: Any, send: Any) -> None:
    scope["session"].flash("Saved.")
    await respond(scope, receive, send)


async def show(scope: Any, receive: Any, send: Any) -> None:
    if len(scope["session"].flashes()) != 1:
        raise RuntimeError("the flash did not arrive")
    await respond(scope, receive, send)


async def login(scope: Any, receive: Any, send: Any) -> None:
    scope["session"].regenerate()
    await respond(scope, receive, send)


def build(kind: str, setting: Setting) -> Subject:
    store = _store(kind.partition(",")[0], setting)
    autoload = not kind.endswith("no autoload")

    def wrap(application: Application) -> Application:
        return SessionMiddleware(
            application,
            setting.key,
            store=store,
            encrypt=kind == "encrypted cookie",
            autoload=autoload,
            refresh_interval=0 if kind.endswith("renewal due") else None,
        )

    return Subject(
        wrap=wrap,
        differing={"flash": flash, "show": show, "login": login},
        prepare=None if autoload else _load,
    )


async def _load(scope: Any) -> None:
    await scope["sessions"].get()


def _store(kind: str, setting: Setting) -> Store | None:
    if kind == "memory":
        return MemoryStore()
    if kind == "files":
        return FilesystemStore(setting.directory)
    return RedisStore(setting.redis_url) if kind == "Redis" else None
