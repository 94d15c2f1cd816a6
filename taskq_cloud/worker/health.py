"""Serve ``GET /healthz``, which tells a container's probes whether every queue is being received from."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from taskq_cloud.worker.poller import PollHealth

STALE_FACTOR: Final = 3
LEAST_STALE_SECONDS: Final = 60
LONGEST_REQUEST_BYTES: Final = 8192
REQUEST_TIMEOUT_SECONDS: Final = 5


def report(queues: Mapping[str, PollHealth], wait_seconds: float, now: float) -> tuple[bool, dict[str, Any]]:
    """Return whether a worker is healthy, and the JSON body that describes its queues.

    A queue is alive if its last receive succeeded within the time of three waits (at least a minute), or if its poller
    waits for room because the worker is full. One failed receive is shown, but it isn't a reason to end the container.

    Args:
        queues: the state of each queue's polling, by the queue's name.
        wait_seconds: how long a receive waits for messages.
        now: the time on the monotonic clock.
    """
    stale_seconds = max(LEAST_STALE_SECONDS, STALE_FACTOR * wait_seconds)
    rows = {}
    healthy = True
    for queue, health in queues.items():
        age = now - health.polled_at
        alive = health.waiting_for_room or age <= stale_seconds
        healthy = healthy and alive
        rows[queue] = {"alive": alive, "polled_seconds_ago": round(age, 1), "error": health.error}
    return healthy, {"status": "ok" if healthy else "failing", "queues": rows}


class HealthServer:
    """Serves a report over HTTP: with status 200 if the worker is healthy, otherwise with 503.

    Args:
        port: the port to listen on; 0 takes a free port.
        make_report: returns whether the worker is healthy, and the JSON body.
    """

    def __init__(self, port: int, make_report: Callable[[], tuple[bool, dict[str, Any]]]) -> None:
        self.port = port
        self._make_report = make_report
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on every interface, because probes come from outside the container.

        Raises:
            OSError: the port is taken.
        """
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        listening = socket.create_server(("", self.port), family=family, dualstack_ipv6=dual)
        self.port = listening.getsockname()[1]
        self._server = await asyncio.start_server(self._answer, sock=listening, limit=LONGEST_REQUEST_BYTES)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()  # wait_closed() would also wait for clients that have connected and send nothing

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                path = request.split(b" ", 2)[1:2]
                status, body = "404 Not Found", {"status": "not found", "see": "/healthz"}
                if path == [b"/healthz"]:
                    healthy, body = self._make_report()
                    status = "200 OK" if healthy else "503 Service Unavailable"
                data = json.dumps(body).encode()
                head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
                writer.write(f"{head}Connection: close\r\n\r\n".encode() + data)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the client has gone or did not send a request, so nobody waits for an answer
        finally:
            writer.close()
