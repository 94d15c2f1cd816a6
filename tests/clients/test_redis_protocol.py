"""Tests of Redis's protocol: what is written, and what is read however it is cut into pieces."""

from __future__ import annotations

import random
from typing import Any

import pytest

from taskq_cloud.clients.redis_protocol import ErrorReply, NotRedisError, Replies, packed

STREAM = (
    b"+OK\r\n:-42\r\n$5\r\nhe\r\no\r\n$-1\r\n$0\r\n\r\n*-1\r\n*0\r\n"
    b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n-ERR no such thing\r\n-NOSCRIPT No matching script.\r\n"
)
ANSWERS = [
    b"OK",
    -42,
    b"he\r\no",
    None,
    b"",
    None,
    [],
    [1, [b"a", []], ErrorReply("ERR", "ERR no such thing")],
    ErrorReply("NOSCRIPT", "NOSCRIPT No matching script."),
]


def test_commands_are_written_with_their_lengths_in_bytes() -> None:
    commands: list[list[Any]] = [["SET", "key", "grüße"], [b"GET", 12, 0.5]]
    assert packed(commands) == (
        b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$7\r\ngr\xc3\xbc\xc3\x9fe\r\n*3\r\n$3\r\nGET\r\n$2\r\n12\r\n$3\r\n0.5\r\n"
    )


@pytest.mark.parametrize("seed", range(20))
def test_answers_are_read_however_they_are_cut(seed: int) -> None:
    rng, replies, position = random.Random(seed), Replies(), 0
    while position < len(STREAM):
        size = 1 if seed == 0 else rng.randint(1, 12)
        replies.feed(STREAM[position : position + size])
        position += size
    assert list(replies.complete) == ANSWERS


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b":\r\n"])
def test_answer_of_another_server_is_an_error(data: bytes) -> None:
    with pytest.raises(NotRedisError, match="isn't an answer of a Redis server"):
        Replies().feed(data)


def test_large_answer_is_joined_once() -> None:
    replies, piece = Replies(), b"x" * 1000
    replies.feed(b"*2\r\n$1000000\r\n")
    for _ in range(1000):
        replies.feed(piece)
    assert not replies.complete
    replies.feed(b"\r\n:7\r\n")
    assert list(replies.complete) == [[b"x" * 1_000_000, 7]]
