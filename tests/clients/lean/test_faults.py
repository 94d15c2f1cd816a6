"""Tests of connections that break, stay silent, are kept or are closed, with both kinds of lean clients."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from taskq_cloud.clients import aws
from taskq_cloud.clients.lean import loop
from taskq_cloud.clients.lean.endpoints import endpoint_of
from taskq_cloud.clients.lean.sockets import Sockets
from taskq_cloud.core.flows import Call, CallError, Trouble

GET = Call("dynamodb", "get_item", {"TableName": "t", "Key": {"id": {"S": "1"}}})
BODY = b'{"Item": {"id": {"S": "1"}}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
Serve = Callable[[socket.socket, "Server"], None]


class Server:
    """Serves each connection on loopback by a function, in a thread of its own.

    Args:
        serve: takes a connection and this server.
        receive_buffer_bytes: how much of a request may wait for the server; None: as much as the system allows.
    """

    def __init__(self, serve: Serve, receive_buffer_bytes: int | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections: list[socket.socket] = []
        self.end = threading.Event()
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0))
        if receive_buffer_bytes is not None:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._threads: list[threading.Thread] = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        self.end.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self.connections:
            with closing(connection):
                shut(connection)
        for thread in self._threads:
            thread.join()

    def read(self, connection: socket.socket) -> bool:
        """Read one request, and return whether there was one."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65_536)
            if not part:
                return False
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65_536)
        self.requests.append(data)
        return True

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve_one, args=(connection,)))
            self._threads[-1].start()

    def _serve_one(self, connection: socket.socket) -> None:
        try:
            self._serve(connection, self)
        except OSError:
            return


def shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@pytest.fixture
def serving(aws_environment: dict[str, str]) -> Iterator[Callable[[Serve], Server]]:
    servers: list[Server] = []

    def make(serve: Serve) -> Server:
        servers.append(Server(serve))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


class Asker:
    """Makes calls by a client of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._clients: dict[str, Any] = {}

    async def __call__(self, server: Server, call: Call = GET, **options: Any) -> Any:
        client = self._clients.get(server.url)
        if client is None:
            given = {"region": "eu-west-1", "endpoint_url": server.url, **options}
            if self.kind == "sync":
                client = aws.open_client(call.service, given)
            else:
                client = await aws.open_async_client(call.service, given)
            self._clients[server.url] = client
            assert client._lean is not None
        return await asyncio.to_thread(client.call, call) if self.kind == "sync" else await client.call(call)

    async def close(self) -> None:
        for client in self._clients.values():
            if self.kind == "sync":
                client.close()
            else:
                await client.close()


@pytest.fixture(params=["sync", "async"])
async def ask(request: pytest.FixtureRequest) -> AsyncIterator[Asker]:
    asker = Asker(request.param)
    yield asker
    await asker.close()


def answering(*parts: bytes, pause: float = 0.0) -> Serve:
    """Answer each request in these parts."""

    def serve(connection: socket.socket, server: Server) -> None:
        while server.read(connection):
            for part in parts:
                connection.sendall(part)
                if pause:
                    server.end.wait(pause)

    return serve


async def test_connection_is_kept_for_the_next_call(ask: Asker, serving: Callable[[Serve], Server]) -> None:
    server = serving(answering(ANSWER))
    for _ in range(3):
        assert (await ask(server))["Item"] == {"id": {"S": "1"}}
    assert (len(server.requests), len(server.connections)) == (3, 1)


async def test_request_asks_for_no_compression_and_names_no_other_client(
    ask: Asker, serving: Callable[[Serve], Server]
) -> None:
    server = serving(answering(ANSWER))
    await ask(server)
    head = server.requests[0].partition(b"\r\n\r\n")[0].decode()
    assert "\r\nAccept-Encoding: identity\r\n" in head
    assert "\r\nUser-Agent: taskq-cloud " in head
    assert "botocore" not in head.lower()


async def test_call_on_a_connection_that_the_server_has_closed_is_made_once_on_a_new_one(
    ask: Asker, serving: Callable[[Serve], Server]
) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        server.read(connection)
        connection.sendall(ANSWER)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    closed = threading.Event()
    server = serving(serve)
    for _ in range(3):
        closed.clear()
        await ask(server)
        await asyncio.to_thread(closed.wait, 5)
        await asyncio.sleep(0.01)  # the loop has to hear of it
    assert (len(server.requests), len(server.connections)) == (3, 3)


@pytest.mark.parametrize(
    "sent", [b"", ANSWER[:9], ANSWER[:-1], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"]
)
async def test_answer_that_breaks_off_is_a_transient_failure_and_not_asked_for_again(
    ask: Asker, serving: Callable[[Serve], Server], sent: bytes
) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        if server.read(connection):
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset it
            connection.close()

    server = serving(serve)
    with pytest.raises(CallError) as caught:
        await ask(server)
    assert (caught.value.code, caught.value.trouble) == ("ConnectionClosedError", Trouble.TRANSIENT)
    assert len(server.requests) == 1


async def test_nonsense_is_a_transient_failure_and_ends_the_connection(
    ask: Asker, serving: Callable[[Serve], Server]
) -> None:
    server = serving(answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"))
    for _ in range(2):
        with pytest.raises(CallError) as caught:
            await ask(server)
        assert caught.value.trouble is Trouble.TRANSIENT
    assert len(server.connections) == 2


async def test_answer_that_does_not_come_in_time_is_a_transient_failure(
    ask: Asker, serving: Callable[[Serve], Server]
) -> None:
    server = serving(answering(ANSWER[:20], pause=10))
    begin = time.monotonic()
    with pytest.raises(CallError) as caught:
        await ask(server, read_timeout_seconds=0.1)
    assert (caught.value.code, caught.value.trouble) == ("ReadTimeoutError", Trouble.TRANSIENT)
    assert time.monotonic() - begin < 5
    assert len(server.requests) == 1


async def test_slow_answer_whose_bytes_come_in_time_is_read(ask: Asker, serving: Callable[[Serve], Server]) -> None:
    parts = [ANSWER[at : at + 10] for at in range(0, len(ANSWER), 10)]
    server = serving(answering(*parts, pause=0.03))
    assert (await ask(server, read_timeout_seconds=0.2))["Item"] == {"id": {"S": "1"}}


async def test_answer_in_chunks_is_read_and_its_connection_kept(ask: Asker, serving: Callable[[Serve], Server]) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(BODY[at : at + 5]), BODY[at : at + 5]) for at in range(0, len(BODY), 5))
    server = serving(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"))
    for _ in range(2):
        assert (await ask(server))["Item"] == {"id": {"S": "1"}}
    assert len(server.connections) == 1


async def test_object_that_is_too_large_ends_the_connection_before_its_body_is_read(
    ask: Asker, serving: Callable[[Serve], Server]
) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 206 OK\r\nContent-Length: 101\r\nContent-Range: bytes 0-100/2000000000\r\n\r\n")
        server.end.wait(10)

    server = serving(serve)
    with pytest.raises(CallError, match="2,000,000,000 bytes") as caught:
        await ask(server, Call("s3", "get_object", {"Bucket": "bucket", "Key": "k", "Range": "bytes=0-100"}))
    assert (caught.value.code, caught.value.trouble) == ("ObjectTooLarge", Trouble.REFUSED)


async def test_bucket_in_another_region_is_left_to_the_sdk(ask: Asker, serving: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        while data := connection.recv(65_536):
            server.requests.append(data)
            status = b"307 Temporary Redirect" if b"taskq-cloud" in data else b"200 OK"
            connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nETag: x\r\n\r\n" % status)

    server = serving(serve)
    call = Call("s3", "get_object", {"Bucket": "bucket", "Key": "k"})
    for _ in range(2):
        assert (await ask(server, call))["ETag"] == "x"
    assert [b"taskq-cloud" in each for each in server.requests] == [True, False, False]


async def test_large_object_may_take_longer_than_an_answer(ask: Asker, serving: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        left = size
        while left > 0:
            left -= len(connection.recv(min(left + 1_000, 1_000_000)))
            server.end.wait(0.01)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: x\r\n\r\n")

    size = 24_000_000
    call = Call("s3", "put_object", {"Bucket": "bucket", "Key": "k", "Body": bytes(size)})
    begin = time.monotonic()
    assert (await ask(serving(serve), call, read_timeout_seconds=0.15))["ETag"] == "x"
    assert time.monotonic() - begin > 0.15


def test_refusal_of_a_large_object_before_it_is_read_is_the_answer(serving: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n")
        connection.close()  # with bytes that were not read: the client's next ones are reset

    server = serving(serve)
    client = aws.open_client("s3", {"region": "eu-west-1", "endpoint_url": server.url})
    body = b"x" * 30_000_000
    with pytest.raises(CallError) as caught:
        client.call(Call("s3", "put_object", {"Bucket": "bucket", "Key": "k", "Body": body, "IfNoneMatch": "*"}))
    client.close()
    assert (caught.value.code, caught.value.trouble) == ("412", Trouble.REFUSED)


@pytest.mark.parametrize("host", ["local..host", "a" * 70 + ".example", ".localhost", "127.0.0.1:99999"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_host_that_cannot_be_one_is_a_transient_failure(
    scheme: str, host: str, aws_environment: dict[str, str]
) -> None:
    options = {"region": "eu-west-1", "endpoint_url": f"{scheme}://{host}"}
    client, on_loop = aws.open_client("dynamodb", options), await aws.open_async_client("dynamodb", options)
    for call in (asyncio.to_thread(client.call, GET), on_loop.call(GET)):
        with pytest.raises(CallError) as caught:
            await call
        assert (caught.value.code, caught.value.trouble) == ("EndpointConnectionError", Trouble.TRANSIENT)


async def test_silent_address_leaves_time_for_the_next_on_a_loop(
    serving: Callable[[Serve], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def addresses(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "two.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.2", "127.0.0.1")]

    async def sock_connect(opened: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[0])
        if address[0] == "127.0.0.2":
            await asyncio.Event().wait()
        await connect(opened, address)

    tried: list[str] = []
    running = asyncio.get_running_loop()
    connect = running.sock_connect
    monkeypatch.setattr(running, "getaddrinfo", addresses)
    monkeypatch.setattr(running, "sock_connect", sock_connect)
    url = serving(answering(ANSWER)).url.replace("127.0.0.1", "two.example")
    options = {"region": "eu-west-1", "endpoint_url": url, "connect_timeout_seconds": 1.6}
    client = await aws.open_async_client("dynamodb", options)
    assert (await client.call(GET))["Item"] == {"id": {"S": "1"}}
    assert tried == ["127.0.0.2", "127.0.0.1"]
    await client.close()


async def test_connection_whose_request_was_refused_before_its_end_is_not_kept_on_a_loop(
    serving: Callable[[Serve], Server],
) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        if len(server.connections) == 1:
            connection.recv(1)
            connection.sendall(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n")
            server.end.wait(10)  # and the rest is never read
        elif server.read(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 0\r\n\r\n")

    server = serving(serve)
    client = await aws.open_async_client("s3", {"region": "eu-west-1", "endpoint_url": server.url})
    place = {"Bucket": "bucket", "Key": "k"}
    with pytest.raises(CallError) as caught:
        await client.call(Call("s3", "put_object", {**place, "Body": bytes(30_000_000)}))
    assert (caught.value.code, caught.value.trouble) == ("412", Trouble.REFUSED)
    assert (await client.call(Call("s3", "put_object", {**place, "Body": b"x"})))["ETag"] == "x"
    assert len(server.connections) == 2
    await client.close()


async def test_long_polls_leave_connections_for_other_calls(
    serving: Callable[[Serve], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        while server.read(connection):
            if b"WaitTimeSeconds" in server.requests[-1]:
                polls.release()
                server.end.wait(10)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    monkeypatch.setattr(loop, "LARGEST_POOL", 2)
    polls = threading.Semaphore(0)
    server = serving(serve)
    client = await aws.open_async_client("sqs", {"region": "eu-west-1", "endpoint_url": server.url})
    poll = Call("sqs", "receive_message", {"QueueUrl": "https://q", "WaitTimeSeconds": 20})
    waiting = [asyncio.ensure_future(client.call(poll)) for _ in range(2)]
    for _ in waiting:
        await asyncio.to_thread(polls.acquire)
    await asyncio.wait_for(client.call(Call("sqs", "delete_message", {"QueueUrl": "q", "ReceiptHandle": "r"})), 5)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await client.close()


async def test_cancelled_call_does_not_leave_its_answer_to_the_next(serving: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        while server.read(connection):
            if len(server.requests) == 1:
                first.set()
                release.wait(10)
                connection.sendall(ANSWER.replace(b'"1"', b'"0"'))
            connection.sendall(ANSWER)

    first, release = threading.Event(), threading.Event()
    ask, server = Asker("async"), serving(serve)
    task = asyncio.ensure_future(ask(server))
    await asyncio.to_thread(first.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert (await ask(server))["Item"] == {"id": {"S": "1"}}
    await ask.close()


def test_exception_raised_into_an_exchange_ends_its_connection(serving: Callable[[Serve], Server]) -> None:
    class LimitError(Exception):
        pass

    def look(status: int, headers: dict[str, str]) -> None:
        raise LimitError

    server = serving(answering(ANSWER))
    endpoint = endpoint_of(server.url, None)
    assert endpoint is not None
    sockets = Sockets(endpoint, 5)
    head = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(LimitError):
        sockets.exchange(head, b"", 5, look)
    assert sockets.exchange(head, b"", 5).body == BODY
    assert len(server.connections) == 2
    sockets.close()


def test_threads_share_a_client_and_not_a_connection(serving: Callable[[Serve], Server]) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        while data := connection.recv(65_536):
            number = data.rpartition(b'"S":"')[2].partition(b'"')[0]
            body = b'{"Item": {"id": {"S": "%s"}}}' % number
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    server = serving(serve)
    client = aws.open_client("dynamodb", {"region": "eu-west-1", "endpoint_url": server.url})

    def read(number: int) -> Any:
        key = {"id": {"S": str(number)}}
        return client.call(Call("dynamodb", "get_item", {"TableName": "t", "Key": key}))["Item"]["id"]["S"]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(400))) == [str(number) for number in range(400)]
    assert len(server.connections) <= 8
    client.close()


def test_loop_that_ends_without_closing_its_client_leaves_no_warning(serving: Callable[[Serve], Server]) -> None:
    server = serving(answering(ANSWER))

    async def main() -> None:
        client = await aws.open_async_client("dynamodb", {"region": "eu-west-1", "endpoint_url": server.url})
        await asyncio.gather(*(client.call(GET) for _ in range(3)))
        await client.close()

    asyncio.run(main())
    gc.collect()  # an open socket would warn now
    assert len(server.connections) == 3
