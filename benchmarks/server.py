"""Serves one contender under uvicorn, in a process of its own, for the end-to-end part."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn

from .applications import FILLS, Application, count, count_bare, respond
from .worker import Bench

BARE = "bare application"
FILL = "/fill"


def application(contender: str, setting: dict[str, Any]) -> Application:
    """Counts at every path but FILL, where a session is begun."""
    begin: Application = respond
    answer: Application = count_bare
    if contender != BARE:
        subject = Bench(setting["redis_url"], Path(setting["directory"]), setting["key"]).subject(contender)
        begin, answer = subject.application(FILLS["300 B"]), subject.around(count)

    async def route(scope: Any, receive: Any, send: Any) -> None:
        await (begin if scope["path"] == FILL else answer)(scope, receive, send)

    return route


def _end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Reads its setting from the standard input, and writes the port that it listens at to the standard output."""
    setting = json.loads(sys.stdin.readline())
    if setting["core"] is not None:
        os.sched_setaffinity(0, [setting["core"]])
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    served = application(setting["contender"], setting)
    config = uvicorn.Config(
        served,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=3600,  # the connections wait for their next round
    )
    print(listening.getsockname()[1], flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
