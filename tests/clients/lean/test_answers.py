"""Tests of reading HTTP answers, as whole and in pieces of any size."""

from __future__ import annotations

import pytest

from taskq_cloud.clients.lean.answers import LARGEST_HEAD_BYTES, Answer, AnswerReader, BrokenAnswerError
from taskq_cloud.clients.object_sizes import refuse_large
from taskq_cloud.core.flows import Call, CallError, Trouble

JSON = b'HTTP/1.1 200 OK\r\nContent-Type: x\r\nx-amzn-RequestId:  1 \r\nContent-Length: 4\r\n\r\n{"a"'
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"
TO_END = b"HTTP/1.0 500 \r\n\r\nsome text"
REPEATED = b"HTTP/1.1 204 No Content\r\nx-a: 1\r\nX-A: 2\r\n\r\n"

ANSWERS = {
    "length": (
        JSON,
        Answer(200, {"content-type": "x", "x-amzn-requestid": "1", "content-length": "4"}, [], b'{"a"'),
        True,
    ),
    "chunks": (CHUNKED, Answer(200, {"transfer-encoding": "chunked"}, [], b"abc0123456789"), True),
    "continue": (CONTINUED, Answer(412, {"content-length": "0"}, [], b""), True),
    "to the end": (TO_END, Answer(500, {}, [], b"some text"), False),
    "repeated header": (REPEATED, Answer(204, {"x-a": "1, 2"}, [], b""), True),
}


@pytest.mark.parametrize("name", list(ANSWERS))
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_answer_is_read_from_pieces_of_any_size(name: str, size: int) -> None:
    data, expected, kept = ANSWERS[name]
    reader = AnswerReader()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    complete = [reader.feed(piece) for piece in pieces]
    assert complete == [False] * (len(pieces) - 1) + [kept]
    assert kept or reader.end()
    assert reader.answer()._replace(fields=[]) == expected
    assert reader.keeps_connection is kept


def test_names_of_headers_are_kept_as_they_came() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nx-amz-meta-State: A\r\nContent-Length: 0\r\n\r\n")
    assert reader.answer().fields == [("x-amz-meta-State", "A"), ("Content-Length", "0")]


@pytest.mark.parametrize("data", [JSON, CHUNKED, CONTINUED])
def test_answer_that_ends_early_is_not_complete(data: bytes) -> None:
    for end in range(len(data)):
        reader = AnswerReader()
        assert end == 0 or not reader.feed(data[:end])
        assert not reader.end()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n",
        b"x" * (LARGEST_HEAD_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (LARGEST_HEAD_BYTES + 1),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_nonsense_is_not_an_answer(data: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        AnswerReader().feed(data)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", False),
        ("HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\n", False),
        ("HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nConnection: close\r\n", False),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
        ("HTTP/1.0 200 OK\r\n", False),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_connection_is_kept_as_the_server_says(head: str, kept: bool) -> None:
    reader = AnswerReader()
    assert reader.feed(f"{head}Content-Length: 1\r\n\r\nx".encode())
    assert reader.keeps_connection is kept


@pytest.mark.parametrize("answer", [JSON, CHUNKED])
def test_connection_with_more_bytes_than_the_answer_is_not_kept(answer: bytes) -> None:
    reader = AnswerReader()
    assert reader.feed(answer + b"HTTP/1.1 200 OK\r\n")
    assert not reader.keeps_connection


def test_many_small_chunks_are_read_without_recursion() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    reader = AnswerReader()
    assert reader.feed(data)
    assert reader.answer().body == b"x" * 20_000


def test_look_refuses_an_answer_before_its_body_is_read() -> None:
    refusal = CallError(Call("s3", "get_object"), "TooLarge", "", Trouble.REFUSED)
    seen: list[tuple[int, str]] = []

    def look(status: int, headers: dict[str, str]) -> CallError:
        seen.append((status, headers["content-length"]))
        return refusal

    reader = AnswerReader(look)
    with pytest.raises(CallError) as caught:
        reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n")
    assert caught.value is refusal
    assert seen == [(200, "2000000000")]


@pytest.mark.parametrize("number", ["\xb2", "9" * 5_000, "-1", ""])
def test_size_of_an_object_that_is_not_a_number_refuses_nothing(number: str) -> None:
    call = Call("s3", "get_object", {"Range": "bytes=0-9"})
    assert refuse_large(call, 200, {"content-length": number, "content-range": f"bytes 0-9/{number}"}) is None
    refused = refuse_large(call, 200, {"content-length": "11", "content-range": f"bytes 0-9/{number}"})
    assert refused is not None
