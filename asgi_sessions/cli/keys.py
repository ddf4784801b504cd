"""The application's keys, for commands that need them."""

from __future__ import annotations

import getpass
import os
import warnings

KEY, FALLBACK_KEYS = "ASGI_SESSIONS_SECRET_KEY", "ASGI_SESSIONS_FALLBACK_KEYS"


class NoKey(Exception):
    """No key was given; the message says how to give one."""


def asked_keys() -> tuple[str, list[str]]:
    """``secret_key`` and ``fallback_keys``, from the environment; the first one is asked for if it is not there.

    Raises:
        NoKey: none was given.
    """
    return os.environ.get(KEY) or _ask(), os.environ.get(FALLBACK_KEYS, "").split()


def _ask() -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would be echoed
            key = getpass.getpass("secret_key (not shown): ")
    except (getpass.GetPassWarning, EOFError):
        key = ""
    if not key:
        raise NoKey(f"no key: set {KEY}, or type it at a terminal")
    return key
