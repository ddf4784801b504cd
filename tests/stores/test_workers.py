"""The filesystem store's own threads."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import anyio
import pytest

from asgi_sessions.stores.filesystem.workers import Workers

SOON = 5.0  # seconds


def end(seconds: float = SOON) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(1)
    yield workers
    workers.dismiss(SOON)


@pytest.fixture
def hanging() -> Iterator[tuple[int, int]]:
    """A pipe: who reads from it hangs, like a disk might, until something is written to it."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)


async def test_a_job_runs_in_another_thread_and_returns(workers: Workers) -> None:
    assert await workers.run(end(), threading.get_ident) != threading.get_ident()
    assert await workers.run(end(), divmod, 7, 2) == (3, 1)


async def test_what_a_job_raises_is_raised_here_and_the_thread_goes_on(workers: Workers) -> None:
    with pytest.raises(ZeroDivisionError):
        await workers.run(end(), divmod, 1, 0)
    with pytest.raises(SystemExit):
        await workers.run(end(), sys.exit)
    assert await workers.run(end(), int) == 0


async def test_jobs_that_do_not_wait_for_each_other_run_at_once(hanging: tuple[int, int]) -> None:
    workers = Workers(2)
    waiting = asyncio.create_task(workers.run(end(), os.read, hanging[0], 1))
    await asyncio.sleep(0)
    assert await workers.run(end(), os.write, hanging[1], b"x") == 1
    assert await waiting == b"x"
    workers.dismiss(SOON)


async def test_a_job_that_was_given_up_before_it_began_does_not_begin(
    workers: Workers, hanging: tuple[int, int]
) -> None:
    begun: list[int] = []
    waiting = asyncio.create_task(workers.run(end(), os.read, hanging[0], 1))
    cancelled = asyncio.create_task(workers.run(end(), begun.append, 1))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(TimeoutError):
        await workers.run(end(0.01), begun.append, 2)
    os.write(hanging[1], b"x")
    assert await waiting == b"x"
    assert await workers.run(end(), len, begun) == 0


async def test_a_job_that_was_given_up_while_it_ran_ends_by_itself(workers: Workers, hanging: tuple[int, int]) -> None:
    with pytest.raises(TimeoutError):
        await workers.run(end(0.01), os.read, hanging[0], 1)
    os.write(hanging[1], b"x")
    assert await workers.run(end(), int) == 0


def test_a_job_outlives_its_event_loop(workers: Workers, hanging: tuple[int, int]) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await workers.run(end(0.01), os.read, hanging[0], 1)

    async def work() -> int:
        done: int = await workers.run(end(), int)
        return done

    asyncio.run(give_up())
    os.write(hanging[1], b"x")
    assert asyncio.run(work()) == 0


async def test_dismissed_threads_finish_what_they_were_given(hanging: tuple[int, int]) -> None:
    workers = Workers(1)
    first = asyncio.create_task(workers.run(end(), os.read, hanging[0], 1))
    second = asyncio.create_task(workers.run(end(), int))
    await asyncio.sleep(0)
    dismissing = asyncio.create_task(asyncio.to_thread(workers.dismiss, SOON))
    await asyncio.sleep(0)
    os.write(hanging[1], b"x")
    await dismissing
    assert (await first, await second) == (b"x", 0)


async def test_dismissing_does_not_wait_longer_for_a_disk_that_hangs(hanging: tuple[int, int]) -> None:
    workers = Workers(2)
    waiting = asyncio.create_task(workers.run(end(), os.read, hanging[0], 1))
    await asyncio.sleep(0)
    started = time.monotonic()
    workers.dismiss(0.05)
    assert time.monotonic() - started < 1
    os.write(hanging[1], b"x")
    await waiting


async def test_workers_that_nobody_has_any_more_leave_no_thread() -> None:
    before = set(threading.enumerate())
    workers = Workers(3)
    await workers.run(end(), int)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    del workers
    with anyio.fail_after(SOON):
        while threads & set(threading.enumerate()):
            await asyncio.sleep(0.001)


FORKED = """
import asyncio, gc, os, warnings
from asgi_sessions.stores.filesystem.workers import Workers

warnings.simplefilter("ignore")  # Python warns of every fork in a process that has threads

async def work():
    end = asyncio.get_running_loop().time() + 5
    return await workers.run(end, os.getpid) == os.getpid()

workers = Workers(2)
asyncio.run(work())
if os.fork() == 0:
    del workers
    gc.collect()
else:
    os.wait()
    print(asyncio.run(work()), asyncio.run(work()))
"""


def test_a_forked_process_that_drops_them_leaves_them_to_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, timeout=20, check=True)
    assert done.stdout == b"True True\n"


HANGING = """
import asyncio, os
from asgi_sessions.stores.filesystem.workers import Workers

async def work():
    workers = Workers(1)
    try:
        await workers.run(asyncio.get_running_loop().time() + 0.05, os.read, os.pipe()[0], 1)
    except TimeoutError:
        print("gave up", flush=True)

asyncio.run(work())
"""


def test_a_disk_that_hangs_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, timeout=20, check=True)
    assert done.stdout == b"gave up\n"
    assert done.stderr == b""
