"""Starlette's own middleware."""

from __future__ import annotations

from starlette.middleware.sessions import SessionMiddleware

from ..applications import nested_and_assigned
from ..subject import Setting, Subject


def build(kind: str, setting: Setting) -> Subject:
    return Subject(
        wrap=lambda application: SessionMiddleware(application, setting.key),
        differing={"nested": nested_and_assigned},
    )
