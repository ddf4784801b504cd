"""Commands as the wire protocol wants them."""

from hypothesis import given
from hypothesis import strategies as st

from asgi_sessions.stores.redis.resp import pack, unpack


def test_commands_are_packed_as_the_protocol_says() -> None:
    assert pack([b"SET", b"", b"\r\n"]) == b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"
    assert pack([b"PING"]) == b"*1\r\n$4\r\nPING\r\n"


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=8))
def test_what_was_packed_can_be_unpacked(command: list[bytes]) -> None:
    assert unpack(pack(command)) == command
