"""Test that a time limit never leaves a lock taken, and reaches the task wherever it is."""

from __future__ import annotations

import inspect
import logging
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from taskq_cloud.core.model.outcome import Failed, Succeeded, TimedOut
from taskq_cloud.errors import SoftTimeLimitExceeded
from taskq_cloud.pools import child
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


class Locks:
    """Locks that functions of a library take while an alarm goes off."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.condition = threading.Condition(threading.Lock())
        self.queue: queue.Queue[int] = queue.Queue()

    def use(self) -> None:
        while True:
            self.queue.put(1)
            self.queue.get()
            with self.condition:
                self.condition.notify_all()
            self.lock.acquire()
            try:
                len("taken")
            finally:
                self.lock.release()

    def taken(self) -> list[str]:
        locks: dict[str, Any] = {"lock": self.lock, "condition": self.condition, "queue": self.queue.mutex}
        return [name for name, lock in locks.items() if not lock.acquire(timeout=1)]


@pytest.fixture
def alarm() -> Iterator[Callable[[float], object]]:
    """Raises ``SoftTimeLimitExceeded`` after some seconds, as in a process of the processes pool."""
    before = signal.signal(signal.SIGALRM, child._on_alarm)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def during(alarm: Callable[[float], object], seconds: float, function: Callable[[], None]) -> None:
    alarm(seconds)
    function()


@pytest.mark.parametrize("rounds", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_alarm_leaves_no_lock_of_a_library_taken(alarm: Callable[[float], object], rounds: int) -> None:
    for number in range(rounds):
        locks = Locks()
        with pytest.raises(SoftTimeLimitExceeded):
            during(alarm, 0.001 + number % 20 * 0.0001, locks.use)
        assert locks.taken() == []


def wait_in_with(lock: threading.Lock) -> None:
    with lock:
        raise AssertionError("it was free")


def wait_before_try(lock: threading.Lock) -> None:
    lock.acquire()
    try:
        raise AssertionError("it was free")
    finally:
        lock.release()


def sleep_in_finally(_lock: threading.Lock) -> None:
    try:
        pass
    finally:
        time.sleep(20)


@pytest.mark.parametrize("wait", [wait_in_with, wait_before_try, sleep_in_finally])
def test_alarm_ends_a_wait_where_a_lock_could_be_taken(
    alarm: Callable[[float], object], wait: Callable[[threading.Lock], None]
) -> None:
    lock = threading.Lock()
    lock.acquire()
    with pytest.raises(SoftTimeLimitExceeded):
        during(alarm, 0.01, lambda: wait(lock))
    lock.release()
    assert lock.acquire(timeout=1)


def test_alarm_is_raised_in_no_finalizer(alarm: Callable[[float], object]) -> None:
    class Slow:
        def __del__(self) -> None:
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass

    def finalize_once() -> None:
        Slow()
        time.sleep(20)

    with pytest.raises(SoftTimeLimitExceeded):
        during(alarm, 0.005, finalize_once)
