"""Test the limits on message bodies: their bytes, the memory of their values, and the thread that decodes them."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from taskq_cloud import TaskQ
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Compute, Flow
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import DeadLetter, Delivery, Message
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.serializers.compression import QUICK_CHARACTERS, check_json
from taskq_cloud.errors import DecodeError, EncodeError, PayloadTooLarge
from taskq_cloud.testing.bench import Bench

ALL: Any = ("json", "yaml", "msgpack", "pickle")
MB = 1_000_000


def envelope(body: bytes, content_type: str = "application/json", compression: str | None = None) -> str:
    """A message with a body in base64."""
    headers = {"task": "t", "id": "1"} | ({"compression": compression} if compression else {})
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": content_type,
            "headers": headers,
            "properties": {"body_encoding": "base64"},
        }
    )


def zipped(body: bytes, content_type: str = "application/json") -> str:
    return envelope(zlib.compress(body, 9), content_type, "application/x-gzip")


def listed(part: bytes, size: int) -> bytes:
    """The JSON of the arguments ``[[part, part, ...]]``, of about this size."""
    return b"[[[" + part * (size // len(part)) + part[:-1] + b"]], {}, null]"


MERGES = b"- &a {" + b", ".join(b"k%d: 1" % i for i in range(100)) + b"}\n"
for before, name in zip("abcde", "bcdef", strict=True):
    MERGES += f"- &{name} {{<<: [{','.join([f'*{before}'] * 16)}]}}\n".encode()

BOMBS: dict[str, Callable[[], str]] = {
    "lists": lambda: zipped(listed(b"[],", 64 * MB)),
    "lists at the limit": lambda: zipped(listed(b"[],", 4 * MB)),
    "objects at the limit": lambda: zipped(listed(b'{"":0},', 4 * MB)),
    "different keys at the limit": lambda: zipped(
        b"[[{" + b",".join(b'"%d":0' % each for each in range(390_000)) + b"}], {}, null]"
    ),
    "numbers at the limit": lambda: zipped(listed(b"1.5,", 4 * MB)),
    "short texts at the limit": lambda: zipped(listed(b'"ab",', 4 * MB)),
    "lists without compression": lambda: json.dumps({"task": "t"})[:-1] + f', "args": [{"[]," * 2 * MB}[]]}}',
    "lists in a text": lambda: json.dumps({"body": listed(b"[],", 4 * MB).decode(), "headers": {"task": "t"}}),
    "a list instead of an object": lambda: f"[{'[],' * 3 * MB}[]]",
    "base64 of lists": lambda: base64.b64encode(b'{"task": "t", "args": [' + b"[]," * 2 * MB + b"[]]}").decode(),
    "lists in a notification": lambda: json.dumps(
        {"Type": "Notification", "Message": f'{{"task": "t", "args": [{"[]," * MB}[]]}}'}
    ),
    "yaml": lambda: zipped(b"[[" + b"{a: b}," * 500_000 + b"], {}]", "application/x-yaml"),
    "yaml with merges": lambda: zipped(MERGES, "application/x-yaml"),
    "yaml to base 60": lambda: zipped(b"[" + (b"1" + b":1" * 2000 + b",") * 250 + b"]", "application/x-yaml"),
    "msgpack maps": lambda: zipped(b"\xdd" + (4 * MB).to_bytes(4) + b"\x80" * 4 * MB, "application/x-msgpack"),
    "msgpack that claims to be long": lambda: zipped(
        (b"\xdd" + (3 * MB).to_bytes(4)) * 500 + b"\xc0" * 4 * MB, "application/x-msgpack"
    ),
    "zeros": lambda: zipped(bytes(70 * MB)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_body_that_would_take_much_memory_is_dead_lettered(name: str) -> None:
    bench = Bench.in_memory({"t": TaskDefinition("t", lambda *_: None, TaskOptions())}, codec=Codec(accept_content=ALL))
    delivery = Delivery(queue="work", message_id="m", receipt="r", body=BOMBS[name]())
    tracemalloc.start()
    try:
        settlement = bench.run(bench.pipeline.process(delivery))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(settlement, DeadLetter), settlement
    assert peak < 64 * MB, f"{name}: {peak:,} bytes"


@pytest.mark.parametrize(
    "argument",
    [
        "x" * 4_000_000,
        "1,2,[],{}:" * 390_000,
        '"\\' * 500_000,
        [{"id": number, "name": "somebody"} for number in range(80_000)],
        list(range(500_000)),
    ],
    ids=["text", "text of punctuation", "text of quotes", "records", "numbers"],
)
def test_large_body_with_ordinary_values_is_sent_and_read(argument: Any) -> None:
    codec = Codec()
    for compression in (None, "gzip"):
        text = codec.write(Message(task="t", id="1", args=[argument]), "q", compression=compression)
        assert codec.read(text, "m").args == [argument]


@pytest.mark.parametrize(
    ("serializer", "argument"),
    [
        ("json", "x" * 4_300_000),
        ("json", [[]] * 400_000),
        ("msgpack", "x" * 4_300_000),
        ("msgpack", [[]] * 400_000),
        ("yaml", [*range(10_000)]),
    ],
    ids=["json-text", "json-lists", "msgpack-text", "msgpack-lists", "yaml-numbers"],
)
def test_call_that_no_worker_would_take_is_refused(serializer: str, argument: Any) -> None:
    app = TaskQ(broker="memory://", accept_content=ALL)
    with pytest.raises((PayloadTooLarge, EncodeError), match=r"task t|YAML"):
        app.send_task("t", [argument], serializer=serializer)


def test_setting_raises_and_lowers_the_limit() -> None:
    small, large = (TaskQ(broker="memory://", task_max_body_bytes=size).codec for size in (10_000, 8_000_000))
    middle = Message(task="t", id="1", args=["x" * 20_000])
    with pytest.raises(PayloadTooLarge, match=r"at most 10000 are read .*raise task_max_body_bytes"):
        small.write(middle, "q")
    with pytest.raises(DecodeError, match="at most 10000 are read"):
        small.read(large.write(middle, "q"), "m")
    with pytest.raises(DecodeError, match="expands to more than 10000 bytes"):
        small.read(large.write(middle, "q", compression="gzip"), "m")
    big = Message(task="t", id="1", args=["x" * 7_000_000])
    assert large.read(large.write(big, "q"), "m").args == big.args


@pytest.mark.parametrize(
    ("value", "most"),
    [(5, 690_000), ([], 220_000), ({"a": 5}, 100_000), ({"id": 5, "name": "somebody"}, 80_000)],
    ids=["numbers", "lists", "objects", "records"],
)
def test_body_may_have_about_as_many_values_as_the_page_on_serializers_says(value: Any, most: int) -> None:
    codec = Codec()
    codec.write(Message(task="t", id="1", args=[[value] * most]), "q")
    with pytest.raises(PayloadTooLarge, match="bytes of memory"):
        codec.write(Message(task="t", id="1", args=[[value] * int(most * 1.1)]), "q")


def test_size_of_a_json_text_is_counted_outside_its_strings() -> None:
    most = 1_000
    for text in ('"' + "[" * 900 + '"', '"\\"' + "[" * 900 + '"', '"\\\\"', '["' + '\\"[' * 250 + '"]'):
        check_json(text.encode(), most)
    for text in ("[" * 200, '"\\\\"' + "[" * 200, '"\\""' + "[" * 200, '"","\\\\\\""' + "[" * 200):
        with pytest.raises(DecodeError, match="bytes of memory"):
            check_json(text.encode(), most)


def test_utf_16_does_not_hide_values_from_the_count() -> None:
    with pytest.raises(DecodeError):
        serializers.loads('["∀", [], []]'.encode("utf-16"))


def test_msgpack_of_numbers_is_counted_with_its_lists() -> None:
    check = serializers.serializer_named("msgpack").check
    assert check is not None
    check(msgpack.packb(list(range(600_000))), 4 * MB)
    with pytest.raises(DecodeError, match="bytes of memory"):
        check(msgpack.packb([[1]] * 300_000), 4 * MB)


# -- the thread that decodes


@pytest.fixture
def threads() -> Iterator[list[str]]:
    """The names of the threads that have decoded a body of the serializer ``noting``."""
    names: list[str] = []

    def decode(data: bytes) -> Any:
        names.append(threading.current_thread().name)
        return serializers.loads(data)

    serializers.register_serializer(
        "noting", lambda value: serializers.dumps(value).encode(), decode, content_type="application/x-noting"
    )
    try:
        yield names
    finally:
        serializers.unregister_serializer("noting")


def test_worker_decodes_large_and_expanding_bodies_in_a_thread(threads: list[str]) -> None:
    codec = Codec(accept_content=("json", "noting"))
    messages = [
        codec.write(Message(task="t", id="1", args=["x" * size]), "q", serializer="noting", compression=compression)
        for size, compression in ((10, None), (10, "gzip"), (QUICK_CHARACTERS, None))
    ]

    async def read() -> None:
        connections = AsyncConnections({})
        for text in messages:
            await connections.run(codec.open(text, "m", offload=True))
        await connections.close()

    asyncio.run(read())
    assert len(threads) == 3
    assert all(name.startswith("taskq-compute") for name in threads)


def test_small_json_is_read_without_a_thread() -> None:
    codec = Codec()
    flow = codec.open(codec.write(Message(task="t", id="1", args=[1]), "q"), "m", offload=True)
    with pytest.raises(StopIteration) as end:
        next(flow)
    assert end.value.value.args == [1]


def test_large_json_is_read_without_a_thread_where_nobody_asks_for_one() -> None:
    codec = Codec()
    flow = codec.open(codec.write(Message(task="t", id="1", args=["x" * 100_000]), "q"), "m")
    with pytest.raises(StopIteration):
        next(flow)


async def test_event_loop_goes_on_while_a_message_is_decoded() -> None:
    connections = AsyncConnections({})
    started, release = threading.Event(), threading.Event()

    def decode() -> str:
        started.set()
        assert release.wait(30)
        return "done"

    def flow() -> Flow[str]:
        answer: str = yield Compute(decode)
        return answer

    running = asyncio.create_task(connections.run(flow()))
    deadline = time.monotonic() + 30
    while not started.is_set():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
    release.set()
    assert await running == "done"
    await connections.close()
