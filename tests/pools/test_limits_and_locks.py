"""Test that a time limit never leaves a lock taken, and reaches the task wherever it is."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from taskq_cloud.core.model.outcome import Failed, Succeeded, TimedOut
from taskq_cloud.pools.own_code import can_take_limit
from tests.pools import limit_tasks
from tests.pools.pool_helpers import StartPool, invocation


@pytest.fixture(autouse=True)
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Log the tasks to a file, through a formatter that belongs to the application."""
    handler = logging.FileHandler(tmp_path_factory.mktemp("log") / "tasks.log")
    handler.setFormatter(limit_tasks.OwnFormatter())
    limit_tasks.logger.addHandler(handler)
    limit_tasks.logger.propagate = False
    limit_tasks.logger.setLevel(logging.INFO)
    yield
    limit_tasks.logger.removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
@pytest.mark.parametrize("name", limit_tasks.USERS_OF_LOCKS)
async def test_soft_limit_leaves_no_lock_taken(
    start_pool: StartPool, capfd: pytest.CaptureFixture[str], kind: str, name: str
) -> None:
    pool = await start_pool(kind, 1)
    for number in range(20):
        outcome = await pool.run(invocation(name, soft=0.01 + number * 0.0007, hard=15))
        assert isinstance(outcome, Failed)
        assert outcome.error.exc_type == "SoftTimeLimitExceeded"
        assert await pool.run(invocation("take_all_locks")) == Succeeded("[]")
    assert "Logging error" not in capfd.readouterr().err


@pytest.mark.parametrize("name", limit_tasks.USERS_OF_LOCKS)
async def test_hard_limit_leaves_no_lock_taken(start_pool: StartPool, name: str) -> None:
    pool = await start_pool("threads", 1)
    for number in range(10):
        assert await pool.run(invocation(name, hard=0.01 + number * 0.0007)) == TimedOut(0.01 + number * 0.0007)
        assert await pool.run(invocation("take_all_locks")) == Succeeded("[]")


@pytest.mark.parametrize("name", ["loop_forever", "sort_all_the_time"])
async def test_soft_limit_ends_a_loop_in_any_form(start_pool: StartPool, name: str) -> None:
    pool = await start_pool("threads", 1)
    outcome = await pool.run(invocation(name, soft=0.05, hard=15))
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "SoftTimeLimitExceeded"


async def test_limit_during_a_call_is_caught_around_it(start_pool: StartPool) -> None:
    pool = await start_pool("threads", 1)
    outcome = await pool.run(invocation("catch_limit_around_one_call", soft=0.05, hard=15))
    assert outcome == Succeeded('"caught"')


async def test_soft_limit_in_process_is_not_swallowed_by_logging(start_pool: StartPool) -> None:
    pool = await start_pool("processes", 1)
    for number in range(10):
        outcome = await pool.run(invocation("log_all_the_time", soft=0.05 + number * 0.0007, hard=15))
        assert isinstance(outcome, Failed)
        assert outcome.error.exc_type == "SoftTimeLimitExceeded"


def blocks(lock: threading.Lock) -> None:
    with lock:
        _ = "in with"
    lock.acquire()
    try:
        _ = "in try"
    finally:
        lock.release()
    _ = "after"


def lines_that_take_a_limit(package: str) -> list[str]:
    found: set[int] = set()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode" and can_take_limit(frame, {package}):
            found.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        blocks(threading.Lock())
    finally:
        sys.settrace(before)
    source, first = inspect.getsourcelines(blocks)
    return [source[line - first].strip() for line in sorted(found) if first < line < first + len(source)]


def test_limit_is_raised_where_no_lock_stays_taken() -> None:
    assert lines_that_take_a_limit("tests") == [
        '_ = "in with"',
        "lock.acquire()",
        '_ = "in try"',
        '_ = "after"',
    ]


def test_no_limit_is_raised_in_another_package() -> None:
    assert lines_that_take_a_limit("shop") == []
