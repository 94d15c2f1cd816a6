"""Measures the CPU time of one request to AWS: by both drivers of taskq_cloud, and by HTTP clients without AWS's rules.

Run ``PYTHONPATH=. python benchmarks/aws_requests.py``; it prints tables for docs/design.md. The server is another
process on loopback, which answers each request at once, and whose time isn't counted. Each figure is the least of some
rounds, which alternate between the contenders, as other programs can only add to it.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpcore
import urllib3

from taskq_cloud.clients import aws
from taskq_cloud.clients.lean.endpoints import Endpoint, endpoint_of
from taskq_cloud.clients.lean.loop import LoopConnections
from taskq_cloud.clients.lean.sockets import Sockets
from taskq_cloud.core.flows import Call

ROUNDS = 15
REQUESTS = int(os.environ.get("REQUESTS", "100"))
ENTRIES = [{"Id": str(number), "MessageBody": "x" * 600, "DelaySeconds": 0} for number in range(10)]
ITEM = {"id": {"S": "x" * 36}, "status": {"S": "SUCCESS"}, "result": {"B": b"x" * 300}, "ttl": {"N": "1800000000"}}
CALLS = {
    "SendMessageBatch of ten": Call("sqs", "send_message_batch", {"QueueUrl": "https://q", "Entries": ENTRIES}),
    "PutItem": Call("dynamodb", "put_item", {"TableName": "t", "Item": ITEM, "ConditionExpression": "size(id) > id"}),
}
SENT = {"Id": "0", "MessageId": "219f8380-5770-4cc2-8c3e-5c715e145f5e", "MD5OfMessageBody": "0" * 32}
Contenders = dict[str, Callable[[], Awaitable[object]]]

SERVER = """
import asyncio, sys
answers = [each.encode().decode("unicode_escape").encode() for each in sys.argv[1:]]
class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""
    def data_received(self, data):
        self.data += data
        head, end, body = self.data.partition(b"\\r\\n\\r\\n")
        head = head.lower()
        if end and len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\\r\\n")[0]):
            self.data = b""
            answer = answers[b"sendmessagebatch" not in head]
            self.transport.write(
                b"HTTP/1.1 200 OK\\r\\nx-amzn-RequestId: 1\\r\\nContent-Type: application/x-amz-json-1.0\\r\\n"
                b"Content-Length: %d\\r\\n\\r\\n%s" % (len(answer), answer)
            )
async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def serving() -> Iterator[Endpoint]:
    answers = [json.dumps({"Successful": [SENT] * 10}), "{}"]
    with subprocess.Popen([sys.executable, "-c", SERVER, *answers], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        endpoint = endpoint_of(f"http://127.0.0.1:{server.stdout.readline().strip()}", None)
        assert endpoint is not None
        try:
            yield endpoint
        finally:
            server.kill()


def blocking(function: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        function()

    return run


async def measure(contenders: Contenders) -> dict[str, float]:
    """The CPU time of one request by each contender, in microseconds."""
    least = dict.fromkeys(contenders, float("inf"))
    for _ in range(ROUNDS):
        for name, request in contenders.items():
            await request()
            begin = time.process_time()
            for _ in range(REQUESTS):
                await request()
            least[name] = min(least[name], (time.process_time() - begin) / REQUESTS * 1e6)
    return least


async def drivers(endpoint: Endpoint, call: Call) -> dict[str, float]:
    options = {"region": "eu-west-1", "endpoint_url": endpoint.url}
    contenders: Contenders = {}
    clients: list[aws.AsyncAWSClient] = []
    for lean, name in ((True, "lean driver"), (False, "SDK")):
        client = aws.open_client(call.service, {**options, "lean": lean})
        contenders[f"{name}, in a thread"] = blocking(lambda client=client: client.call(call))  # type: ignore[misc]
        clients.append(await aws.open_async_client(call.service, {**options, "lean": lean}))
        contenders[f"{name}, event loop"] = lambda client=clients[-1]: client.call(call)  # type: ignore[misc]
    measured = await measure(contenders)
    for each in clients:
        await each.close()
    return measured


async def layers(endpoint: Endpoint) -> dict[str, float]:
    """Measure HTTP alone: 6.5 kB are sent, and the answer is read."""
    body = json.dumps({"QueueUrl": "https://q", "Entries": ENTRIES}).encode()
    headers = {"X-Amz-Target": "AmazonSQS.SendMessageBatch", "Authorization": "x" * 250, "Host": endpoint.authority}
    given: Any = {**headers, "Content-Length": str(len(body))}
    head = "POST / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items()) + "\r\n"
    plain = http.client.HTTPConnection(endpoint.host, endpoint.port)
    pool = urllib3.HTTPConnectionPool(endpoint.host, endpoint.port)
    core, sockets, loop = httpcore.ConnectionPool(), Sockets(endpoint, 5), LoopConnections(endpoint, 5)
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)

    def by_http_client() -> None:
        plain.request("POST", "/", body, given)
        plain.getresponse().read()

    async def by_streams() -> None:
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(answer.rpartition(b": ")[2]))

    async with aiohttp.ClientSession() as session:

        async def by_aiohttp() -> None:
            async with session.post(endpoint.url, data=body, headers=headers) as answer:
                await answer.read()

        measured = await measure(
            {
                "own sockets": blocking(lambda: sockets.exchange(head.encode(), body, 5)),
                "http.client": blocking(by_http_client),
                "urllib3": blocking(lambda: pool.urlopen("POST", "/", body, given, retries=False).data),
                "httpcore": blocking(lambda: core.request("POST", endpoint.url, headers=given, content=body)),
                "own protocol on asyncio": lambda: loop.exchange(head.encode(), body, 5),
                "asyncio's streams, without time limits": by_streams,
                "aiohttp": by_aiohttp,
            }
        )
    writer.close()
    await loop.close()
    return measured


async def main() -> None:
    os.environ.update(AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION="eu-west-1")
    with serving() as endpoint:
        columns = {name: await drivers(endpoint, call) for name, call in CALLS.items()}
        print("| CPU time of a request, µs |", " | ".join(columns), "|\n|---|" + "---:|" * len(columns))
        for name in columns["PutItem"]:
            print(f"| {name} |", " | ".join(f"{column[name]:.0f}" for column in columns.values()), "|")
        print("\n| HTTP alone | µs |\n|---|---:|")
        for name, least in (await layers(endpoint)).items():
            print(f"| {name} | {least:.0f} |")


if __name__ == "__main__":
    asyncio.run(main())
