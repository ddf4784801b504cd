"""Every record store of the package lists the sessions of an owner: the contract, and what memory and files add."""

import asyncio
import contextlib
import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest

from asgi_sessions import CookieStore, FilesystemStore, MemoryStore, RedisStore, StoreFull, StoreUnavailable
from asgi_sessions.stores.owners import OwnerIndex, barred
from tests.browser import Clock

OWNER, OTHER = bytes(range(32)), bytes(32)
HANDLE = bytes(range(16))
FIRST, SECOND, THIRD = b"1st time", b"2nd time", b"3rd time"
LONG_AGO = 1.0


def soon() -> float:
    return time.time() + 3600


def handles(count: int) -> list[bytes]:
    return [sha256(b"%d" % number).digest()[:16] for number in range(count)]


class OwnerIndexContract:
    """What holds for every store that has an index; override the fixture ``store``."""

    @pytest.fixture
    def many(self) -> int:
        return 10_000

    async def test_it_says_that_it_has_an_index(self, store: OwnerIndex) -> None:
        assert isinstance(store, OwnerIndex)

    async def test_nothing_is_listed_of_an_unknown_owner(self, store: OwnerIndex) -> None:
        assert await store.listed(OWNER) == {}
        await store.delist(OWNER, [HANDLE])
        await store.delist(OWNER, {HANDLE: 1})
        await store.delist(OWNER, [])
        await store.delist(OWNER, {})
        assert await store.listed(OWNER) == {}

    async def test_what_was_enlisted_is_listed_until_it_is_delisted(self, store: OwnerIndex) -> None:
        one, two, three = handles(3)
        for handle in (one, two, three):
            assert await store.enlist(OWNER, handle, soon()) == b""
        assert set(await store.listed(OWNER)) == {one, two, three}
        await store.delist(OWNER, [two, HANDLE])
        assert set(await store.listed(OWNER)) == {one, three}
        await store.delist(OWNER, [one, two, three])
        assert await store.listed(OWNER) == {}

    async def test_enlisting_and_delisting_may_be_repeated(self, store: OwnerIndex) -> None:
        deadline = soon()
        for _ in range(3):
            await store.enlist(OWNER, HANDLE, deadline)
        assert list(await store.listed(OWNER)) == [HANDLE]
        for _ in range(3):
            await store.delist(OWNER, [HANDLE, HANDLE])
        assert await store.listed(OWNER) == {}

    async def test_owners_have_nothing_in_common(self, store: OwnerIndex) -> None:
        owners = [OTHER, b"\xff" * 32, b"{a}\r\n*$%s\x00 {b}\t!/../.." + bytes(8), OWNER]
        for index, owner in enumerate(owners):
            await store.enlist(owner, bytes([index]) * 16, soon())
            await store.enlist(owner, HANDLE, soon())
        await store.bar(OWNER, FIRST, soon())
        await store.delist(OWNER, [HANDLE])
        for index, owner in enumerate(owners[:-1]):
            assert set(await store.listed(owner)) == {bytes([index]) * 16, HANDLE}
            assert await store.enlist(owner, HANDLE, soon()) == b""
        assert set(await store.listed(OWNER)) == {b"\x03" * 16}

    @pytest.mark.parametrize("handle", [bytes(16), b"\xff" * 16, b"g" + bytes(15), FIRST * 2])
    async def test_handles_are_any_bytes(self, store: OwnerIndex, handle: bytes) -> None:
        await store.bar(OWNER, FIRST, soon())
        assert await store.enlist(OWNER, handle, soon()) == FIRST
        assert list(await store.listed(OWNER)) == [handle]
        await store.delist(OWNER, await store.listed(OWNER))
        assert await store.listed(OWNER) == {}
        assert await store.enlist(OWNER, handle, soon()) == FIRST

    async def test_an_earlier_deadline_never_shortens_a_later_one(self, store: OwnerIndex) -> None:
        await store.enlist(OWNER, HANDLE, soon())
        assert await store.enlist(OWNER, HANDLE, LONG_AGO) == b""
        for handle in handles(20):  # whatever is past is removed meanwhile
            await store.enlist(OTHER, handle, soon())
            await store.enlist(OWNER, handle, soon())
        assert HANDLE in await store.listed(OWNER)

    @pytest.mark.parametrize("deadline", [0.0, -1.0, float("-inf"), float("inf"), 1e12])
    async def test_any_deadline_is_taken(self, store: OwnerIndex, deadline: float) -> None:
        await store.enlist(OWNER, HANDLE, deadline)
        await store.bar(OWNER, FIRST, deadline)
        if deadline > 0:
            assert HANDLE in await store.listed(OWNER)
            assert await store.enlist(OWNER, HANDLE, deadline) == FIRST

    # -- marks --------------------------------------------------------------------------------------------------------

    async def test_what_was_enlisted_again_is_not_removed_by_who_listed_it_before(self, store: OwnerIndex) -> None:
        deadline = soon()
        kept, gone = handles(2)
        await store.enlist(OWNER, kept, deadline)
        await store.enlist(OWNER, gone, deadline)
        found = await store.listed(OWNER)
        await store.enlist(OWNER, kept, deadline)
        await store.delist(OWNER, found)
        assert list(await store.listed(OWNER)) == [kept]
        await store.delist(OWNER, await store.listed(OWNER))
        assert await store.listed(OWNER) == {}

    async def test_a_mark_does_not_come_back_with_a_new_entry(self, store: OwnerIndex) -> None:
        deadline = soon()
        marks = set()
        for _ in range(20):
            await store.enlist(OWNER, HANDLE, deadline)
            found = await store.listed(OWNER)
            marks.add(found[HANDLE])
            await store.delist(OWNER, found)
        assert len(marks) == 20

    # -- generations --------------------------------------------------------------------------------------------------

    async def test_whoever_enlists_after_a_bar_learns_of_it(self, store: OwnerIndex) -> None:
        assert await store.enlist(OWNER, HANDLE, soon()) == b""
        await store.bar(OWNER, FIRST, soon())
        assert await store.enlist(OWNER, HANDLE, soon()) == FIRST
        await store.bar(OWNER, SECOND, soon())
        assert await store.enlist(OWNER, HANDLE, soon()) == SECOND
        assert list(await store.listed(OWNER)) == [HANDLE]

    async def test_a_bar_without_any_entry_counts(self, store: OwnerIndex) -> None:
        await store.bar(OWNER, FIRST, soon())
        assert await store.listed(OWNER) == {}
        assert await store.enlist(OWNER, HANDLE, soon()) == FIRST
        await store.delist(OWNER, [HANDLE])
        assert await store.enlist(OWNER, HANDLE, soon()) == FIRST

    async def test_a_generation_that_has_outlived_its_time_is_none(self, store: OwnerIndex) -> None:
        await store.enlist(OWNER, HANDLE, soon())
        await store.bar(OWNER, FIRST, LONG_AGO)
        assert await store.enlist(OWNER, HANDLE, soon()) == b""

    async def test_a_later_bar_never_shortens_the_time_of_an_earlier_one(self, store: OwnerIndex) -> None:
        await store.bar(OWNER, FIRST, soon())
        await store.bar(OWNER, SECOND, LONG_AGO)
        assert await store.enlist(OWNER, HANDLE, soon()) == SECOND

    async def test_a_repeated_bar_does_not_undo_a_later_one(self, store: OwnerIndex) -> None:
        await store.bar(OWNER, FIRST, soon())
        await store.bar(OWNER, FIRST, soon())
        await store.bar(OWNER, SECOND, soon())
        await store.bar(OWNER, THIRD, soon())
        await store.bar(OWNER, FIRST, soon())
        assert await store.enlist(OWNER, HANDLE, soon()) == THIRD

    # -- many at once -------------------------------------------------------------------------------------------------

    async def test_nothing_gets_lost_when_many_enlist_and_delist_at_once(self, store: OwnerIndex) -> None:
        mine = handles(60)
        async with anyio.create_task_group() as group:
            for handle in mine:
                group.start_soon(store.enlist, OWNER, handle, soon())
                group.start_soon(store.enlist, OWNER, handle, LONG_AGO)
        assert set(await store.listed(OWNER)) == set(mine)
        async with anyio.create_task_group() as group:
            for handle in mine[:30]:
                group.start_soon(store.delist, OWNER, [handle])
            for handle in mine[30:]:
                group.start_soon(store.enlist, OWNER, handle, soon())
        assert set(await store.listed(OWNER)) == set(mine[30:])

    async def test_of_a_login_and_a_revocation_at_least_one_learns_of_the_other(self, store: OwnerIndex) -> None:
        outcomes = []

        async def log_in(handle: bytes) -> None:
            began = await store.enlist(OWNER, handle, soon())
            outcomes.append((handle, began, await store.enlist(OWNER, handle, soon())))

        async def revoke() -> None:
            await store.bar(OWNER, FIRST, soon())
            seen.update(await store.listed(OWNER))

        seen: set[bytes] = set()
        async with anyio.create_task_group() as group:
            for number, handle in enumerate(handles(40)):
                group.start_soon(log_in, handle)
                if number == 20:
                    group.start_soon(revoke)
        for handle, began, ended in outcomes:
            assert handle in seen or FIRST in (began, ended)
        assert len(outcomes) == 40

    async def test_ten_thousand_sessions_of_one_owner(self, store: OwnerIndex, many: int) -> None:
        deadline = soon()
        mine = handles(many)
        for start in range(0, many, 200):
            async with anyio.create_task_group() as group:
                for handle in mine[start : start + 200]:
                    group.start_soon(store.enlist, OWNER, handle, deadline)
        found = await store.listed(OWNER)
        assert set(found) == set(mine)
        await store.delist(OWNER, mine[: many // 2])
        await store.delist(OWNER, {handle: mark for handle, mark in found.items() if handle != mine[-1]})
        assert list(await store.listed(OWNER)) == [mine[-1]]


class TestMemoryStore(OwnerIndexContract):
    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def store(self) -> OwnerIndex:
        return MemoryStore()


class TestFilesystemStore(OwnerIndexContract):
    @pytest.fixture
    def many(self, request: pytest.FixtureRequest) -> int:
        return 10_000 if request.config.getoption("--chaos") else 2_500  # what takes time is to make that many files

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[OwnerIndex]:
        store = FilesystemStore(tmp_path / "sessions")
        yield store
        await store.close()


class TestSyncedFilesystemStore(OwnerIndexContract):
    @pytest.fixture
    def many(self) -> int:
        return 100

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[OwnerIndex]:
        store = FilesystemStore(tmp_path / "sessions", fsync=True)
        yield store
        await store.close()


class TestRedisStore(OwnerIndexContract):
    @pytest.fixture
    async def store(self, redis_url: str, tmp_path: Path) -> AsyncIterator[OwnerIndex]:
        store = RedisStore(redis_url, prefix=f"{tmp_path}:")
        yield store
        await store.close()


def test_a_cookie_store_has_no_index() -> None:
    assert not isinstance(CookieStore(), OwnerIndex)


def test_the_last_four_generations_are_remembered() -> None:
    kept = b""
    for number in range(6):
        kept = barred(kept, bytes([number]) * 8)
    assert kept == b"".join(bytes([number]) * 8 for number in (5, 4, 3, 2))
    assert barred(kept, b"\x03" * 8) == kept
    assert barred(kept, b"\x04" * 4 + b"\x03" * 4)[:8] == b"\x04" * 4 + b"\x03" * 4  # bytes of two are none of them


# -- memory ---------------------------------------------------------------------------------------------------------


async def test_in_memory_what_is_past_is_removed_a_little_with_each_write(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    for number in range(500):
        clock.now += 1
        owner = number.to_bytes(32, "big")
        await store.enlist(owner, HANDLE, clock.now + 50)
        await store.bar(owner, FIRST, clock.now + 50)
    assert 50 <= len(store._listed) <= 70
    assert 50 <= len(store._generations) <= 70
    assert len(store._entries) == len(store._listed)
    for number in range(500):
        await store.delist(number.to_bytes(32, "big"), [HANDLE])
    assert not store._listed
    assert not store._entries


async def test_in_memory_a_generation_ends_with_its_time(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.bar(OWNER, FIRST, clock.now + 10)
    assert await store.enlist(OWNER, HANDLE, clock.now + 100) == FIRST
    clock.now += 10
    assert await store.enlist(OWNER, HANDLE, clock.now + 100) == b""


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
async def files(path: Path) -> AsyncIterator[FilesystemStore]:
    store = FilesystemStore(path, timeout=2.0)
    yield store
    await store.close()


def folder(path: Path, owner: bytes = OWNER) -> Path:
    return path / "owners" / owner.hex()[:2] / owner.hex()


async def test_nobody_else_can_read_the_index(path: Path) -> None:
    before = os.umask(0)
    try:
        store = FilesystemStore(path)
        await store.enlist(OWNER, HANDLE, soon())
        await store.bar(OWNER, FIRST, soon())
        await store.close()
    finally:
        os.umask(before)
    entries = [path, *path.rglob("*")]
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in entries if entry.is_dir()} == {0o700}
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in entries if entry.is_file()} == {0o600}
    assert {entry.name for entry in folder(path).iterdir()} == {HANDLE.hex(), "generation"}


async def test_a_deadline_is_kept_and_at_most_a_second_longer(files: FilesystemStore, path: Path) -> None:
    deadline = soon()
    await files.enlist(OWNER, HANDLE, deadline)
    await files.bar(OWNER, FIRST, deadline)
    assert deadline < (folder(path) / HANDLE.hex()).stat().st_mtime < deadline + 1.01
    assert (folder(path) / "generation").stat().st_mtime == pytest.approx(deadline, abs=0.001)


async def test_pruning_removes_what_is_past_and_then_the_directory(files: FilesystemStore, path: Path) -> None:
    gone, kept = handles(2)
    await files.enlist(OWNER, gone, LONG_AGO)
    await files.enlist(OWNER, kept, soon())
    await files.bar(OWNER, FIRST, LONG_AGO)
    await files.enlist(OTHER, gone, LONG_AGO)
    (folder(path, OTHER) / "generation.0123456789abcdef.tmp").touch()
    assert await files.prune() == 0  # no records
    assert [entry.name for entry in folder(path).iterdir()] == [kept.hex()]
    assert len(list(folder(path, OTHER).iterdir())) == 1
    (folder(path, OTHER) / "generation.0123456789abcdef.tmp").unlink()
    await files.delist(OWNER, [kept])
    await files.prune()
    assert not folder(path).exists()
    assert not folder(path, OTHER).exists()
    assert await files.enlist(OWNER, HANDLE, soon()) == b""
    assert list(await files.listed(OWNER)) == [HANDLE]


async def test_pruning_keeps_what_an_earlier_deadline_did_not_shorten(files: FilesystemStore) -> None:
    await files.enlist(OWNER, HANDLE, soon())
    await files.enlist(OWNER, HANDLE, LONG_AGO)
    await files.prune()
    assert list(await files.listed(OWNER)) == [HANDLE]


async def test_pruning_leaves_alone_an_owner_that_somebody_writes_to(files: FilesystemStore) -> None:
    await files.enlist(OWNER, HANDLE, LONG_AGO)
    with files._files.locked(OWNER):
        await files.prune()
        assert list(await files.listed(OWNER)) == [HANDLE]
    await files.prune()
    assert await files.listed(OWNER) == {}


async def test_pruning_and_enlisting_at_once_loses_no_entry(path: Path) -> None:
    store, other = FilesystemStore(path), FilesystemStore(path)
    mine = handles(10)
    for _ in range(40):
        for handle in mine:
            await store.enlist(OWNER, handle, LONG_AGO)
        await asyncio.gather(other.prune(), *[store.enlist(OWNER, handle, soon()) for handle in mine], store.prune())
        assert set(await store.listed(OWNER)) == set(mine)
        await asyncio.gather(other.prune(), store.delist(OWNER, mine), store.prune())
        assert await store.listed(OWNER) == {}
    await store.close()
    await other.close()


async def test_foreign_files_in_the_directories_are_passed_over(files: FilesystemStore, path: Path) -> None:
    await files.enlist(OWNER, HANDLE, soon())
    foreign = ["README", HANDLE.hex().upper() + "A", HANDLE.hex()[:-1], f"{HANDLE.hex()}.bak", ".hidden", "\u00fcber"]
    for directory in (folder(path), folder(path).parent, path / "owners"):
        for name in foreign:
            (directory / name).touch()
            os.utime(directory / name, (LONG_AGO, LONG_AGO))
    (folder(path) / bytes(16).hex()).mkdir()
    (folder(path) / (b"\x01" * 16).hex()).symlink_to(path / "elsewhere")
    (path / "owners" / "zz").symlink_to(path)
    assert list(await files.listed(OWNER)) == [HANDLE]
    await files.prune()
    await files.delist(OWNER, [HANDLE])
    await files.prune()
    assert {entry.name for entry in folder(path).iterdir()} == {*foreign, bytes(16).hex(), (b"\x01" * 16).hex()}
    assert {*foreign, "zz"} < {entry.name for entry in (path / "owners").iterdir()}


@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
async def test_what_is_no_entry_makes_room_for_one_and_is_not_followed(
    files: FilesystemStore, path: Path, kind: str
) -> None:
    await files.bar(OWNER, FIRST, soon())
    entry, victim = folder(path) / HANDLE.hex(), path / "victim"
    victim.touch()
    os.utime(victim, (LONG_AGO, LONG_AGO))
    plant = {"fifo": lambda: os.mkfifo(entry), "directory": entry.mkdir, "link": lambda: entry.symlink_to(victim)}
    plant[kind]()
    with anyio.fail_after(2):
        assert await files.enlist(OWNER, HANDLE, soon()) == FIRST
    assert list(await files.listed(OWNER)) == [HANDLE]
    assert len(list(folder(path).glob("*.corrupt"))) == 1
    assert victim.stat().st_mtime == LONG_AGO


async def test_a_directory_that_was_removed_is_made_again(files: FilesystemStore, path: Path) -> None:
    await files.enlist(OWNER, HANDLE, soon())
    (folder(path) / HANDLE.hex()).unlink()
    folder(path).rmdir()
    assert await files.listed(OWNER) == {}
    await files.delist(OWNER, [HANDLE])
    await files.bar(OWNER, FIRST, soon())
    assert await files.enlist(OWNER, HANDLE, soon()) == FIRST


async def test_a_file_in_the_place_of_an_owner_is_an_error_and_not_an_empty_list(
    files: FilesystemStore, path: Path
) -> None:
    await files.enlist(OWNER, HANDLE, soon())
    await files.delist(OWNER, [HANDLE])
    folder(path).rmdir()
    folder(path).touch()
    for call in (files.enlist(OWNER, HANDLE, soon()), files.bar(OWNER, FIRST, soon()), files.listed(OWNER)):
        with pytest.raises(StoreUnavailable, match=r"File exists|Not a directory"):
            await call


# -- other processes and disks --------------------------------------------------------------------------------------

PROCESS = """
import asyncio, sys, time
from asgi_sessions import FilesystemStore

async def work(path, first):
    store = FilesystemStore(path)
    owner = bytes(range(32))
    print("ready", flush=True)
    number = int(first)
    while True:
        handle = number.to_bytes(16, "big")
        await store.enlist(owner, handle, time.time() + 3600)
        print(f"+{handle.hex()}", flush=True)
        if number % 3 == 0:
            print(f"-{handle.hex()}", flush=True)
            await store.delist(owner, [handle])
        if number % 7 == 0:
            await store.bar(owner, handle[8:], time.time() + 3600)
            print(f"!{handle.hex()}", flush=True)
        number += 1

asyncio.run(work(*sys.argv[1:]))
"""


def start(path: Path, first: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROCESS, str(path), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def follow_and_kill(process: "subprocess.Popen[str]", lines: int) -> list[str]:
    """What the process reported until it was killed, from the first line to the last whole one."""
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    seen += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    return [line.strip() for line in seen[1:] if line.endswith("\n")]


async def test_of_two_processes_that_are_killed_at_any_moment_everything_enlisted_is_listed(
    files: FilesystemStore, path: Path, request: pytest.FixtureRequest
) -> None:
    for round_ in range(30 if request.config.getoption("--chaos") else 3):
        pair = [start(path, 1 + 10**6 * round_), start(path, 1 + 10**6 * round_ + 500_000)]
        reports = await asyncio.gather(
            *[asyncio.to_thread(follow_and_kill, process, 20 + 13 * round_) for process in pair]
        )
        listed = set(await files.listed(OWNER))
        for report in reports:
            enlisted = {line[1:] for line in report if line.startswith("+")}
            delisted = {line[1:] for line in report if line.startswith("-")}
            assert len(enlisted) > 5
            assert enlisted - delisted <= {handle.hex() for handle in listed}
        barred_by = {bytes.fromhex(line[1:])[8:] for report in reports for line in report if line.startswith("!")}
        assert barred_by
        # One bar may have taken place just before the process could tell.
        generation = await files.enlist(OWNER, HANDLE, soon())
        assert generation in barred_by or int.from_bytes(generation, "big") % 7 == 0
        assert len(generation) == 8
    await files.prune()
    assert {entry.suffix for entry in folder(path).iterdir()} <= {"", ".tmp"}
    await files.delist(OWNER, await files.listed(OWNER))
    assert await files.listed(OWNER) == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=40,size=1m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs privileges")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


async def test_on_a_full_disk_nobody_is_enlisted_and_everybody_can_be_delisted(small_disk: Path) -> None:
    store = FilesystemStore(small_disk / "sessions")
    enlisted: list[bytes] = []
    with pytest.raises(StoreFull, match=os.strerror(errno.ENOSPC)):
        for handle in handles(50):
            await store.enlist(OWNER, handle, soon())
            enlisted.append(handle)
    assert len(enlisted) > 10
    with pytest.raises(StoreFull):
        await store.bar(OWNER, FIRST, soon())
    assert set(await store.listed(OWNER)) == set(enlisted)
    await store.enlist(OWNER, enlisted[0], soon())  # is there already
    await store.delist(OWNER, await store.listed(OWNER))
    assert await store.listed(OWNER) == {}
    await store.bar(OWNER, FIRST, soon())
    assert await store.enlist(OWNER, HANDLE, soon()) == FIRST
    await store.close()


async def test_a_call_that_was_cancelled_is_done_or_not_and_blocks_nobody(files: FilesystemStore, path: Path) -> None:
    calls: list[Any] = []
    for number, handle in enumerate(handles(30)):
        task = asyncio.create_task(files.enlist(OWNER, handle, soon()))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
        calls.append(task)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await files.enlist(OWNER, HANDLE, soon())
    assert {HANDLE} <= set(await files.listed(OWNER)) <= {HANDLE, *handles(30)}
    assert not list(folder(path).glob("*.tmp"))
