"""Interleavings of a browser's requests, against a small model of what must come out.

Many programs are made from seeds, since that is fast. hypothesis makes some more, and shortens those that fail.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from asgi_sessions import FilesystemStore, MemoryStore, RedisStore
from tests.browser import Clock

from .steps import CHOICES, LENGTH, STEPS, Program
from .world import VirtualLoop, World

SHRINKABLE = settings(
    max_examples=200,
    stateful_step_count=LENGTH,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
)


def run(seed: int, world: World) -> None:
    chance = random.Random(seed)
    program = Program(world)
    done: list[str] = []
    try:
        program.start(rolling=chance.random() < 0.5)
        for name, arguments in chance.choices(STEPS, k=LENGTH):
            chosen = {argument: chance.choice(CHOICES[argument]) for argument in arguments}
            done.append(f"{name}({', '.join(f'{key}={value!r}' for key, value in chosen.items())})")
            getattr(program, name)(**chosen)
        program.teardown()
    except BaseException as exc:
        exc.add_note(f"seed {seed}: {'; '.join(done)}")
        raise


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> Callable[[int], range]:
    return lambda usual: range(10_000 if request.config.getoption("--chaos") else usual)


@pytest.fixture
def virtual_loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner.get_loop()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def in_memory(loop: asyncio.AbstractEventLoop) -> World:
    clock = Clock()
    return World(loop, clock, MemoryStore(clock=clock))


def test_on_memory(virtual_loop: asyncio.AbstractEventLoop, programs: Callable[[int], range]) -> None:
    for seed in programs(10_000):
        run(seed, in_memory(virtual_loop))


def test_on_memory_with_programs_that_shrink(virtual_loop: asyncio.AbstractEventLoop) -> None:
    run_state_machine_as_test(lambda: Program(in_memory(virtual_loop)), settings=SHRINKABLE)


def test_on_files(loop: asyncio.AbstractEventLoop, programs: Callable[[int], range], tmp_path: Any) -> None:
    clock = Clock()
    store = FilesystemStore(tmp_path, clock=clock)
    for seed in programs(500):
        run(seed, World(loop, clock, store))
    loop.run_until_complete(store.close())


def test_on_redis(
    loop: asyncio.AbstractEventLoop, programs: Callable[[int], range], redis_url: str, tmp_path: Any
) -> None:
    clock = Clock()
    store = RedisStore(redis_url, prefix=f"{tmp_path}:")
    for seed in programs(500):
        run(seed, World(loop, clock, store, expires=False))
    loop.run_until_complete(store.close())
