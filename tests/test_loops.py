"""The running event loop is found as asyncio finds it, whatever ran before."""

import asyncio
import os
import threading

import pytest

from asgi_sessions._engine import loops

pytestmark = pytest.mark.parametrize("running_loop", [loops.running_loop, loops._remembered_loop])


def test_without_an_event_loop_there_is_none(running_loop):
    with pytest.raises(RuntimeError):
        running_loop()


def test_each_run_has_its_own(running_loop):
    async def found():
        assert running_loop() is running_loop() is asyncio.get_running_loop()
        await asyncio.sleep(0)
        assert running_loop() is asyncio.get_running_loop()

    for _ in range(3):
        asyncio.run(found())
        with pytest.raises(RuntimeError):
            running_loop()


async def test_a_thread_does_not_get_that_of_another_one(running_loop):
    def elsewhere():
        with pytest.raises(RuntimeError):
            running_loop()

        async def inside():
            return running_loop(), asyncio.get_running_loop()

        found, expected = asyncio.run(inside())
        assert found is expected
        seen.append(found)

    seen = []
    here = running_loop()
    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(seen) == 1
    assert seen[0] is not here
    assert running_loop() is here


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_forked_process_has_none(running_loop):
    running_loop()
    child = os.fork()
    if child == 0:
        try:
            running_loop()
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222 - it ends at once
