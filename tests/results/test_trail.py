"""Celery's trail: the tasks that a task calls are the children of its result, wherever the task runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import Failed, Invocation, Succeeded
from taskq_cloud.core.records.record import MOST_CHILDREN
from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.pools.processes import ProcessPool
from taskq_cloud.pools.solo import SoloPool
from taskq_cloud.pools.threads import ThreadPool
from taskq_cloud.testing import run_tasks
from tests.results import trail_app
from tests.results.trail_app import acalls, calls, calls_and_fails, calls_in_each_way, leaf, no_trail
from tests.serverless.events import Context, batch, call_of, failures, record


@pytest.fixture
def app() -> Iterator[TaskQ]:
    yield trail_app.app
    run_tasks(trail_app.app)
    trail_app.app.close()


def children(result: Any) -> list[str]:
    return [child.id for child in result.children]


@pytest.mark.parametrize("task", [calls, acalls])
def test_tasks_that_a_task_calls_are_its_children(app: TaskQ, task: Any) -> None:
    result = task.delay(3)
    run_tasks(app)
    assert children(result) == result.get(timeout=0)
    assert [value for _, value in result.collect()] == [children(result), [0], [1], [2]]
    assert result.get_leaf() == [2]
    assert len(result.graph) == 4


def test_calls_of_every_kind_are_children(app: TaskQ) -> None:
    result = calls_in_each_way.delay()
    run_tasks(app)
    assert children(result) == result.get(timeout=0)


def test_failed_task_has_children(app: TaskQ) -> None:
    result = calls_and_fails.delay(2)
    run_tasks(app)
    assert (result.state, len(children(result))) == ("FAILURE", 2)


def test_task_without_a_trail_has_no_children(app: TaskQ) -> None:
    result = no_trail.delay()
    run_tasks(app)
    assert (children(result), app.AsyncResult(result.get(timeout=0)).state) == ([], "SUCCESS")


def test_children_begin_with_the_next_task_and_are_limited(app: TaskQ) -> None:
    result: Any = (calls.s(MOST_CHILDREN + 5) | leaf.s()).delay()
    run_tasks(app)
    first = children(result.parent)
    assert (first[0], len(first)) == (result.id, MOST_CHILDREN)
    assert first[1:] == result.parent.get(timeout=0)[: MOST_CHILDREN - 1]


def test_next_run_in_a_thread_begins_without_children(app: TaskQ) -> None:
    first, second, third = calls.delay(2), leaf.delay(), calls.delay(1)
    run_tasks(app)
    assert [len(children(each)) for each in (first, second, third)] == [2, 0, 1]


def test_call_outside_a_task_is_nobodys_child(app: TaskQ) -> None:
    before, after = leaf.delay(), calls.delay(1)
    run_tasks(app)
    assert (children(before), len(children(after))) == ([], 1)


# -- pools and Lambda


@pytest.mark.parametrize(
    "make",
    [
        lambda: ThreadPool(trail_app.app.runner, 1),
        lambda: AsyncioPool(trail_app.app.runner, 1),
        lambda: SoloPool(trail_app.app.runner),
        lambda: ProcessPool("tests.results.trail_app:app", 1),
    ],
    ids=["threads", "asyncio", "solo", "processes"],
)
async def test_pool_reports_the_called_tasks(app: TaskQ, make: Any) -> None:
    pool = make()
    await pool.start()
    try:
        for name in ("calls", "acalls"):
            outcome = await pool.run(Invocation(message=Message(task=name, id="t", args=[2])))
            assert isinstance(outcome, Succeeded), outcome
            assert len(outcome.called) == 2
            assert all(each in outcome.payload for each in outcome.called)
        failed = await pool.run(Invocation(message=Message(task="calls_and_fails", id="t", args=[2])))
        assert isinstance(failed, Failed)
        assert len(failed.called) == 2
    finally:
        await pool.stop()
        await app.aclose()


def test_lambda_function_records_the_called_tasks(app: TaskQ) -> None:
    call = call_of("calls", 2)
    answer = app.lambda_handler()(batch(record(call)), Context())
    assert failures(answer) == []
    assert len(children(app.AsyncResult(call.id))) == 2
