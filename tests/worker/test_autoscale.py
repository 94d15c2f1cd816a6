"""Test that a pool grows and shrinks with the messages that need a place, and that slots and leases follow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.base import ResizablePool
from taskq_cloud.pools.factory import make_pool
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.waiting import auntil
from taskq_cloud.worker.autoscale import AutoscaleLimits, Autoscaler
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.slots import Slots
from taskq_cloud.worker.supervisor import Worker
from tests.pools.pool_helpers import invocation, make
from tests.pools.pool_runner import PoolRunner
from tests.worker.serving import serving

KEEPALIVE = 30.0


@pytest.mark.parametrize(("text", "limits"), [("10,3", (10, 3)), ("10", (10, 1)), ("10,0", (10, 1)), ("4,4", (4, 4))])
def test_limits_are_maximum_and_minimum(text: str, limits: tuple[int, int]) -> None:
    assert AutoscaleLimits.parse(text) == AutoscaleLimits(*limits)


@pytest.mark.parametrize("text", ["3,10", "0", "-1,2", "a,b", "", "1,2,3", "2.5"])
def test_wrong_limits_are_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="MAX,MIN"):
        AutoscaleLimits.parse(text)


class Scaled:
    """An autoscaler of slots without a pool, and the callers that have or want a slot."""

    def __init__(self, most: int, least: int) -> None:
        self.clock = FakeClock()
        self.slots = Slots(least, lambda: None)
        self.sizes: list[int] = []
        limits = AutoscaleLimits(most, least)
        self.autoscaler = Autoscaler(self.slots, limits, self._resize, KEEPALIVE, self.clock)
        self._callers: list[asyncio.Task[bool]] = []

    async def _resize(self, size: int) -> None:
        self.sizes.append(size)
        self.slots.resize(size)

    async def want(self, count: int) -> None:
        self._callers += [asyncio.create_task(self.slots.acquire()) for _ in range(count)]
        await asyncio.sleep(0)
        await self.autoscaler.scale()
        await asyncio.gather(*self._callers)

    async def give_back(self, count: int) -> None:
        for _ in range(count):
            self.slots.release()
        await self.autoscaler.scale()

    async def after(self, seconds: float) -> list[int]:
        self.clock.advance(seconds)
        await self.autoscaler.scale()
        return self.sizes


async def test_pool_grows_to_what_messages_need_up_to_its_maximum() -> None:
    scaled = Scaled(10, 2)
    await scaled.want(2)
    assert scaled.sizes == []
    await scaled.want(3)
    assert scaled.sizes == [5]
    await scaled.want(5)
    assert scaled.sizes == [5, 10]
    waiting = asyncio.create_task(scaled.slots.acquire())
    await asyncio.sleep(0)
    await scaled.autoscaler.scale()
    assert (scaled.sizes, scaled.slots.waiting) == ([5, 10], 1)
    scaled.slots.release()
    assert await waiting


async def test_pool_shrinks_after_its_places_were_idle_for_a_while() -> None:
    scaled = Scaled(10, 2)
    await scaled.want(8)
    await scaled.give_back(7)
    assert await scaled.after(KEEPALIVE - 1) == [8]
    assert await scaled.after(1) == [8, 2]


async def test_pool_shrinks_to_what_was_needed_meanwhile() -> None:
    scaled = Scaled(10, 1)
    await scaled.want(8)
    await scaled.give_back(8)
    await scaled.want(5)
    await scaled.give_back(5)
    assert await scaled.after(KEEPALIVE) == [8, 5]
    assert await scaled.after(KEEPALIVE - 1) == [8, 5]
    assert await scaled.after(2) == [8, 5]
    assert await scaled.after(KEEPALIVE) == [8, 5, 1]


async def test_busy_pool_does_not_shrink() -> None:
    scaled = Scaled(10, 1)
    await scaled.want(8)
    await scaled.give_back(4)
    await scaled.after(KEEPALIVE - 1)
    await scaled.want(4)
    assert await scaled.after(KEEPALIVE) == [8]
    await scaled.give_back(8)
    assert await scaled.after(KEEPALIVE - 1) == [8]


async def test_lower_maximum_shrinks_the_pool_at_once() -> None:
    scaled = Scaled(10, 1)
    await scaled.want(8)
    scaled.autoscaler.limits = AutoscaleLimits(4, 2)
    assert await scaled.after(0) == [8, 4]
    assert scaled.slots.taken == 8
    await scaled.give_back(5)
    assert (scaled.slots.idle, scaled.slots.taken) == (True, 3)


async def test_waiting_message_is_noticed_at_once() -> None:
    scaled = Scaled(3, 1)
    scaling = asyncio.create_task(scaled.autoscaler.scale_forever())
    async with asyncio.timeout(0.5):  # less than the second after which the autoscaler looks by itself
        await asyncio.gather(*(scaled.slots.acquire() for _ in range(3)))
    scaling.cancel()
    assert scaled.sizes[-1] == 3


@pytest.mark.parametrize(
    "kind", ["threads", "asyncio", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("processes", "gevent"))]
)
async def test_pool_runs_as_many_tasks_as_its_new_size(kind: str, tmp_path: Any) -> None:
    pool: ResizablePool = make(kind, 1)
    await pool.start()
    try:
        for size in (3, 2, 4, 1):
            await pool.resize(size)
            folder = tmp_path / f"{size}"
            folder.mkdir()
            meeting = invocation("ameet", str(folder), size)
            places = [await pool.reserve() for _ in range(size)]
            outcomes = await asyncio.gather(*(pool.run(meeting, place) for place in places))
            assert [outcome.payload for outcome in outcomes] == [str(size)] * size  # type: ignore[union-attr]
    finally:
        await pool.stop()


async def test_processes_that_are_too_many_end_when_they_are_idle(tmp_path: Any) -> None:
    pool: Any = make("processes", 3)
    await pool.start()
    try:
        place = await pool.reserve()
        run = asyncio.create_task(pool.run(invocation("meet", str(tmp_path), 2), place))
        await auntil(lambda: len(list(tmp_path.iterdir())) == 1)
        await pool.resize(1)
        await auntil(lambda: pool.pids == [place.pid])
        (tmp_path / "go").touch()
        assert (await run).payload == "2"
        assert (await pool.run(invocation("pid"))).payload == str(place.pid)
    finally:
        await pool.stop()


async def test_threads_that_are_too_many_end(tmp_path: Any) -> None:
    pool: Any = make("threads", 5)
    meeting = invocation("meet", str(tmp_path), 5)
    await asyncio.gather(*(pool.run(meeting) for _ in range(5)))
    await pool.resize(2)
    assert len(pool._idle) == 2
    await pool.stop()


@pytest.fixture
def gate(app: TaskQ) -> tuple[Any, Callable[[], None], list[int]]:
    """A task that waits, a function that lets it go on, and the runs that have begun."""
    opened, begun = threading.Event(), []

    @app.task
    def wait(number: int) -> int:
        begun.append(number)
        opened.wait(20)
        return number

    return wait, opened.set, begun


async def test_worker_holds_no_message_without_a_place(app: TaskQ, gate: Any) -> None:
    wait, go_on, begun = gate
    async with serving(app, autoscale=AutoscaleLimits(6, 1), prefetch_multiplier=1) as worker:
        assert worker.size.concurrency == 1
        results = [await wait.adelay(number) for number in range(10)]
        await auntil(lambda: len(begun) == 6, "six tasks to begin")
        assert worker.size.concurrency == len(worker._leased) == 6
        go_on()
        assert [await result.aget(timeout=10) for result in results] == list(range(10))


async def test_resized_worker_runs_and_leases_more_and_fewer(app: TaskQ, gate: Any) -> None:
    wait, go_on, begun = gate
    async with serving(app, concurrency=1, prefetch_multiplier=1) as worker:
        results = [await wait.adelay(number) for number in range(8)]
        await auntil(partial(begun.__contains__, 0), "the first task to begin")
        await worker.size.resize(4)
        await auntil(lambda: len(begun) == 4, "four tasks to begin")
        await worker.size.resize(2)
        assert (len(worker._leased), worker.size.concurrency) == (4, 2)
        go_on()
        assert [await result.aget(timeout=10) for result in results] == list(range(8))
        assert worker._leased.capacity == 2


async def test_size_below_one_or_of_an_autoscaled_worker_is_refused(app: TaskQ) -> None:
    fixed, scaled = (
        Worker(app.runtime(), WorkerOptions.from_settings(app.conf, ("q",), pool="threads", **options))
        for options in ({"concurrency": 2}, {"autoscale": AutoscaleLimits(3, 2)})
    )
    with pytest.raises(ImproperlyConfigured, match="at least 1"):
        await fixed.size.resize(0)
    with pytest.raises(ImproperlyConfigured, match="without --autoscale"):
        await fixed.size.autoscale(AutoscaleLimits(3))
    with pytest.raises(ImproperlyConfigured, match="scales itself"):
        await scaled.size.resize(3)


def test_pool_that_cannot_change_its_size_is_refused(app: TaskQ) -> None:
    options = WorkerOptions.from_settings(app.conf, ("q",), pool="solo", autoscale=AutoscaleLimits(1))
    with pytest.raises(ImproperlyConfigured, match="the solo pool can't change its size"):
        Worker(app.runtime(), options)


async def test_solo_pool_refuses_more_than_one_task() -> None:
    pool = make_pool("solo", runner=PoolRunner())
    assert isinstance(pool, ResizablePool)
    await pool.resize(1)
    with pytest.raises(ImproperlyConfigured, match="--pool threads"):
        await pool.resize(2)
