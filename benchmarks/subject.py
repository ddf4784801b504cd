"""A session middleware, ready to be measured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .applications import BASIC, Application, respond


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a subject is built with.

    Attributes:
        redis_url: a server that is there for the benchmarks only.
        directory: an empty one, for files.
        key: to sign and encrypt with, 64 hexadecimal digits.
    """

    redis_url: str
    directory: Path
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    Attributes:
        wrap: puts the middleware around an application; all that it wraps share one store.
        differing: applications that have to be written otherwise, or can only be written, with this package.
        prepare: awaited before an application that touches its session; None: the middleware does the loading.
    """

    wrap: Callable[[Application], Application]
    differing: Mapping[str, Application] = field(default_factory=dict)
    prepare: Callable[[Any], Awaitable[Any]] | None = None

    def application(self, name: str) -> Application:
        return self.around({**BASIC, **self.differing}[name])

    def around(self, application: Application) -> Application:
        """The application with the middleware around it."""
        prepare = self.prepare
        if prepare is None or application is respond:
            return self.wrap(application)

        async def prepared(scope: Any, receive: Any, send: Any) -> None:
            await prepare(scope)
            await application(scope, receive, send)

        return self.wrap(prepared)
