"""Test the health report and the server of ``/healthz``."""

from __future__ import annotations

import asyncio
import json

from taskq_cloud.worker.health import HealthServer, report
from taskq_cloud.worker.poller import PollHealth


def test_queue_polled_recently_with_one_error_is_alive() -> None:
    healthy, body = report({"celery": PollHealth(polled_at=100, error="no answer")}, 10, now=150)
    assert healthy
    assert body["queues"]["celery"] == {"alive": True, "polled_seconds_ago": 50, "error": "no answer"}


def test_queue_not_polled_for_long_is_not_alive() -> None:
    queues = {"celery": PollHealth(polled_at=100), "mail": PollHealth(polled_at=160)}
    healthy, body = report(queues, 10, now=161)
    assert not healthy
    assert body["status"] == "failing"
    assert [row["alive"] for row in body["queues"].values()] == [False, True]


def test_queue_of_full_worker_is_alive() -> None:
    assert report({"celery": PollHealth(polled_at=0, waiting_for_room=True)}, 10, now=10_000)[0]


async def _get(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


async def test_health_server_answers_200_503_or_404() -> None:
    state = [(True, {"status": "ok"})]
    server = HealthServer(0, lambda: state[0])
    await server.start()
    try:
        head, _, body = (await _get(server.port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert json.loads(body) == {"status": "ok"}
        state[0] = (False, {"status": "failing"})
        assert (await _get(server.port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        assert (await _get(server.port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert await _get(server.port, b"x" * 20_000) == b""
    finally:
        await server.stop()
