"""Test that every task is accounted for, whichever process dies: with SQS and DynamoDB on a local stack."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from emulators.aws import Ministack, environment
from taskq_cloud.testing.waiting import until
from tests.faults.deployment import AWSDeployment, deployed, kill_something

pytestmark = pytest.mark.slow

SQS_OPERATIONS = (
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "GetQueueUrl",
    "GetQueueAttributes",
)
MANY = int(os.environ.get("TASKQ_TEST_TASKS", "3000"))
"""How many tasks are sent through all faults at once. 10,000 tasks take a minute and a half longer."""

WINDOW = 500
"""How many messages are in the queue at a time: the local stack receives more slowly from a longer queue."""


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_stack: Ministack) -> Iterator[AWSDeployment]:
    with deployed(own_stack, tmp_path) as made:
        for name, value in environment(made.counter.endpoint_url).items():
            monkeypatch.setenv(name, value)
        yield made


def send_squares(deployment: AWSDeployment, numbers: range, timeout_seconds: float) -> dict[str, int]:
    """Call `square` for every number, one window at a time. Return the numbers by task id."""
    app, sent = deployment.app(), {}
    square = app.task(name="fault_app.square")(lambda number: None)
    for start in range(numbers.start, numbers.stop, WINDOW // 2):
        chunk = range(start, min(start + WINDOW // 2, numbers.stop))
        until(lambda: deployment.left() <= WINDOW // 2, deployment.logs, timeout_seconds)
        for number, result in zip(chunk, square.map_async([(number,) for number in chunk]), strict=True):
            sent[result.id] = number
    app.close()
    return sent


@pytest.mark.needs("carries_load")
@pytest.mark.timeout(400)
def test_ten_thousand_tasks_cost_a_third_of_a_call_each(deployment: AWSDeployment) -> None:
    deployment.start_worker("-P", "threads", "-c", "10", "--prefetch-multiplier", "6")
    sent = send_squares(deployment, range(10_000), 200)
    deployment.check_accounts(sent, 200)
    assert set(deployment.runs().values()) == {1}
    assert deployment.stop() == [0]
    counts = deployment.counter.counts()
    calls = {operation: counts[operation] for operation in SQS_OPERATIONS if operation in counts}
    assert sum(calls.values()) <= 0.35 * len(sent), calls
    assert not {"ListQueues", "CreateQueue", "CreateTable"} & counts.keys()


@pytest.mark.timeout(200)
def test_no_task_is_lost_when_workers_and_children_are_killed(deployment: AWSDeployment) -> None:
    rng = random.Random(20)
    options = ("-P", "processes", "-c", "2")
    for _ in range(2):
        deployment.start_worker(*options)
    sent = send_squares(deployment, range(400), 60)
    kills = 0
    while deployment.final() < len(sent) and kills < 12:
        before = deployment.final()
        kill_something(deployment, rng, options)
        kills += 1
        until(lambda: deployment.final() > before or deployment.final() == len(sent), deployment.logs, 60)
    assert kills > 3
    deployment.check_accounts(sent, 90)


@pytest.mark.timeout(120)
def test_duplicate_messages_change_no_final_state(deployment: AWSDeployment) -> None:
    deployment.counter.fail_next("SendMessageBatch", "reset_after", 3)
    deployment.counter.fail_next("DeleteMessageBatch", "reset_before", 3)
    sent = send_squares(deployment, range(200), 60)
    assert deployment.send_copies(100) == 100
    for _ in range(2):
        deployment.start_worker("-P", "threads", "-c", "4")
    deployment.check_accounts(sent, 60)


@pytest.mark.needs("keeps_state")
@pytest.mark.timeout(120)
def test_work_resumes_by_itself_after_an_outage(deployment: AWSDeployment) -> None:
    worker = deployment.start_worker("-P", "threads", "-c", "4")
    sent = send_squares(deployment, range(400), 60)
    until(lambda: deployment.final() > 40, deployment.logs, 30)
    deployment.stack.restart()
    sent |= send_squares(deployment, range(400, 600), 60)
    deployment.check_accounts(sent, 60)
    assert worker.poll() is None


@pytest.mark.needs("carries_load")
@pytest.mark.timeout(400)
def test_tasks_survive_kills_duplicates_and_outage_at_once(deployment: AWSDeployment) -> None:
    """Kill workers and children at random, send every tenth message twice, cut calls off, and stop the stack once."""
    rng = random.Random(10)
    options = ("-P", "processes", "-c", "2", "--prefetch-multiplier", "10")
    for _ in range(2):
        deployment.start_worker(*options)
    with ThreadPoolExecutor(1) as producer:
        sending = producer.submit(send_squares, deployment, range(MANY), 300)
        kills = 0
        while not sending.done():
            seen = deployment.final()
            until(lambda: deployment.final() >= seen + 250 or sending.done(), deployment.logs, 60)
            kill_something(deployment, rng, options)
            kills += 1
            deployment.send_copies(25)
            deployment.counter.fail_next(
                rng.choice(["SendMessageBatch", "DeleteMessageBatch", "PutItem"]), "reset_after"
            )
            if kills == 5:
                deployment.stack.restart()
        sent = sending.result()
    assert kills >= 6
    deployment.check_accounts(sent, 120)


def test_task_five_visibility_timeouts_long_runs_once(deployment: AWSDeployment) -> None:
    for pool in ("processes", "threads"):
        deployment.start_worker("-P", pool, "-c", "1", "--visibility-timeout", "2")
    with closing(deployment.app()) as app:
        results = [app.send_task("fault_app.slow_square", (number, 10)) for number in (2, 3)]
        assert [result.get(timeout=40) for result in results] == [4, 9]
    assert deployment.runs() == {2: 1, 3: 1}
    until(lambda: deployment.left() == 0, lambda: f"{deployment.left()} messages left", 10)
