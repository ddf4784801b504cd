"""What a directory, a disk and other processes can do to the filesystem store."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asgi_sessions import FilesystemStore, Stored, StoreFull, StoreTimeout, StoreUnavailable
from asgi_sessions.stores.filesystem.directory import LOCKS, ORPHANED_AFTER
from asgi_sessions.stores.filesystem.files import RecordFiles

HANDLE = bytes(range(16))
OLD, NEW = b"version1", b"version2"
KEPT = Stored(OLD, b"data" * 50)


def soon() -> float:
    return time.time() + 3600


def record_file(path: Path) -> Path:
    return path / HANDLE.hex()[:2] / HANDLE.hex()


def leftovers(path: Path) -> list[str]:
    return [file.name for file in path.rglob("*.tmp")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[FilesystemStore]:
    store = FilesystemStore(path, timeout=1.0)
    await store.create(HANDLE, KEPT.version, KEPT.data, soon())
    yield store
    await store.close()


def python(*arguments: object, code: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# -- files and their modes ------------------------------------------------------------------------------------------


async def test_nobody_else_can_read_directories_and_files(path: Path) -> None:
    before = os.umask(0)
    try:
        store = FilesystemStore(path)
        await store.create(HANDLE, KEPT.version, KEPT.data, soon())
        await store.close()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(entry.stat().st_mode) for entry in [path, *path.rglob("*")] if entry.is_dir()}
    assert modes == {0o700}
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in path.rglob("*") if entry.is_file()} == {0o600}


async def test_touch_rewrites_nothing(store: FilesystemStore, path: Path) -> None:
    before = record_file(path).stat()
    assert await store.touch(HANDLE, OLD, soon() + 1000)
    after = record_file(path).stat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
    assert after.st_mtime > before.st_mtime


async def test_deadlines_are_kept_to_the_millisecond(store: FilesystemStore, path: Path) -> None:
    deadline = time.time() + 100.25
    await store.touch(HANDLE, OLD, deadline)
    assert record_file(path).stat().st_mtime == pytest.approx(deadline, abs=0.001)


async def test_a_deadline_that_file_systems_do_not_know_is_brought_near(store: FilesystemStore) -> None:
    assert await store.swap(HANDLE, OLD, NEW, b"new", 1e12) == Stored(NEW, b"new")
    assert await store.read(HANDLE) == Stored(NEW, b"new")


async def test_two_stores_share_a_directory(store: FilesystemStore, path: Path) -> None:
    other = FilesystemStore(path)
    assert await other.read(HANDLE) == KEPT
    await other.swap(HANDLE, OLD, NEW, b"new")
    assert await store.swap(HANDLE, OLD, b"version3", b"") == Stored(NEW, b"new")
    await other.close()


async def test_a_directory_that_was_removed_is_made_again(store: FilesystemStore, path: Path) -> None:
    shutil.rmtree(path)
    assert await store.read(HANDLE) is None
    assert await store.create(HANDLE, KEPT.version, KEPT.data, soon())


def test_under_trio_it_says_what_it_needs(path: Path) -> None:
    with pytest.raises(RuntimeError, match="FilesystemStore needs asyncio"):
        anyio.run(FilesystemStore(path).read, HANDLE, backend="trio")


@pytest.mark.parametrize("options", [{"timeout": 0}, {"threads": 0}, {"prune_interval": -1}])
def test_options_that_can_not_be_right_are_refused(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        FilesystemStore(path, **options)


# -- what is found in a record's place ------------------------------------------------------------------------------


async def test_a_file_truncated_anywhere_is_put_aside(store: FilesystemStore, path: Path) -> None:
    file = record_file(path)
    content, deadline = file.read_bytes(), file.stat().st_mtime
    for length in range(len(content)):
        file.write_bytes(content[:length])
        os.utime(file, (deadline, deadline))
        assert await store.read(HANDLE) is None
        assert not file.exists()
    assert len(list(file.parent.glob("*.corrupt"))) == len(content)


async def test_a_file_with_any_bit_flipped_is_put_aside(store: FilesystemStore, path: Path) -> None:
    file = record_file(path)
    content, deadline = file.read_bytes(), file.stat().st_mtime
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        os.utime(file, (deadline, deadline))
        assert await store.read(HANDLE) is None
        assert not file.exists()


def plant_fifo(file: Path) -> None:
    os.mkfifo(file)


def plant_symlink(file: Path) -> None:
    target = file.with_name("target")
    target.write_bytes(b"secret")
    file.symlink_to(target)


def plant_directory(file: Path) -> None:
    file.mkdir()


def plant_sparse_gigabyte(file: Path) -> None:
    with file.open("wb") as sparse:
        sparse.truncate(2**30)


def plant_empty(file: Path) -> None:
    file.touch()


PLANTS = [plant_fifo, plant_symlink, plant_directory, plant_sparse_gigabyte, plant_empty]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.read(HANDLE),
        lambda store: store.swap(HANDLE, OLD, NEW, b"new", soon()),
        lambda store: store.delete(HANDLE),
    ],
    ids=["read", "swap", "delete"],
)
async def test_what_is_no_record_is_put_aside_and_not_followed(
    store: FilesystemStore, path: Path, plant: Callable[[Path], None], verb: Any
) -> None:
    file = record_file(path)
    file.unlink()
    plant(file)
    with anyio.fail_after(2):
        assert await verb(store) is None
    assert not os.path.lexists(file)
    assert len(list(file.parent.glob("*.corrupt"))) == 1
    assert await store.create(HANDLE, KEPT.version, KEPT.data, soon())
    assert await store.read(HANDLE) == KEPT


async def test_a_link_to_a_valid_record_is_not_followed(store: FilesystemStore, path: Path) -> None:
    file = record_file(path)
    elsewhere = path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert await store.read(HANDLE) is None
    assert not os.path.lexists(file)
    assert elsewhere.exists()


async def test_a_corrupt_record_is_reported_once(
    store: FilesystemStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record_file(path).write_bytes(b"garbage")
    os.utime(record_file(path), (soon(), soon()))
    await store.read(HANDLE)
    await store.read(HANDLE)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert HANDLE.hex() in caplog.text


async def test_a_record_that_can_not_be_decoded_is_put_aside_if_it_is_still_that_one(
    store: FilesystemStore, path: Path
) -> None:
    await store.quarantine(HANDLE, NEW)
    assert await store.read(HANDLE) == KEPT
    await store.quarantine(HANDLE, OLD)
    assert await store.read(HANDLE) is None


# -- other processes ------------------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys, time
from asgi_sessions import FilesystemStore

async def write(path):
    store = FilesystemStore(path, fsync=False)
    handle = bytes(range(16))
    kept = await store.read(handle)
    print("ready", flush=True)
    while True:
        count = int.from_bytes(kept.version, "big") + 1
        new = count.to_bytes(8, "big")
        kept = await store.swap(handle, kept.version, new, new * 500, time.time() + 3600)

asyncio.run(write(sys.argv[1]))
"""


async def test_killed_in_the_middle_of_commits_it_leaves_whole_records_and_free_locks(
    path: Path, request: pytest.FixtureRequest
) -> None:
    rounds = 1000 if request.config.getoption("--chaos") else 60
    store = FilesystemStore(path, timeout=5.0)
    await store.create(HANDLE, bytes(8), b"", soon())
    versions = []
    for round_ in range(rounds):
        writer = python(path, code=WRITER)
        assert writer.stdout is not None
        await asyncio.to_thread(writer.stdout.readline)
        for _ in range(round_ % 7):  # let it get to another place each time
            await store.read(HANDLE)
        writer.kill()
        await asyncio.to_thread(writer.wait)
        writer.stdout.close()
        assert writer.stdin is not None
        writer.stdin.close()
        kept = await store.read(HANDLE)
        assert kept is not None
        assert kept.data in (b"", kept.version * 500)
        assert await store.swap(HANDLE, kept.version, kept.version, kept.data) == kept
        versions.append(kept.version)
    assert not list(path.rglob("*.corrupt"))
    assert versions == sorted(versions)
    assert versions[-1] > bytes(8)
    await store.close()


HOLDER = """
import fcntl, os, sys
for name in sys.argv[1:]:
    fcntl.flock(os.open(name, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stopped_holder(path: Path, store: FilesystemStore) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds every lock and was stopped."""
    holder = python(*[path / "locks" / f"{index:02d}" for index in range(LOCKS)], code=HOLDER)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    holder.send_signal(signal.SIGSTOP)
    yield holder
    holder.kill()
    holder.communicate()


async def test_while_a_stopped_process_holds_the_lock_readers_go_on_and_writers_give_up(
    store: FilesystemStore, stopped_holder: "subprocess.Popen[str]"
) -> None:
    failed = 0

    async def write() -> None:
        nonlocal failed
        with pytest.raises(StoreTimeout, match=r" 1\.0 s"):  # locked, or not even looked at when the time was up
            await store.swap(HANDLE, OLD, NEW, b"new")
        failed += 1

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(write)
            for _ in range(20):
                assert await store.read(HANDLE) == KEPT
    assert failed == 20
    stopped_holder.kill()
    stopped_holder.wait()
    assert await store.swap(HANDLE, OLD, NEW, b"new") == Stored(NEW, b"new")


COUNTER = """
import asyncio, os, sys
from asgi_sessions import FilesystemStore

async def count(path):
    store = FilesystemStore(path)
    handle = bytes(range(16))
    for _ in range(25):
        kept = await store.read(handle)
        while True:
            new = os.urandom(8)
            mine = await store.swap(handle, kept.version, new, b"%d" % (int(kept.data) + 1))
            if mine.version == new:
                break
            kept = mine
    await store.close()

asyncio.run(count(sys.argv[1]))
"""


async def test_four_processes_count_without_loss(path: Path) -> None:
    store = FilesystemStore(path)
    await store.create(HANDLE, OLD, b"0", soon())
    counters = [python(path, code=COUNTER) for _ in range(4)]
    for counter in counters:
        await asyncio.to_thread(counter.communicate)
        assert counter.returncode == 0
    kept = await store.read(HANDLE)
    assert kept is not None
    assert kept.data == b"100"
    await store.close()


# -- a full or broken disk ------------------------------------------------------------------------------------------

LIMITED = """
import asyncio, resource, sys
from asgi_sessions import FilesystemStore, StoreFull

async def write(path):
    store = FilesystemStore(path)
    handle = bytes(range(16))
    try:
        await store.swap(handle, b"version1", b"version2", b"x" * 5000)
    except StoreFull as exc:
        print(type(exc.__cause__).__name__, await store.read(handle) is not None, await store.delete(handle))

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
asyncio.run(write(sys.argv[1]))
"""


async def test_a_short_write_is_store_full_and_leaves_the_old_record(store: FilesystemStore, path: Path) -> None:
    process = python(path, code=LIMITED)
    output, _ = await asyncio.to_thread(process.communicate)
    assert output == "OSError True None\n"
    assert leftovers(path) == []
    assert await store.read(HANDLE) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs privileges; the test with RLIMIT_FSIZE needs none")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass


async def test_on_a_full_disk_the_old_record_stays_and_logout_works(small_disk: Path) -> None:
    store = FilesystemStore(small_disk / "sessions")
    await store.create(HANDLE, KEPT.version, KEPT.data, soon())
    fill(small_disk)
    with pytest.raises(StoreFull, match="No space left") as caught:
        await store.swap(HANDLE, OLD, NEW, b"x" * 50_000)
    assert isinstance(caught.value.__cause__, OSError)
    assert leftovers(small_disk) == []
    assert await store.read(HANDLE) == KEPT
    assert await store.delete(HANDLE) is None
    assert await store.read(HANDLE) is None
    await store.close()


async def test_a_path_that_is_no_directory_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = FilesystemStore(tmp_path / "file" / "sessions")
    with pytest.raises(StoreUnavailable, match="Not a directory") as caught:
        await store.create(HANDLE, KEPT.version, KEPT.data, soon())
    assert isinstance(caught.value.__cause__, NotADirectoryError)
    await store.close()


UNPRIVILEGED = """
import asyncio, os, sys
from asgi_sessions import FilesystemStore, StoreUnavailable

async def write(path):
    store = FilesystemStore(path)
    try:
        await store.swap(bytes(range(16)), b"version1", b"version2", b"new")
    except StoreUnavailable as exc:
        print(type(exc.__cause__).__name__)

if os.getuid() == 0:
    os.setuid(65534)
asyncio.run(write(sys.argv[1]))
"""


async def test_a_directory_without_permission_is_unavailable(store: FilesystemStore, path: Path) -> None:
    for parent in [path, *path.parents][: len(path.parts) - 2]:
        if parent.owner() != "root" or parent.name.startswith("pytest"):
            parent.chmod(0o755)
    (path / "locks").chmod(0o755)
    record_file(path).parent.chmod(0o555)
    process = python(path, code=UNPRIVILEGED)
    output, _ = await asyncio.to_thread(process.communicate)
    assert output == "PermissionError\n"
    assert await store.read(HANDLE) == KEPT


# -- pruning --------------------------------------------------------------------------------------------------------


async def test_pruning_removes_expired_records_and_old_temporary_files_only(store: FilesystemStore, path: Path) -> None:
    for index in range(30):
        await store.create(bytes([index + 1] * 16), OLD, b"", soon() if index % 3 else time.time() - 1)
    temporary = record_file(path).with_name("a.tmp")
    temporary.touch()
    assert await store.prune() == 10
    assert await store.prune() == 0
    assert await store.read(HANDLE) == KEPT
    assert temporary.exists()
    later = FilesystemStore(path, clock=lambda: time.time() + ORPHANED_AFTER + 1)
    await store.touch(HANDLE, OLD, time.time() + 2 * ORPHANED_AFTER)
    await later.prune()
    assert not temporary.exists()
    assert await store.read(HANDLE) == KEPT
    await later.close()


async def test_pruning_looks_at_few_files_in_one_step(path: Path) -> None:
    files = RecordFiles(path, fsync=False, max_bytes=1000, clock=time.time)
    files.make()
    for number in range(250):
        files.create(bytes([7]) + number.to_bytes(15, "big"), OLD, b"", time.time() - 1)
        files.owners.enlist(bytes([7]) * 32, number.to_bytes(16, "big"), time.time() - 1)
    assert files.folders() == ["07", "owners/07"]
    assert list(files.prune("07")) == [100, 100, 50]
    assert list(files.prune("07")) == []
    assert list(files.prune("owners/07")) == [0, 0, 0]
    assert list(files.prune("owners/07")) == []
    assert not list((path / "owners" / "07").iterdir())


async def test_pruning_spares_a_record_that_was_prolonged_meanwhile(store: FilesystemStore, path: Path) -> None:
    """The deadline is read again under the lock."""
    await store.touch(HANDLE, OLD, time.time() - 1)
    lock = os.open(path / "locks" / lock_name(), os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert await store.prune() == 0
    os.utime(record_file(path), (soon(), soon()))
    os.close(lock)
    assert await store.prune() == 0
    assert await store.read(HANDLE) == KEPT


def lock_name() -> str:
    from hashlib import blake2b

    return f"{int.from_bytes(blake2b(HANDLE, digest_size=2).digest(), 'big') % LOCKS:02d}"


async def test_an_application_that_starts_up_prunes_in_the_background(store: FilesystemStore, path: Path) -> None:
    await store.create(bytes(16), OLD, b"", time.time() - 1)
    await store.open()
    with anyio.fail_after(5):
        while (path / "00" / bytes(16).hex()).exists():
            await anyio.sleep(0.001)
    await store.close()


async def test_pruning_in_intervals_goes_on_until_close(path: Path) -> None:
    store = FilesystemStore(path, prune_interval=0.01)
    await store.open()
    for _ in range(2):
        await store.create(bytes(16), OLD, b"", time.time() - 1)
        with anyio.fail_after(5):
            while (path / "00" / bytes(16).hex()).exists():
                await anyio.sleep(0.001)
    await store.close()


# -- cancellation ---------------------------------------------------------------------------------------------------


async def test_a_cancelled_commit_leaves_no_lock_and_no_temporary_file(store: FilesystemStore, path: Path) -> None:
    for attempt in range(30):
        task = asyncio.create_task(store.swap(HANDLE, OLD, NEW, b"x" * 10_000))
        for _ in range(attempt % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kept = await store.swap(HANDLE, OLD, NEW, b"new")
        assert kept is not None
        assert kept.version == NEW
        assert await store.swap(HANDLE, NEW, OLD, KEPT.data) == KEPT
    assert leftovers(path) == []


FORKED = """
import asyncio, os, sys, warnings
from asgi_sessions import FilesystemStore

warnings.simplefilter("ignore")  # Python warns of every fork in a process that has threads
store = FilesystemStore(sys.argv[1], timeout=2)
handle = bytes(range(16))
asyncio.run(store.read(handle))
if os.fork() == 0:
    print(asyncio.run(store.read(handle)) is not None, flush=True)
else:
    os.wait()
"""


async def test_a_store_that_was_used_before_a_fork_works_in_the_child(store: FilesystemStore, path: Path) -> None:
    output, _ = await asyncio.to_thread(python(path, code=FORKED).communicate)
    assert output == "True\n"
