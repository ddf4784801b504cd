"""The wire protocol: whatever comes in whatever pieces, replies come out whole and in order."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_sessions.stores.resp import MAX_DEPTH, MAX_LINE, ProtocolError, Replies, pack


class Refused(Exception):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refused) and self.args == other.args

    __hash__ = Exception.__hash__


REPLIES = [
    (b"+OK\r\n", b"OK"),
    (b"-ERR no such thing\r\n", Refused("ERR no such thing")),
    (b":-12\r\n", -12),
    (b"$5\r\na\r\nb\n\r\n", b"a\r\nb\n"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n*1\r\n$1\r\nx\r\n$-1\r\n", [1, [b"x"], None]),
    (b"_\r\n", None),
    (b"#t\r\n", b"t"),
    (b",1.5\r\n", b"1.5"),
    (b"%1\r\n+a\r\n:1\r\n", [b"a", 1]),
    (b"~2\r\n:1\r\n:2\r\n", [1, 2]),
    (b"=8\r\ntxt:text\r\n", b"text"),
    (b"!5\r\nERR x\r\n", Refused("ERR x")),
]
PUSHED = b">2\r\n+invalidate\r\n*1\r\n$1\r\nx\r\n"


def read(*pieces: bytes) -> list[object]:
    replies = Replies(Refused)
    return [reply for piece in pieces for reply in replies.feed(piece)]


def test_commands_are_packed_as_the_protocol_says() -> None:
    assert pack([b"SET", b"", b"\r\n"]) == b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"
    assert pack([b"PING"]) == b"*1\r\n$4\r\nPING\r\n"


@pytest.mark.parametrize(("data", "reply"), REPLIES)
def test_each_kind_is_read(data: bytes, reply: object) -> None:
    assert read(data) == [reply]
    assert read(data * 3) == [reply] * 3


@pytest.mark.parametrize(("data", "reply"), REPLIES)
def test_a_reply_may_be_cut_anywhere(data: bytes, reply: object) -> None:
    for cut in range(len(data) + 1):
        assert read(data[:cut], data[cut:]) == [reply]
    assert read(*[bytes([byte]) for byte in data]) == [reply]


@given(st.lists(st.sampled_from(REPLIES), max_size=12), st.lists(st.integers(0, 200), max_size=12))
@settings(max_examples=200, deadline=None)
def test_replies_come_in_order_in_whatever_pieces(expected: list[tuple[bytes, object]], cuts: list[int]) -> None:
    data = b"".join([data for data, _ in expected])
    at = sorted({0, len(data), *[cut for cut in cuts if cut < len(data)]})
    pieces = [data[start:stop] for start, stop in itertools.pairwise(at)]
    assert read(*pieces) == [reply for _, reply in expected]


def test_what_the_server_pushes_is_nobodys_reply() -> None:
    assert read(PUSHED + b":1\r\n" + PUSHED + b":2\r\n" + PUSHED) == [1, 2]
    for cut in range(len(PUSHED)):
        assert read(PUSHED[:cut], PUSHED[cut:] + b":1\r\n") == [1]


def test_a_large_reply_is_put_together_once() -> None:
    value = bytes(3_000_000)
    data = b"$%d\r\n%b\r\n:1\r\n" % (len(value), value)
    assert read(*[data[at : at + 1000] for at in range(0, len(data), 1000)]) == [value, 1]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"$x\r\n",
        b":1.5\r\n",
        b"*many\r\n",
        b"x" * (MAX_LINE + 1),
        b"$" + b"1" * (MAX_LINE + 1),
        b"*1\r\n" * (MAX_DEPTH + 1),
    ],
)
def test_what_is_no_reply_is_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="the server sent"):
        read(b":1\r\n" + data)


@given(st.binary(max_size=100))
@settings(max_examples=200, deadline=None)
def test_whatever_the_bytes_are_there_is_a_list_or_an_error(data: bytes) -> None:
    with suppress(ProtocolError):
        assert isinstance(read(data), list)
