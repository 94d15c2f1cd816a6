"""Test the asyncio pool beyond the contract of all pools: cancellation and time limits of coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from taskq_cloud.core.model.outcome import Abandoned, Failed, Lost, Succeeded, TimedOut
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.own_tasks import keep_tasks_apart
from taskq_cloud.testing.waiting import auntil
from tests.pools import limit_tasks
from tests.pools.pool_helpers import StartPool, invocation, make
from tests.pools.pool_tasks import arrivals

T = TypeVar("T")


async def test_coroutine_that_swallows_cancellation_is_left_behind(
    start_pool: StartPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await start_pool("asyncio", 1, grace_seconds=0.1)
    release = tmp_path / "release"
    request = invocation("astubborn", str(release), hard=0.1)
    assert await pool.run(request) == TimedOut(0.1)
    [record] = caplog.records
    assert (vars(record)["action"], vars(record)["task_id"]) == ("pool.coroutine_abandoned", request.message.id)
    assert await pool.run(invocation("aadd", 2, 3)) == Succeeded("5")
    release.touch()
    await auntil(lambda: not pool._running)


async def test_stop_does_not_wait_for_coroutine_that_swallows_cancellation(tmp_path: Path) -> None:
    pool = make("asyncio", 1, grace_seconds=0.1)
    await pool.start()
    release = tmp_path / "release"
    run = asyncio.create_task(pool.run(invocation("astubborn", str(release))))
    await auntil(lambda: pool._running)
    await pool.stop()
    assert await run == Abandoned()
    release.touch()
    await auntil(lambda: not pool._running)


async def test_task_that_raises_cancelled_error_itself_fails(start_pool: StartPool) -> None:
    for kind in ("asyncio", "threads", "processes"):
        pool = await start_pool(kind, 1)
        outcome = await pool.run(invocation("await_cancelled"))
        assert isinstance(outcome, Failed)
        assert outcome.error.exc_type == "CancelledError"


async def test_soft_limit_passes_through_task_groups_and_timeouts(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("asyncio", 1)
    assert await pool.run(invocation("nested", str(tmp_path), soft=0.1)) == Succeeded('"0 cancellations"')


async def test_soft_limit_is_raised_although_subtask_swallows_cancellation(
    start_pool: StartPool, tmp_path: Path
) -> None:
    pool = await start_pool("asyncio", 1)
    assert await pool.run(invocation("swallowed", str(tmp_path), soft=0.1)) == Succeeded('"limited"')


async def test_hard_limit_ends_task_that_caught_soft_limit(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("asyncio", 1)
    assert await pool.run(invocation("ahang_twice", str(tmp_path), soft=0.1, hard=0.3)) == TimedOut(0.3)
    assert len(arrivals(tmp_path)) == 4


async def test_soft_and_hard_limit_at_once_end_the_run(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("asyncio", 1)
    outcome = await pool.run(invocation("ahang", str(tmp_path), soft=0.1, hard=0.1))
    assert isinstance(outcome, TimedOut | Failed)


async def test_subtask_is_cancelled_at_soft_limit(start_pool: StartPool, tmp_path: Path) -> None:
    pool = await start_pool("asyncio", 1)
    assert await pool.run(invocation("leave_subtask_behind", str(tmp_path), soft=0.1, hard=15)) == Succeeded(
        '"cancelled"'
    )


async def test_soft_limit_in_wait_for_lock_leaves_the_lock_usable(start_pool: StartPool, tmp_path: Path) -> None:
    """Let a limit reach a waiter that was just handed the lock: the next waiter must get it all the same."""
    pool = await start_pool("asyncio", 3)
    lock = asyncio.Lock()
    limit_tasks.ASYNC_LOCKS[id(asyncio.get_running_loop())] = lock
    await lock.acquire()
    loop = asyncio.get_running_loop()
    limited = asyncio.create_task(pool.run(invocation("wait_for_async_lock", soft=0.1, hard=15)))
    await auntil(lambda: bool(lock._waiters))
    other = asyncio.create_task(pool.run(invocation("wait_for_async_lock", hard=15)))
    await auntil(lambda: len(lock._waiters or ()) == 2)
    # The limit's timer comes due while the loop is busy, so the loop's next round wakes the waiter and limits it.
    loop.call_soon(time.sleep, 0.2)
    loop.call_soon(loop.call_soon, lock.release)
    assert await asyncio.wait_for(other, 10) == Succeeded("null")
    outcome = await limited
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "SoftTimeLimitExceeded"


@pytest.mark.parametrize("kind", ["asyncio", "threads", "processes"])
@pytest.mark.parametrize("name", ["cancel_itself", "cancel_itself_and_go_on"])
async def test_task_that_cancels_itself_has_an_outcome(start_pool: StartPool, kind: str, name: str) -> None:
    pool = await start_pool(kind, 1)
    for _ in range(2):
        outcome = await pool.run(invocation(name))
        if name == "cancel_itself_and_go_on":
            assert outcome == Succeeded('"went on"')
        else:
            assert isinstance(outcome, Failed)
            assert outcome.error.exc_type == "CancelledError"
    assert await pool.run(invocation("aadd", 2, 3)) == Succeeded("5")


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("name", ["exit_in_background", "interrupt_in_background"])
async def test_coroutine_does_not_go_on_after_its_loop_was_stopped(
    start_pool: StartPool, tmp_path: Path, kind: str, name: str
) -> None:
    pool = await start_pool(kind, 1)
    assert isinstance(await pool.run(invocation(name, str(tmp_path))), Lost)
    assert await pool.run(invocation("wait_a_little")) == Succeeded("null")
    assert arrivals(tmp_path) == ["ended"]


def on_own_loop(scenario: Callable[[AsyncioPool], Coroutine[Any, Any, T]], concurrency: int = 3) -> T:
    """Run a scenario as a worker does: all tasks of the loop, the first one included, belong to a run or the worker."""

    async def run() -> T:
        pool = make("asyncio", concurrency)
        assert isinstance(pool, AsyncioPool)
        await pool.start()
        try:
            return await scenario(pool)
        finally:
            await pool.stop()

    loop = asyncio.new_event_loop()
    keep_tasks_apart(loop)
    with closing(loop):
        return loop.run_until_complete(run())


def test_task_that_cancels_all_tasks_of_the_loop_fails_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    request = invocation("meet_and_cancel_all", str(tmp_path), 3)

    async def scenario(pool: AsyncioPool) -> Any:
        neighbours = (pool.run(invocation(name, str(tmp_path), 3)) for name in ("ameet", "ameet_in_group"))
        return await asyncio.gather(pool.run(request), *neighbours)

    failed, *others = on_own_loop(scenario)
    assert isinstance(failed, Failed)
    assert failed.error.exc_type == "CancelledError"
    assert others == [Succeeded("3"), Succeeded("3")]
    [record] = caplog.records
    assert (vars(record)["action"], vars(record)["task_id"]) == ("pool.foreign_cancel", request.message.id)


def test_task_sees_and_cancels_no_task_of_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(pool: AsyncioPool) -> Any:
        service = asyncio.create_task(asyncio.sleep(60))
        try:
            return await pool.run(invocation("end_the_loop_like_asyncio_run")), service.cancelling()
        finally:
            service.cancel()

    assert on_own_loop(scenario) == (Succeeded('"0 others"'), 0)
    assert not caplog.records


def test_work_that_an_ended_run_has_left_can_be_cancelled_by_others() -> None:
    async def scenario(pool: AsyncioPool) -> Any:
        await pool.run(invocation("leave_background"))
        return await pool.run(invocation("cancel_background_of_ended_run"))

    assert on_own_loop(scenario) == Succeeded("true")
