"""One after the other, in order, whoever gives up meanwhile."""

import anyio
import pytest

from asgi_sessions._engine.queue import KeyedLock, is_locked, waiters

OWNER = object()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_lock_is_taken_in_the_order_of_asking_and_leaves_nothing_behind() -> None:
    order: list[int] = []

    async def take(number: int) -> None:
        async with KeyedLock(OWNER, b"key"):
            order.append(number)
            await anyio.lowlevel.checkpoint()
            order.append(number)

    async with anyio.create_task_group() as group, KeyedLock(OWNER, b"key"):
        for number in range(5):
            group.start_soon(take, number)
            await anyio.wait_all_tasks_blocked()
    assert order == [number for number in range(5) for _ in range(2)]
    assert not waiters


async def test_other_keys_and_owners_do_not_wait() -> None:
    with anyio.fail_after(5):
        async with KeyedLock(OWNER, b"key"), KeyedLock(OWNER, b"other"), KeyedLock(object(), b"key"):
            assert is_locked(OWNER, b"key")
            assert not is_locked(OWNER, b"third")
            assert not is_locked(object(), b"other")
    assert not is_locked(OWNER, b"key")


@pytest.mark.parametrize("when", ["waiting", "just called"])
async def test_who_is_cancelled_holds_up_nobody(when: str) -> None:
    done: list[str] = []

    async def take(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with KeyedLock(OWNER, b"key"):
                done.append(name)

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        inside = KeyedLock(OWNER, b"key")
        await inside.acquire()
        group.start_soon(take, "first", first)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(take, "second", second)
        await anyio.wait_all_tasks_blocked()
        if when == "waiting":
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            inside.release()
        else:
            inside.release()
            first.cancel()
    assert done[-1:] == ["second"]
    assert not waiters


async def test_an_error_inside_passes_the_lock_on() -> None:
    with pytest.raises(ZeroDivisionError):
        async with KeyedLock(OWNER, b"key"):
            _ = 1 / 0
    assert not waiters
