"""Test batches whose records run side by side, and invocations on a thread that isn't the main one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskq_cloud.errors import SoftTimeLimitExceeded
from tests.serverless.events import Context, Shop, batch, call_of, failures, make_app, record

TOGETHER = 4
LONG_SECONDS = 30


def make_shop(concurrency: int = TOGETHER) -> Shop:
    app = make_app(lambda_concurrency=concurrency)
    return Shop(app, [], vars(app)["broker"], app.lambda_handler())


def with_meeting(shop: Shop) -> None:
    """Add the tasks ``coroutine`` and ``plain``, whose runs wait until ``TOGETHER`` of them are under way."""
    together, meeting = asyncio.Barrier(TOGETHER), threading.Barrier(TOGETHER)

    @shop.app.task(name="coroutine")
    async def coroutine(number: int) -> int:
        async with asyncio.timeout(LONG_SECONDS):
            await together.wait()
        return number

    @shop.app.task(name="plain")
    def plain(number: int) -> int:
        meeting.wait(LONG_SECONDS)
        return number


@pytest.mark.parametrize("kind", ["coroutine", "plain"])
def test_tasks_of_a_batch_run_side_by_side(kind: str) -> None:
    shop = make_shop()
    with_meeting(shop)
    calls = [call_of(kind, number) for number in range(TOGETHER)]
    assert failures(shop.handler(batch(*map(record, calls)), Context())) == []
    assert [shop.app.AsyncResult(call.id).get(1) for call in calls] == [0, 1, 2, 3]


def test_no_more_tasks_run_at_a_time_than_the_setting_allows() -> None:
    shop, running, most = make_shop(2), [0], [0]

    @shop.app.task(name="counted")
    async def counted() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.01)
        running[0] -= 1

    assert failures(shop.handler(batch(*(record(call_of("counted")) for _ in range(8))), Context())) == []
    assert most == [2]


def test_group_runs_in_order_beside_other_groups() -> None:
    shop, meeting = make_shop(2), threading.Barrier(2)

    @shop.app.task(name="first")
    def first(group: str) -> None:
        meeting.wait(LONG_SECONDS)  # so both groups are under way
        shop.ran.append((group, 1))

    @shop.app.task(name="second")
    def second(group: str) -> None:
        shop.ran.append((group, 2))

    names = [("first", "a"), ("first", "b"), ("second", "a"), ("second", "b"), ("unknown", "b"), ("second", "b")]
    event = batch(
        *(
            record(call_of(name, group), message_id=str(number), group=group)
            for number, (name, group) in enumerate(names)
        )
    )
    assert failures(shop.handler(event, Context())) == ["4", "5"]
    assert [number for group, number in shop.ran if group == "a"] == [1, 2]
    assert [number for group, number in shop.ran if group == "b"] == [1, 2]


@pytest.mark.parametrize("kind", ["coroutine", "plain"])
def test_each_task_has_its_own_limits(kind: str) -> None:
    shop = make_shop()

    @shop.app.task(name="coroutine")
    async def coroutine(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except SoftTimeLimitExceeded:
            return "soft"
        return "done"

    @shop.app.task(name="plain")
    def plain(seconds: float) -> str:
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                pass
        except SoftTimeLimitExceeded:
            return "soft"
        return "done"

    limits: list[tuple[float | None, float | None]] = [(0.1, None), (None, 0.1), (None, None)]
    calls = [
        call_of(kind, seconds, timelimit=limit)
        for seconds, limit in zip((LONG_SECONDS, LONG_SECONDS, 0.0), limits, strict=True)
    ]
    assert failures(shop.handler(batch(*map(record, calls)), Context())) == []
    results = [shop.app.AsyncResult(call.id) for call in calls]
    assert [result.state for result in results] == ["FAILURE", "SUCCESS", "SUCCESS"]
    assert [result.load().result for result in results[1:]] == ["soft", "done"]


def test_task_that_outlasts_the_function_is_given_back() -> None:
    shop = make_shop()

    @shop.app.task(name="long")
    async def long() -> None:
        await asyncio.sleep(LONG_SECONDS)

    event = batch(record(call_of("long"), message_id="a"), record(call_of("unknown"), message_id="b"))
    assert failures(shop.handler(event, Context(2.6))) == ["a", "b"]
    assert {each.delivery.message_id for each in shop.broker.settled} == {"a", "b"}


@pytest.mark.slow
def test_answer_does_not_wait_for_a_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, over = make_shop(), threading.Event()
    save = shop.app.store.save

    def hang(records: Any) -> Any:
        over.wait(LONG_SECONDS)
        return save(records)

    monkeypatch.setattr(shop.app.store, "save", hang)
    shop.app.task(name="add")(lambda number: number)
    event = batch(record(call_of("add", 1), message_id="a"), record(call_of("add", 2), message_id="b"))
    assert failures(shop.handler(event, Context(2.7))) == ["a", "b"]
    over.set()


def test_records_that_came_before_run_one_after_the_other_behind_the_others() -> None:
    shop, running = make_shop(), [0]

    @shop.app.task(name="single")
    def single(number: int) -> None:
        running[0] += 1
        assert running == [1]
        shop.ran.append(number)
        running[0] -= 1

    event = batch(*(record(call_of("single", number), receives=3) for number in range(4)), record(call_of("single", 4)))
    assert failures(shop.handler(event, Context())) == []
    assert shop.ran == [4, 0, 1, 2, 3]


def on_other_threads(*functions: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(functions)) as threads:
        return [each.result() for each in [threads.submit(function) for function in functions]]


def test_invocations_at_a_time_on_other_threads_keep_their_limits() -> None:
    shop = make_shop(1)
    with_meeting(shop)

    @shop.app.task(name="endless", time_limit=0.2)
    def endless() -> None:
        while True:
            pass

    calls = [call_of("plain", number) for number in range(TOGETHER)]
    late = call_of("endless")
    answers = on_other_threads(
        *(lambda call=call: shop.handler(batch(record(call)), Context()) for call in calls),
        lambda: shop.handler(batch(record(late)), Context()),
        lambda: shop.handler({"task": "endless"}, Context()),
    )
    assert [failures(answer) for answer in answers[:-1]] == [[]] * (TOGETHER + 1)
    assert answers[-1]["result"]["exc_type"] == "TimeLimitExceeded"
    assert [shop.app.AsyncResult(call.id).get(1) for call in calls] == [0, 1, 2, 3]
    assert "TimeLimitExceeded" in shop.app.AsyncResult(late.id).load().document["result"]["exc_type"]


def test_direct_invocation_on_another_thread_answers_before_the_functions_end() -> None:
    shop = make_shop(1)

    @shop.app.task(name="long")
    async def long() -> None:
        await asyncio.sleep(LONG_SECONDS)

    (answer,) = on_other_threads(lambda: shop.handler({"task": "long"}, Context(2.6)))
    assert (answer["status"], answer["result"]["exc_type"]) == ("FAILURE", "WorkerLostError")
