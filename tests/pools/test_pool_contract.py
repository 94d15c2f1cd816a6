"""Test the contract of every pool, with plain functions and with coroutine functions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.core.model.outcome import Abandoned, Failed, Lost, Succeeded, TimedOut
from taskq_cloud.testing.waiting import auntil
from tests.pools.pool_helpers import StartPool, invocation, make
from tests.pools.pool_tasks import arrivals


@dataclass(frozen=True)
class Mode:
    kind: str
    prefix: str

    def invocation(self, name: str, *args: Any, **limits: float) -> Any:
        return invocation(self.prefix + name, *args, **limits)


KINDS = ("threads", "processes", "asyncio", "solo")
GREENLETS = ("gevent", "eventlet")
MODES = [
    pytest.param(
        Mode(kind, prefix),
        id=f"{kind}-{'coroutine' if prefix else 'function'}",
        marks=pytest.mark.slow if kind in GREENLETS else (),
    )
    for kind in (*KINDS, *GREENLETS)
    for prefix in ("", "a")
]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    selected: Mode = request.param
    return selected


@pytest.fixture
async def pool(mode: Mode, start_pool: StartPool) -> Any:
    return await start_pool(mode.kind)


async def test_run_returns_the_tasks_value(pool: Any, mode: Mode) -> None:
    assert await pool.run(mode.invocation("add", 2, 3)) == Succeeded("5")


async def test_reserved_place_tells_the_process_of_the_run(pool: Any, mode: Mode) -> None:
    places = [await pool.reserve() for _ in range(pool.concurrency)]
    for place in places:
        assert await pool.run(mode.invocation("pid"), place) == Succeeded(str(place.pid))


async def test_freed_place_can_be_reserved_again(pool: Any, mode: Mode) -> None:
    for _ in range(pool.concurrency + 1):
        place = await pool.reserve()
        pool.free(place)
    assert await pool.run(mode.invocation("add", 2, 3)) == Succeeded("5")


async def test_failing_task_has_failed_outcome(pool: Any, mode: Mode) -> None:
    outcome = await pool.run(mode.invocation("fail"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.exc_type, list(outcome.error.exc_message)) == ("LookupError", ["no such thing", 7])


async def test_pool_runs_as_many_tasks_at_a_time_as_its_concurrency(pool: Any, mode: Mode, tmp_path: Path) -> None:
    meeting = mode.invocation("meet", str(tmp_path), pool.concurrency)
    outcomes = await asyncio.gather(*(pool.run(meeting) for _ in range(pool.concurrency)))
    assert outcomes == [Succeeded(str(pool.concurrency))] * pool.concurrency


async def test_event_loop_goes_on_while_a_task_runs(pool: Any, mode: Mode, tmp_path: Path) -> None:
    run = asyncio.create_task(pool.run(mode.invocation("meet", str(tmp_path), 2)))
    await auntil(lambda: arrivals(tmp_path))
    (tmp_path / "the loop was here").touch()
    assert await run == Succeeded("2")


async def test_hard_limit_ends_the_run_and_pool_runs_the_next(pool: Any, mode: Mode, tmp_path: Path) -> None:
    for _ in range(pool.concurrency + 1):
        assert await pool.run(mode.invocation("hang", str(tmp_path), hard=0.1)) == TimedOut(0.1)
    assert await pool.run(mode.invocation("add", 2, 3)) == Succeeded("5")


async def test_limit_not_reached_changes_nothing(pool: Any, mode: Mode) -> None:
    assert await pool.run(mode.invocation("add", 2, 3, hard=60, soft=30)) == Succeeded("5")


async def test_soft_limit_is_raised_in_the_task(pool: Any, mode: Mode, tmp_path: Path) -> None:
    outcome = await pool.run(mode.invocation("clean_up", str(tmp_path), soft=0.3, hard=15))
    assert outcome == Succeeded('"cleaned up"')
    assert await pool.run(mode.invocation("add", 2, 3)) == Succeeded("5")


async def test_uncaught_soft_limit_fails_the_task(pool: Any, mode: Mode, tmp_path: Path) -> None:
    outcome = await pool.run(mode.invocation("hang", str(tmp_path), soft=0.3, hard=15))
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "SoftTimeLimitExceeded"


async def test_soft_limit_that_passes_at_once_has_an_outcome(pool: Any, mode: Mode) -> None:
    for _ in range(20):
        outcome = await pool.run(mode.invocation("add", 2, 3, soft=0.00001, hard=15))
        assert outcome == Succeeded("5") or (
            isinstance(outcome, Failed) and outcome.error.exc_type == "SoftTimeLimitExceeded"
        )


async def test_cancelled_run_makes_room_for_the_next(pool: Any, mode: Mode, tmp_path: Path) -> None:
    for count in range(pool.concurrency + 1):
        directory = tmp_path / str(count)
        directory.mkdir()
        run = asyncio.create_task(pool.run(mode.invocation("hang", str(directory))))
        await auntil(partial(arrivals, directory))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert await pool.run(mode.invocation("add", 2, 3)) == Succeeded("5")


async def test_sys_exit_costs_only_its_own_task(pool: Any, mode: Mode) -> None:
    for _ in range(pool.concurrency + 1):
        assert await pool.run(mode.invocation("leave")) == Lost("exit code 3")
    assert await pool.run(mode.invocation("add", 2, 3)) == Succeeded("5")


async def test_two_hundred_quick_tasks_succeed(pool: Any, mode: Mode) -> None:
    slots = asyncio.Semaphore(pool.concurrency)

    async def run(number: int) -> Any:
        async with slots:
            return await pool.run(mode.invocation("add", number, 1))

    outcomes = await asyncio.gather(*(run(number) for number in range(200)))
    assert outcomes == [Succeeded(str(number + 1)) for number in range(200)]


async def test_stop_abandons_running_tasks(mode: Mode, tmp_path: Path) -> None:
    pool = make(mode.kind)
    await pool.start()
    runs = [asyncio.create_task(pool.run(mode.invocation("hang", str(tmp_path)))) for _ in range(pool.concurrency)]
    await auntil(lambda: len(arrivals(tmp_path)) == pool.concurrency)
    await pool.stop()
    assert await asyncio.gather(*runs) == [Abandoned()] * pool.concurrency


async def test_stopped_pool_has_no_place(mode: Mode) -> None:
    pool = make(mode.kind)
    await pool.start()
    await pool.stop()
    assert await pool.reserve() is None


async def test_stopped_pool_runs_no_task(mode: Mode) -> None:
    pool = make(mode.kind)
    await pool.start()
    await pool.stop()
    await pool.stop()
    assert await pool.run(mode.invocation("add", 2, 3)) == Abandoned()
