"""One after the other, in order, whoever gives up meanwhile."""

from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from asgi_sessions.stores.turns import _turns, turns_of

OWNER = object()


def turn(owner: object, key: bytes) -> AbstractAsyncContextManager[None]:
    return turns_of(owner).turn(key)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_turns_come_in_the_order_of_asking_and_leave_nothing_behind() -> None:
    order: list[int] = []

    async def take(number: int) -> None:
        async with turn(OWNER, b"key"):
            order.append(number)
            await anyio.lowlevel.checkpoint()
            order.append(number)

    async with anyio.create_task_group() as group, turn(OWNER, b"key"):
        for number in range(5):
            group.start_soon(take, number)
            await anyio.wait_all_tasks_blocked()
    assert order == [number for number in range(5) for _ in range(2)]
    assert not any(_turns.values())


async def test_other_keys_and_owners_do_not_wait() -> None:
    with anyio.fail_after(5):
        async with turn(OWNER, b"key"), turn(OWNER, b"other"), turn(object(), b"key"):
            pass


@pytest.mark.parametrize("when", ["waiting", "just called"])
async def test_who_is_cancelled_holds_up_nobody(when: str) -> None:
    done: list[str] = []

    async def take(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with turn(OWNER, b"key"):
                done.append(name)

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        turns_of(OWNER)[b"key"] = None
        group.start_soon(take, "first", first)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(take, "second", second)
        await anyio.wait_all_tasks_blocked()
        if when == "waiting":
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            turns_of(OWNER).leave(b"key")
        else:
            turns_of(OWNER).leave(b"key")
            first.cancel()
    assert done[-1:] == ["second"]
    assert not any(_turns.values())


async def test_an_error_inside_gives_the_turn_on() -> None:
    with pytest.raises(ZeroDivisionError):
        async with turn(OWNER, b"key"):
            _ = 1 / 0
    assert not any(_turns.values())
