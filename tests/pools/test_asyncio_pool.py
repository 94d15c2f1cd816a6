"""What the asyncio pool does beyond the contract."""

from __future__ import annotations

import asyncio

from taskq_cloud.core.model.outcome import Abandoned, Failed, Succeeded, TimedOut
from tests.pools.pool_helpers import StartPool, invocation, make, until
from tests.pools.pool_tasks import arrivals


async def test_a_coroutine_that_swallows_its_cancellation_is_left_behind(start_pool: StartPool, tmp_path, caplog):
    pool = await start_pool("asyncio", 1, grace_seconds=0.1)
    release = tmp_path / "release"
    request = invocation("astubborn", str(release), hard=0.1)
    assert await pool.run(request) == TimedOut(0.1)
    [record] = caplog.records
    assert (record.action, record.task_id) == ("pool.coroutine_abandoned", request.message.id)
    assert await pool.run(invocation("aadd", 2, 3)) == Succeeded("5")
    release.touch()
    await until(lambda: not pool._running)


async def test_stopping_does_not_wait_for_one_either(tmp_path):
    pool = make("asyncio", 1, grace_seconds=0.1)
    await pool.start()
    release = tmp_path / "release"
    run = asyncio.create_task(pool.run(invocation("astubborn", str(release))))
    await until(lambda: pool._running)
    await pool.stop()
    assert await run == Abandoned()
    release.touch()
    await until(lambda: not pool._running)


async def test_a_cancellation_that_the_task_made_itself_fails_it(start_pool: StartPool):
    for kind in ("asyncio", "threads", "processes"):
        pool = await start_pool(kind, 1)
        outcome = await pool.run(invocation("await_cancelled"))
        assert isinstance(outcome, Failed)
        assert outcome.error.exc_type == "CancelledError"


async def test_the_soft_limit_passes_through_task_groups_and_timeouts(start_pool: StartPool, tmp_path):
    pool = await start_pool("asyncio", 1)
    assert await pool.run(invocation("nested", str(tmp_path), soft=0.1)) == Succeeded('"0 cancellations"')


async def test_the_soft_limit_is_raised_where_a_subtask_took_the_cancellation(start_pool: StartPool, tmp_path):
    pool = await start_pool("asyncio", 1)
    assert await pool.run(invocation("swallowed", str(tmp_path), soft=0.1)) == Succeeded('"limited"')


async def test_the_hard_limit_ends_a_task_that_has_caught_the_soft_one(start_pool: StartPool, tmp_path):
    pool = await start_pool("asyncio", 1)
    assert await pool.run(invocation("ahang_twice", str(tmp_path), soft=0.1, hard=0.3)) == TimedOut(0.3)
    assert len(arrivals(tmp_path)) == 4


async def test_both_limits_at_once_end_the_run(start_pool: StartPool, tmp_path):
    pool = await start_pool("asyncio", 1)
    outcome = await pool.run(invocation("ahang", str(tmp_path), soft=0.1, hard=0.1))
    assert isinstance(outcome, TimedOut | Failed)
