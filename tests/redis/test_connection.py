"""Many callers on one connection: few round trips, and everybody gets their own reply."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hiredis import Reader
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from asgi_sessions.exceptions import StoreTimeout
from asgi_sessions.stores.base import Stored
from asgi_sessions.stores.redis import RedisStore
from asgi_sessions.stores.redis.connection import ENOUGH, MAX_BATCH_BYTES, MAX_BATCH_COMMANDS, Line, pack, unpack
from tests.servers import Proxy, Server, proxy

VERSION = b"version1"


def soon() -> float:
    return time.time() + 100


def later() -> float:
    return asyncio.get_running_loop().time() + 5


def handles(count: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(count)]


@pytest.fixture
async def between(redis_server: Server) -> AsyncIterator[Proxy]:
    async with proxy(redis_server) as started:
        yield started


@pytest.fixture
async def store(between: Proxy) -> AsyncIterator[RedisStore]:
    opened = RedisStore(between.url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def line(between: Proxy) -> AsyncIterator[Line]:
    async with Redis.from_url(between.url, protocol=2) as client:
        opened = Line(client.connection_pool.make_connection())
        assert await opened.call(pack([b"PING"]), later()) == b"PONG"
        yield opened
        await opened.aclose()


async def test_a_lone_operation_is_one_round_trip(between: Proxy, store: RedisStore) -> None:
    await store.create(bytes(16), VERSION, b"data", soon())  # loads the script
    for operation in (
        store.create(bytes(16), VERSION, b"data", soon()),
        store.read(bytes(16)),
        store.swap(bytes(16), VERSION, b"version2", b"data"),
        store.touch(bytes(16), b"version2", soon()),
    ):
        between.requests = 0
        await operation
        # The first swap and touch meet NOSCRIPT and go out once more, as source.
        assert between.requests <= 2
    for _ in range(3):
        between.requests = 0
        await store.touch(bytes(16), b"version2", soon())
        await store.swap(bytes(16), b"version2", b"version2", b"data")
        assert between.requests == 2


async def test_64_concurrent_reads_take_few_round_trips(between: Proxy, store: RedisStore) -> None:
    await asyncio.gather(*[store.create(handle, VERSION, handle, soon()) for handle in handles(64)])
    between.requests = 0
    records = await asyncio.gather(*[store.read(handle) for handle in handles(64)])
    assert records == [Stored(VERSION, handle) for handle in handles(64)]
    assert between.requests <= 3
    assert between.connections == 1


async def test_batches_are_bounded_in_count_and_bytes(line: Line) -> None:
    large = bytes(MAX_BATCH_BYTES // 2)
    first = line.call(pack([b"PING"]), later())
    line.pause_writing()  # the others wait
    calls = [line.call(pack([b"PING"]), later()) for _ in range(MAX_BATCH_COMMANDS + 1)]
    calls += [line.call(pack([b"ECHO", large]), later()) for _ in range(5)]
    batches = [line._next_batch() for _ in range(5)]
    assert [len(batch) for batch in batches] == [MAX_BATCH_COMMANDS, 3, 2, 1, 0]
    line.close()
    for call in calls:
        call.cancel()
    await asyncio.gather(first, *calls, return_exceptions=True)


async def test_enough_commands_go_out_without_waiting_for_the_next_turn_of_the_event_loop(line: Line) -> None:
    calls = [line.call(pack([b"PING"]), later()) for _ in range(1 + ENOUGH + 5)]
    assert len(line._sent) == 1 + ENOUGH
    assert len(line._pending) == 5
    assert await asyncio.gather(*calls) == [b"PONG"] * len(calls)


async def test_more_than_the_socket_takes_at_once_is_delivered_in_order(line: Line) -> None:
    values = [bytes([number]) * 300_000 for number in range(40)]
    assert await asyncio.gather(*[line.call(pack([b"ECHO", value]), later()) for value in values]) == values


async def test_an_error_reaches_only_the_caller_whose_command_it_is(line: Line) -> None:
    commands = [[b"ECHO", b"a"], [b"NONSENSE"], [b"ECHO"], [b"ECHO", b"b"]]
    replies = await asyncio.gather(*[line.call(pack(command), later()) for command in commands], return_exceptions=True)
    assert [replies[0], replies[3]] == [b"a", b"b"]
    assert all(isinstance(reply, ResponseError) for reply in replies[1:3])
    assert await line.call(pack([b"ECHO", b"c"]), later()) == b"c"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_missing_scripts_concern_only_their_own_callers(redis_server: Server, protocol: int) -> None:
    store = RedisStore(f"{redis_server.url}?protocol={protocol}")
    await asyncio.gather(*[store.create(handle, VERSION, handle, soon()) for handle in handles(32)])
    redis_server.client.script_flush()
    swaps = [store.swap(handle, VERSION, b"version2", handle) for handle in handles(16)]
    reads = [store.read(handle) for handle in handles(32)[16:]]
    assert await asyncio.gather(*swaps, *reads) == [
        Stored(b"version2" if number < 16 else VERSION, handle) for number, handle in enumerate(handles(32))
    ]
    await store.close()


@pytest.mark.parametrize("seed", range(10))
async def test_whoever_is_cancelled_whenever_everybody_else_gets_their_own_reply(
    between: Proxy, line: Line, seed: int
) -> None:
    chance = random.Random(seed)

    async def ask(number: int) -> None:
        for turn in range(10):
            value = b"%d:%d:%s" % (number, turn, b"x" * chance.choice([1, 1, 1, 9_000]))
            call = asyncio.ensure_future(line.call(pack([b"ECHO", value]), later()))
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            if chance.random() < 0.4:
                call.cancel()
                await asyncio.wait([call])
            else:
                assert await call == value

    await asyncio.gather(*[ask(number) for number in range(40)])
    assert between.connections == 1  # abandoning a reply costs nobody the connection


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_breaks_whenever_nobody_gets_the_reply_of_another(
    between: Proxy, store: RedisStore, seed: int
) -> None:
    await asyncio.gather(*[store.create(handle, VERSION, handle, soon()) for handle in handles(30)])
    chance = random.Random(seed)
    answered = 0

    async def ask(handle: bytes) -> None:
        nonlocal answered
        for _ in range(20):
            read = asyncio.create_task(store.read(handle))
            for _ in range(chance.randrange(8)):
                await asyncio.sleep(0)
            if chance.random() < 0.02:
                between.cut()
            if chance.random() < 0.2:
                read.cancel()
            await asyncio.wait([read])
            if not read.cancelled() and read.exception() is None:
                assert read.result() == Stored(VERSION, handle)
                answered += 1

    await asyncio.gather(*[ask(handle) for handle in handles(30)])
    assert between.connections > 2
    assert answered > 300
    assert await store.read(bytes(16)) == Stored(VERSION, bytes(16))


async def test_a_caller_who_is_cancelled_before_its_command_left_sends_nothing(
    redis_server: Server, line: Line
) -> None:
    first = line.call(pack([b"ECHO", b"first"]), later())
    second = line.call(pack([b"INCR", b"counter"]), later())  # the first is under way, this one waits for the next turn
    second.cancel()
    assert await first == b"first"
    assert await line.call(pack([b"EXISTS", b"counter"]), later()) == 0


async def test_a_cancelled_caller_does_not_undo_the_write_of_another(store: RedisStore) -> None:
    writes = [asyncio.create_task(store.create(handle, VERSION, handle, soon())) for handle in handles(20)]
    await asyncio.sleep(0)
    for write in writes[::2]:
        write.cancel()
    assert await asyncio.gather(*writes[1::2]) == [True] * 10
    assert all([await store.read(handle) for handle in handles(20)[1::2]])


async def test_a_reply_that_nobody_asked_for_closes_the_connection(redis_server: Server, line: Line) -> None:
    await line.call(pack([b"SUBSCRIBE", b"news"]), later())
    redis_server.client.publish("news", "surprise")
    await asyncio.wait_for(asyncio.wait([line._task]), 5)
    assert line.dead


class Scripted:
    """A server that answers the command ``GET`` with given pieces, one by one, and whatever else with OK."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = Reader()
        while data := await reader.read(1000):
            commands.feed(data)
            while command := commands.gets():
                for piece in self._answers if command[0] == b"GET" else [b"+OK\r\n"]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()


async def ask(line: Line) -> object:
    return await line.call(pack([b"GET", b"x"]), later())


@pytest.fixture
async def answering(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Line]]]:
    """Makes lines to servers that answer with such bytes."""
    async with AsyncExitStack() as closing:

        async def made(*answers: bytes) -> Line:
            path = tmp_path / "server.sock"
            await closing.enter_async_context(await asyncio.start_unix_server(Scripted(*answers), path))
            line = Line(UnixDomainSocketConnection(path=str(path), protocol=2))
            closing.push_async_callback(line.aclose)
            return line

        yield made


PUSHED = b">2\r\n+invalidate\r\n*1\r\n$1\r\nx\r\n"


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"$5\r\na\r\nb\n\r\n", b"a\r\nb\n"),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"_\r\n", None),
        (b":-12\r\n", -12),
        (b"*2\r\n:1\r\n$1\r\nx\r\n", [1, b"x"]),
        (b"#f\r\n", False),
    ],
)
async def test_a_reply_may_come_in_any_pieces(
    answering: Callable[..., Awaitable[Line]], data: bytes, reply: object
) -> None:
    line = await answering(*[bytes([byte]) for byte in data])
    assert [await ask(line), await ask(line)] == [reply, reply]
    assert await asyncio.gather(*[ask(line) for _ in range(10)]) == [reply] * 10


async def test_what_the_server_pushes_is_nobodys_reply(answering: Callable[..., Awaitable[Line]]) -> None:
    line = await answering(PUSHED + PUSHED[:9], PUSHED[9:] + b"$1\r\nx\r\n" + PUSHED)
    assert [await ask(line), await ask(line)] == [b"x", b"x"]


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"$x\r\n", b":1.5\r\n", b"*many\r\n"])
async def test_what_is_no_reply_closes_the_connection(answering: Callable[..., Awaitable[Line]], data: bytes) -> None:
    line = await answering(data)
    for asked in [asyncio.ensure_future(ask(line)), asyncio.ensure_future(ask(line))]:
        with pytest.raises(RedisConnectionError, match="what is no reply"):
            await asked
    assert line.dead


async def test_an_error_that_redis_py_can_not_read_reaches_the_callers_and_nobody_else(
    answering: Callable[..., Awaitable[Line]],
) -> None:
    fatal: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: fatal.append(context))
    line = await answering(b"-MOVED nowhere\r\n")  # some releases read an error of it, some fail
    for asked in [asyncio.ensure_future(ask(line)), asyncio.ensure_future(ask(line))]:
        with pytest.raises(RedisError):
            await asked
    assert not fatal


async def test_an_error_in_whatever_encoding_is_told(answering: Callable[..., Awaitable[Line]]) -> None:
    line = await answering(b"-ERR \xff no\r\n")
    with pytest.raises(ResponseError, match="no"):
        await ask(line)


async def test_a_write_that_is_cancelled_half_way_disturbs_nobody_else(
    redis_server: Server, between: Proxy, store: RedisStore
) -> None:
    await store.create(bytes(16), VERSION, b"data", soon())
    redis_server.suspend()
    large = asyncio.create_task(store.create(handles(2)[1], VERSION, bytes(30_000_000), soon()))
    await asyncio.sleep(0)
    read = asyncio.create_task(store.read(bytes(16)))
    await asyncio.sleep(0)
    large.cancel()
    await asyncio.wait([large])
    assert large.cancelled()
    redis_server.resume()
    assert await read == Stored(VERSION, b"data")
    assert between.connections == 1


async def test_what_was_given_up_half_way_is_not_delivered_later(redis_server: Server) -> None:
    store = RedisStore(f"{redis_server.url}?client_name=half-way", timeout=0.6)
    await store.create(bytes(16), VERSION, b"data", soon())  # loads the script
    redis_server.suspend()
    with pytest.raises(StoreTimeout):
        await store.create(handles(2)[1], VERSION, bytes(30_000_000), soon())
    redis_server.resume()
    async with asyncio.timeout(10):
        while "half-way" in [client["name"] for client in redis_server.client.client_list()]:
            await asyncio.sleep(0.01)
    assert await store.read(handles(2)[1]) is None
    await store.close()


async def test_a_command_on_a_connection_lost_this_very_turn_leaves_the_next_connection_alone(
    redis_server: Server,
) -> None:
    for _ in range(3):
        lost = Line(UnixDomainSocketConnection(path=str(redis_server.socket)))
        await lost.call(pack([b"PING"]), later())
        assert lost._transport is not None
        lost._transport.abort()  # as it does by itself when it meets a reset; closed at the next turn
        with pytest.raises(RedisConnectionError):
            await lost.call(pack([b"PING"]), later())
        await lost.aclose()


async def test_the_clients_socket_timeout_cuts_off_no_slow_reply_and_no_idle_connection(between: Proxy) -> None:
    async with Redis.from_url(between.url, socket_timeout=0.05) as client:
        line = Line(client.connection_pool.make_connection())
        assert await line.call(pack([b"BLPOP", b"nothing", b"0.2"]), later()) is None
        await line.aclose()
    assert between.connections == 1


async def test_a_connection_that_is_given_up_while_it_is_being_made_ends(between: Proxy) -> None:
    async with Redis.from_url(between.url, protocol=2) as client:
        for step in range(150):
            line = Line(client.connection_pool.make_connection())
            call = line.call(pack([b"PING"]), asyncio.get_running_loop().time() + step * 0.00005)
            await asyncio.wait([call])
            assert call.exception() is not None or call.result() == b"PONG"
            async with asyncio.timeout(5):
                await line.aclose()


async def test_closing_a_line_tells_those_who_wait(redis_server: Server, line: Line) -> None:
    redis_server.suspend()
    call = asyncio.ensure_future(line.call(pack([b"PING"]), later()))
    await asyncio.sleep(0)
    await line.aclose()
    redis_server.resume()
    with pytest.raises(RedisError, match="closed by this application"):
        await call
    assert line.dead


# -- commands as the wire protocol wants them ------------------------------------------------------------------------


def test_commands_are_packed_as_the_protocol_says() -> None:
    assert pack([b"SET", b"", b"\r\n"]) == b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"
    assert pack([b"PING"]) == b"*1\r\n$4\r\nPING\r\n"


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=8))
def test_what_was_packed_can_be_unpacked(command: list[bytes]) -> None:
    assert unpack(pack(command)) == command
