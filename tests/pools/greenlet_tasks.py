"""Tasks for the pools of greenlets: they wait for sockets, run event loops, and hold up other greenlets."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import sys
import time
from typing import Any

from taskq_cloud.errors import SoftTimeLimitExceeded
from tests.pools.pool_runner import task
from tests.pools.pool_tasks import arrivals, arrive


@task
def ask_server(port: int) -> Any:
    """Wait for the answer of a slow server."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        return connection.recv(100).decode()


@task
def ask_server_and_be_limited(port: int) -> Any:
    try:
        return ask_server(port)
    except SoftTimeLimitExceeded:
        return "limited"


@task
def run_own_loop(directory: str, size: int) -> int:
    """Run an event loop while other greenlets run theirs, and return how many loops ran at the same time."""

    async def wait() -> int:
        arrive(directory)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if len(arrivals(directory)) >= size:
                return size
            await asyncio.sleep(0.01)
        return 0

    return asyncio.run(wait())


@task
def calculate(seconds: float) -> str:
    """Hold up all other greenlets."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
    return "done"


@task
def calculate_and_be_limited() -> Any:
    try:
        return calculate(20)
    except SoftTimeLimitExceeded:
        return "limited"


@task
def hold_interpreter(directory: str, seconds: int) -> None:
    """Hold up even the other threads of the process: a function of C is called that keeps the interpreter."""
    arrive(directory)
    ctypes.PyDLL(None).sleep(seconds)


@task
def patched() -> list[str]:
    return [name for name in ("gevent", "eventlet") if name in sys.modules]
