"""Test the threads pool beyond the contract of all pools. The asyncio pool runs plain functions in it."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from taskq_cloud.core.model.outcome import Failed, Succeeded, TimedOut
from taskq_cloud.testing.waiting import auntil
from tests.pools.pool_helpers import StartPool, invocation


def task_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "taskq-task"]


async def test_idle_thread_is_reused(start_pool: StartPool) -> None:
    pool = await start_pool("threads")
    outcomes = {await pool.run(invocation("thread_id")) for _ in range(10)}
    assert len(outcomes) == 1


async def test_thread_that_heeds_hard_limit_ends(
    start_pool: StartPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await start_pool("threads", 1)
    before = len(task_threads())
    assert await pool.run(invocation("hang", str(tmp_path), hard=0.2)) == TimedOut(0.2)
    await auntil(lambda: pool.abandoned_threads == 0)
    await auntil(lambda: len(task_threads()) <= before)
    assert not caplog.records


@pytest.mark.parametrize("prefix", ["", "a"], ids=["function", "coroutine"])
async def test_thread_that_ignores_hard_limit_is_left_behind(
    start_pool: StartPool, tmp_path: Path, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    pool = await start_pool("threads", 1, grace_seconds=0.2)
    release = tmp_path / "release"
    request = invocation(f"{prefix}stubborn", str(release), hard=0.2)
    assert await pool.run(request) == TimedOut(0.2)
    assert pool.abandoned_threads == 1
    assert await pool.run(invocation("add", 2, 3)) == Succeeded("5")
    await auntil(lambda: caplog.records)
    [record] = caplog.records
    assert (vars(record)["action"], vars(record)["task_id"]) == ("pool.thread_abandoned", request.message.id)
    release.touch()
    await auntil(lambda: pool.abandoned_threads == 0)


async def test_limit_never_reaches_another_task(start_pool: StartPool) -> None:
    """Run tasks that end at about their soft limit, and after each of them a task without a limit."""
    pool = await start_pool("threads", 1)
    for round_number in range(300):
        limited = await pool.run(invocation("add", round_number, 1, soft=round_number % 30 * 0.00001))
        assert limited == Succeeded(str(round_number + 1)) or (
            isinstance(limited, Failed) and limited.error.exc_type == "SoftTimeLimitExceeded"
        )
        assert await pool.run(invocation("add", round_number, 2)) == Succeeded(str(round_number + 2))


async def test_stop_ends_the_threads(tmp_path: Path, start_pool: StartPool) -> None:
    before = len(task_threads())
    pool = await start_pool("threads", 3)
    meeting = invocation("meet", str(tmp_path), 3)
    await asyncio.gather(*(pool.run(meeting) for _ in range(3)))
    assert len(task_threads()) == before + 3
    await pool.stop()
    # The pool knows when a thread has run its last line. The interpreter removes it from its list a moment later.
    await auntil(lambda: len(task_threads()) <= before)


async def test_coroutines_of_a_thread_share_one_event_loop(start_pool: StartPool) -> None:
    pool = await start_pool("threads", 1)
    outcomes = [await pool.run(invocation("aloop_id")) for _ in range(3)]
    assert len({json.loads(outcome.payload) for outcome in outcomes}) == 1


async def test_context_variables_are_undone_after_the_task(start_pool: StartPool) -> None:
    for kind in ("threads", "processes"):
        pool = await start_pool(kind, 1)
        for name in ("set_context", "aset_context"):
            assert [await pool.run(invocation(name)) for _ in range(2)] == [Succeeded('"unset"')] * 2
