"""Tasks that take locks all the time, so that a time limit meets them while a lock is taken."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from taskq_cloud.errors import SoftTimeLimitExceeded
from tests.pools.pool_runner import task
from tests.pools.pool_tasks import DEADLINE_SECONDS, ahang, is_there, ticks

LOCK = threading.Lock()
CONDITION = threading.Condition()
QUEUE: queue.Queue[int] = queue.Queue()
logger = logging.getLogger("tests.pools.limits")


class OwnFormatter(logging.Formatter):
    """A formatter of the application, which ``logging`` calls within its lock."""

    def format(self, record: logging.LogRecord) -> str:
        return "".join(character for character in record.getMessage())


def log_all_the_time() -> None:
    for _ in ticks():
        logger.info("again")


def hold_lock_in_with() -> None:
    for _ in ticks():
        with LOCK:
            _ = 1


def hold_lock_in_try() -> None:
    for _ in ticks():
        LOCK.acquire()
        try:
            _ = 1
        finally:
            _give_back()


def _give_back() -> None:
    held = LOCK.locked()
    if held:
        LOCK.release()


def hold_condition() -> None:
    for _ in ticks():
        with CONDITION:
            _ = 1


def use_queue() -> None:
    for _ in ticks():
        QUEUE.put(1)
        QUEUE.get()


USERS_OF_LOCKS: dict[str, Callable[[], None]] = {
    use.__name__: task(use)
    for use in (log_all_the_time, hold_lock_in_with, hold_lock_in_try, hold_condition, use_queue)
}


@task
def take_all_locks() -> list[str]:
    """Return the locks that can't be had."""
    log = [handler.lock for handler in logger.handlers if handler.lock is not None]
    locks: dict[str, Any] = {
        "lock": LOCK,
        "condition": CONDITION,
        "queue": QUEUE.mutex,
        **{f"log {i}": lock for i, lock in enumerate(log)},
    }
    taken = []
    for name, lock in locks.items():
        if lock.acquire(timeout=5):
            lock.release()
        else:
            taken.append(name)
    return taken


@task
def loop_forever() -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline: pass  # noqa: E701  # fmt: skip


@task
def catch_limit_around_one_call() -> str:
    """Catch a limit that passes during the only call of a ``try`` block."""
    try:
        time.sleep(0.5)
    except SoftTimeLimitExceeded:
        return "caught"
    return "not limited"


@task
def sort_all_the_time() -> None:
    for _ in ticks():
        sorted(range(1000), key=lambda number: -number)


ASYNC_LOCKS: dict[int, asyncio.Lock] = {}


def _async_lock() -> asyncio.Lock:
    return ASYNC_LOCKS.setdefault(id(asyncio.get_running_loop()), asyncio.Lock())


@task
async def wait_for_async_lock() -> None:
    async with _async_lock():
        pass


@task
async def hold_async_lock_until(path: str) -> str:
    async with _async_lock():
        for _ in ticks():
            if is_there(path):
                break
            await asyncio.sleep(0.002)
    return "released"


@task
async def leave_subtask_behind(directory: str) -> str:
    """Wait for a subtask with a timeout, and say what became of the subtask at the soft limit."""
    subtask = asyncio.create_task(ahang(directory))
    try:
        await asyncio.wait_for(subtask, DEADLINE_SECONDS)
    except SoftTimeLimitExceeded:
        return "cancelled" if subtask.cancelled() else "left behind"
    return "not limited"
