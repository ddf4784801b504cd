"""One after the other, in order, whoever gives up meanwhile."""

import anyio
import pytest

from asgi_sessions._engine.queue import Turn, _taken, is_taken

OWNER = object()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_turns_come_in_the_order_of_asking_and_leave_nothing_behind() -> None:
    order: list[int] = []

    async def take(number: int) -> None:
        async with Turn(OWNER, b"key"):
            order.append(number)
            await anyio.lowlevel.checkpoint()
            order.append(number)

    async with anyio.create_task_group() as group, Turn(OWNER, b"key"):
        for number in range(5):
            group.start_soon(take, number)
            await anyio.wait_all_tasks_blocked()
    assert order == [number for number in range(5) for _ in range(2)]
    assert not _taken


async def test_other_keys_and_owners_do_not_wait() -> None:
    with anyio.fail_after(5):
        async with Turn(OWNER, b"key"), Turn(OWNER, b"other"), Turn(object(), b"key"):
            assert is_taken(OWNER, b"key")
            assert not is_taken(OWNER, b"third")
            assert not is_taken(object(), b"other")
    assert not is_taken(OWNER, b"key")


@pytest.mark.parametrize("when", ["waiting", "just called"])
async def test_who_is_cancelled_holds_up_nobody(when: str) -> None:
    done: list[str] = []

    async def take(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with Turn(OWNER, b"key"):
                done.append(name)

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        inside = await Turn(OWNER, b"key").take()
        group.start_soon(take, "first", first)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(take, "second", second)
        await anyio.wait_all_tasks_blocked()
        if when == "waiting":
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            inside.leave()
        else:
            inside.leave()
            first.cancel()
    assert done[-1:] == ["second"]
    assert not _taken


async def test_an_error_inside_gives_the_turn_on() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Turn(OWNER, b"key"):
            _ = 1 / 0
    assert not _taken
