"""Tests of ``run_tasks``: which messages it runs, what it returns, and the errors it raises."""

from __future__ import annotations

import pytest

from taskq_cloud import Reject, TaskQ
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import QueueNotFound
from taskq_cloud.testing import run_tasks


@pytest.fixture
def app() -> TaskQ:
    made = TaskQ("tests", broker="memory://", results="memory://")

    @made.task(name="double", queue="numbers")
    def double(number: int) -> int:
        return 2 * number

    @made.task(name="double_later")
    def double_later(number: int) -> str:
        return double.delay(number).id

    @made.task(name="wait", max_retries=1, default_retry_delay=3600, autoretry_for=(ValueError,))
    def wait() -> None:
        raise ValueError("not yet")

    @made.task(name="refuse")
    def refuse() -> None:
        raise Reject("a bad file")

    @made.task(name="add_later")
    async def add_later(first: int, second: int) -> int:
        return first + second

    @made.task(name="limited", rate_limit="1/h", rate_limit_scope="worker")
    def limited() -> str:
        return "ran"

    return made


def depth(app: TaskQ, queue: str) -> Depth:
    counted = app.run(app.broker.depth(queue))
    assert counted is not None
    return counted


def test_tasks_of_all_queues_run_and_their_results_are_stored(app: TaskQ) -> None:
    first, second = app.tasks["double"].delay(21), app.tasks["add_later"].delay(1, 2)
    assert run_tasks(app) == 2
    assert (first.get(timeout=1), second.get(timeout=1)) == (42, 3)


def test_tasks_sent_by_running_tasks_run_too(app: TaskQ) -> None:
    sender = app.tasks["double_later"].delay(4)
    assert run_tasks(app) == 2
    assert app.AsyncResult(sender.get(timeout=1)).get(timeout=1) == 8


async def test_coroutine_functions_run_while_an_event_loop_runs(app: TaskQ) -> None:
    result = await app.tasks["add_later"].adelay(1, 2)
    assert run_tasks(app) == 1
    assert await result.aget(timeout=1) == 3


def test_only_the_named_queues_are_served(app: TaskQ) -> None:
    elsewhere, here = app.tasks["add_later"].delay(1, 2), app.tasks["double"].delay(4)
    assert run_tasks(app, ["numbers"]) == 1
    assert (elsewhere.state, here.state) == ("PENDING", "SUCCESS")


def test_message_that_is_due_later_stays(app: TaskQ) -> None:
    late = app.tasks["double"].apply_async((1,), countdown=3600)
    retried = app.tasks["wait"].delay()
    assert run_tasks(app) == 1
    assert (late.state, retried.state) == ("PENDING", "RETRY")
    assert depth(app, "numbers").delayed == 1


def test_rejected_message_goes_to_the_dead_letter_queue(app: TaskQ) -> None:
    result = app.tasks["refuse"].delay()
    assert run_tasks(app) == 1
    assert result.state == "FAILURE"
    assert depth(app, "celery-dead").waiting == 1


@pytest.mark.parametrize("requeue", [True, False])
def test_message_that_is_acknowledged_before_its_run_is_gone_when_it_is_rejected(app: TaskQ, requeue: bool) -> None:
    left: list[int] = []

    @app.task(name="early", acks_late=False)
    def early() -> None:
        left.append(depth(app, "celery").total)
        raise Reject("a bad file", requeue=requeue)

    result = early.delay()
    assert run_tasks(app) == 1
    assert (left, result.state) == ([0], "FAILURE")
    assert (depth(app, "celery").total, depth(app, "celery-dead").total) == (0, 0)


def test_rate_limit_of_a_worker_sends_the_rest_back(app: TaskQ) -> None:
    results = [app.tasks["limited"].delay() for _ in range(3)]
    run_tasks(app)
    assert sorted(each.state for each in results).count("SUCCESS") >= 1
    assert depth(app, "celery").total >= 1


def test_empty_queues_are_left_at_once(app: TaskQ) -> None:
    assert run_tasks(app) == 0


def test_missing_queue_is_an_error(aws_environment: dict[str, str]) -> None:
    app = TaskQ("tests", broker="sqs://eu-west-1/nobody-made-", results="memory://")
    with pytest.raises(QueueNotFound, match="nobody-made-celery"):
        run_tasks(app)
    app.close()
