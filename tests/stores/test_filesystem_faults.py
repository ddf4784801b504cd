"""Faults around the filesystem store: foreign files, forks, slow threads, disks that are read-only."""

import asyncio
import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from asgi_sessions import FilesystemStore, NotSupported, Stored, StoreFull, StoreTimeout, StoreUnavailable

HANDLE = bytes(range(16))
OLD, NEW = b"version1", b"version2"
KEPT = Stored(OLD, b"data" * 50)
LONG_AGO = 1.0
MAX_BYTES = 10_000


def soon() -> float:
    return time.time() + 3600


def record_file(path: Path, handle: bytes = HANDLE) -> Path:
    return path / handle.hex()[:2] / handle.hex()


def corrupted(path: Path) -> list[str]:
    return [file.name for file in path.rglob("*.corrupt")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[FilesystemStore]:
    store = FilesystemStore(path, timeout=1.0, threads=1, max_bytes=MAX_BYTES)
    await store.create(HANDLE, KEPT.version, KEPT.data, soon())
    yield store
    await store.close()


@contextlib.contextmanager
def every_lock_held(path: Path) -> Iterator[None]:
    """By somebody else: a lock belongs to the open file, not to the process."""
    files = [os.open(lock, os.O_RDWR) for lock in (path / "locks").iterdir()]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        for file in files:
            os.close(file)


# -- sizes and deadlines --------------------------------------------------------------------------------------------


async def test_a_record_that_could_not_be_read_again_is_refused(store: FilesystemStore, path: Path) -> None:
    with pytest.raises(StoreFull, match=r"10001 bytes; max_bytes is 10000") as caught:
        await store.swap(HANDLE, OLD, NEW, bytes(MAX_BYTES + 1))
    assert isinstance(caught.value.__cause__, OSError)
    assert await store.read(HANDLE) == KEPT
    assert await store.swap(HANDLE, OLD, NEW, bytes(MAX_BYTES)) == Stored(NEW, bytes(MAX_BYTES))
    assert await store.read(HANDLE) == Stored(NEW, bytes(MAX_BYTES))
    assert not list(path.rglob("*.tmp"))


@pytest.mark.parametrize("deadline", [0.0, -1.0, -1e12, float("-inf")])
async def test_any_deadline_in_the_past_ends_a_record(store: FilesystemStore, deadline: float) -> None:
    assert await store.touch(HANDLE, OLD, deadline)
    assert await store.read(HANDLE) is None


async def test_keeping_the_deadline_never_moves_it(store: FilesystemStore, path: Path) -> None:
    before = record_file(path).stat().st_mtime
    for _ in range(200):
        await store.swap(HANDLE, OLD, NEW, b"")
        await store.swap(HANDLE, NEW, OLD, b"")
    assert record_file(path).stat().st_mtime == pytest.approx(before, abs=1e-4)


async def test_waiting_for_a_lock_and_then_for_a_thread_has_one_deadline(store: FilesystemStore, path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with every_lock_held(path):
            started = time.monotonic()
            with pytest.raises(StoreTimeout):
                await asyncio.gather(store.swap(HANDLE, OLD, NEW, b"new"), hold_a_thread(store, reading, after=0.6))
            assert time.monotonic() - started < 1.5
    finally:
        os.close(writing)


async def hold_a_thread(store: FilesystemStore, pipe: int, after: float) -> None:
    """Until the pipe is closed at its other end; a disk that hangs looks like this."""
    await asyncio.sleep(after)
    assert store._workers is not None
    end = asyncio.get_running_loop().time() + 60
    async with asyncio.TaskGroup() as group:
        group.create_task(store._workers.run(end, os.read, pipe, 1))
        group.create_task(store._workers.run(end, os.close, pipe))


def test_under_trio_it_is_not_supported(path: Path) -> None:
    trio = pytest.importorskip("trio")
    with pytest.raises(NotSupported, match="FilesystemStore needs asyncio"):
        trio.run(FilesystemStore(path).read, HANDLE)


# -- corrupt files --------------------------------------------------------------------------------------------------


async def test_reading_a_corrupt_file_waits_for_no_lock(store: FilesystemStore, path: Path) -> None:
    record_file(path).write_bytes(b"no record")
    with every_lock_held(path):
        assert await store.read(HANDLE) is None
        assert corrupted(path) == []
    assert await store.read(HANDLE) is None
    assert len(corrupted(path)) == 1


@pytest.mark.parametrize("verb", ["read", "create", "swap", "touch", "delete"])
async def test_every_verb_says_once_that_it_put_a_corrupt_file_aside(
    store: FilesystemStore, path: Path, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    record_file(path).write_bytes(b"no record")
    arguments = {
        "read": (),
        "create": (NEW, b"new", soon()),
        "swap": (OLD, NEW, b"new"),
        "touch": (OLD, soon()),
        "delete": (OLD,),
    }
    with caplog.at_level(logging.WARNING, "asgi_sessions"):
        assert await getattr(store, verb)(HANDLE, *arguments[verb]) in (None, verb == "create")
    assert len(corrupted(path)) == 1
    assert [record.getMessage().split(" was put")[0] for record in caplog.records] == [
        f"session record {HANDLE.hex()} is corrupt and"
    ]


async def test_only_the_version_that_could_not_be_decoded_is_put_aside(store: FilesystemStore, path: Path) -> None:
    await store.quarantine(HANDLE, NEW)
    assert await store.read(HANDLE) == KEPT
    await store.touch(HANDLE, OLD, LONG_AGO)
    await store.quarantine(HANDLE, OLD)
    assert corrupted(path) == []


# -- foreign files in the directory ---------------------------------------------------------------------------------


FOREIGN = [
    (name, kind)
    for name in ("00/README", "00/0123", "00/" + "0" * 32, "ab", "locks/README")
    for kind in ("file", "directory", "link")
    if (name, kind) != ("00/" + "0" * 32, "file")  # that is what an expired record looks like
]


@pytest.mark.parametrize(("name", "kind"), FOREIGN)
async def test_pruning_passes_over_what_the_store_did_not_make(
    store: FilesystemStore, path: Path, tmp_path: Path, name: str, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / ("ab" * 16)
    victim.touch()
    foreign = path / name
    if kind == "file":
        foreign.touch()
    elif kind == "directory":
        foreign.mkdir()
    else:
        foreign.symlink_to(outside)
    for file in (victim, foreign):
        os.utime(file, (LONG_AGO, LONG_AGO))
    await store.touch(HANDLE, OLD, LONG_AGO)
    assert await store.prune() == 1
    assert foreign.exists()
    assert victim.exists()


async def test_a_record_is_pruned_or_prolonged_but_never_both(path: Path) -> None:
    late = FilesystemStore(path, clock=lambda: 4_000_000_000.0)
    early = FilesystemStore(path, clock=lambda: 3_000_000_000.0)
    handles = [bytes([0, index]) * 8 for index in range(200)]
    for handle in handles:
        await early.create(handle, OLD, b"", 3_500_000_000.0)
    removed, *prolonged = await asyncio.gather(
        late.prune(), *(early.touch(handle, OLD, 5_000_000_000.0) for handle in handles)
    )
    kept = [await late.read(handle) is not None for handle in handles]
    assert kept == prolonged
    assert removed == prolonged.count(False)
    await late.close()
    await early.close()


async def test_a_record_that_is_prolonged_after_pruning_looked_at_it_stays(store: FilesystemStore, path: Path) -> None:
    def clock() -> float:
        """Asked when the old deadline was read, and before the lock is taken."""
        os.utime(record_file(path), (4_000_000_000, 4_000_000_000))
        return 3_000_000_000.0

    pruning = FilesystemStore(path, clock=clock)
    await store.touch(HANDLE, OLD, time.time() + 10)
    assert await pruning.prune() == 0
    assert await store.read(HANDLE) == KEPT
    await pruning.close()


# -- processes and disks --------------------------------------------------------------------------------------------

FORKING = """
import asyncio, os, signal, sys
from asgi_sessions import FilesystemStore

async def main(path):
    store = FilesystemStore(path, timeout=1.0)
    handle = bytes(range(16))
    with store._files.locked(handle):
        child = os.fork()
        if child == 0:
            signal.pause()
    print(await store.touch(handle, b"version1", 4e9), flush=True)
    os.kill(child, 9)
    os.waitpid(child, 0)

asyncio.run(main(sys.argv[1]))
"""


async def test_a_process_that_was_forked_during_a_commit_does_not_keep_the_lock(
    store: FilesystemStore, path: Path
) -> None:
    command = [sys.executable, "-c", FORKING, path]
    done = await asyncio.to_thread(subprocess.run, command, input=b"", capture_output=True, timeout=20, check=True)
    assert done.stdout == b"True\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk read-only needs privileges; the test without permission needs none")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@pytest.fixture
async def read_only_store(disk: Path) -> AsyncIterator[FilesystemStore]:
    store = FilesystemStore(disk / "sessions")
    await store.create(HANDLE, KEPT.version, KEPT.data, soon())
    await store.create(bytes(16), KEPT.version, KEPT.data, soon())
    record_file(disk / "sessions", bytes(16)).write_bytes(b"no record")
    make_read_only(disk)
    yield store
    await store.close()


async def test_a_read_only_disk_is_read_and_every_write_is_unavailable(
    read_only_store: FilesystemStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = read_only_store
    assert await store.read(HANDLE) == KEPT
    for write in (
        store.create(NEW * 2, NEW, b"", soon()),
        store.swap(HANDLE, OLD, NEW, b""),
        store.touch(HANDLE, OLD, soon()),
        store.delete(HANDLE),
    ):
        with pytest.raises(StoreUnavailable, match="Read-only file system"):
            await write
    with caplog.at_level(logging.WARNING, "asgi_sessions"):
        assert await store.read(bytes(16)) is None
    assert "cannot be read, nor put aside" in caplog.text
