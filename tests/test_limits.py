"""Time limits: as those of the standard library, at a fraction of their price."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.lowlevel
import pytest

from asgi_sessions.limits import limits_of

SOON = 0.02  # seconds


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """As ``anyio.fail_after``."""
    limits = limits_of(seconds)
    limit = limits.begin()
    try:
        yield
    except BaseException as exc:
        if limits.end(limit, exc):
            raise TimeoutError from exc
        raise
    else:
        limits.end(limit)


async def forever() -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_what_takes_too_long_is_ended(anyio_backend: str) -> None:
    with pytest.raises(TimeoutError), limited(SOON):
        await forever()
    await anyio.lowlevel.checkpoint()  # nothing is left of the cancellation


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_what_is_ready_in_time_is_left_alone(anyio_backend: str) -> None:
    for _ in range(3):
        with limited(SOON):
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(SOON)


async def test_each_has_its_own_time() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            with limited(0.1):
                await forever()
        except TimeoutError:
            ended.append(number)

    began = asyncio.get_running_loop().time()
    tasks = []
    for number in range(4):
        tasks.append(asyncio.create_task(work(number)))
        await asyncio.sleep(SOON)
    await asyncio.gather(*tasks)
    assert ended == [0, 1, 2, 3]
    assert asyncio.get_running_loop().time() - began >= 0.1 + 3 * SOON


async def test_the_error_of_the_work_passes_through() -> None:
    with pytest.raises(KeyError), limited(SOON):
        raise KeyError("mine")


async def test_who_is_cancelled_from_outside_gets_no_timeout() -> None:
    async def work() -> None:
        with limited(5):
            await forever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_from_outside_while_the_time_is_over_stays_cancelled() -> None:
    async def work() -> None:
        with limited(SOON):
            try:
                await forever()
            except asyncio.CancelledError:
                task.cancel()
                raise

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_inside_another_limit_the_first_that_is_over_ends_it() -> None:
    with limited(5), pytest.raises(TimeoutError), limited(SOON):
        await forever()
    with pytest.raises(TimeoutError), limited(SOON), limited(5):
        await forever()
    with pytest.raises(TimeoutError), limited(SOON), limited(SOON):
        await forever()
    await asyncio.sleep(0)


def test_each_event_loop_has_its_own() -> None:
    async def work() -> None:
        with pytest.raises(TimeoutError), limited(SOON):
            await forever()

    for _ in range(3):
        asyncio.run(work())
