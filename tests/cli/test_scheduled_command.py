"""``taskq scheduled`` lists and cancels tasks that wait for their due time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

import pytest

from emulators.aws import REGION
from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.model.message import Message, Outgoing
from tests.cli.conftest import TaskQCommand

Scheduled: TypeAlias = tuple[str, list[str]]
"""A queue, and the ids of the tasks that are due later."""

A_YEAR_SECONDS = 365 * 86_400
ROLE = "arn:aws:iam::123456789012:role/shop-scheduler"


@pytest.fixture
def scheduled(
    shop: str,
    aws_environment: dict[str, str],
    make_queue: Callable[..., str],
    make_schedule_group: Callable[..., str],
    make_table: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Scheduled:
    """The queue, and the ids of three tasks that are due in a year, on the local AWS stack."""
    queue = make_queue()
    monkeypatch.setenv("TASKQ_BROKER", f"sqs://{REGION}/")
    monkeypatch.setenv("TASKQ_RESULTS", f"dynamodb://{make_table()}")
    monkeypatch.setenv("TASKQ_SCHEDULER", f"eventbridge://{make_schedule_group()}?role={ROLE}")
    monkeypatch.setenv("TASKQ_TASK_DEFAULT_QUEUE", queue)
    add = find_app(shop).tasks[f"{shop}.add"]
    results = [add.apply_async((1, number), countdown=A_YEAR_SECONDS) for number in range(3)]
    return queue, sorted(result.id for result in results)


def test_scheduled_lists_and_cancels_tasks_in_one_off_schedules(
    taskq: TaskQCommand, shop: str, scheduled: Scheduled
) -> None:
    queue, ids = scheduled
    header, *lines = taskq("scheduled", "-A", shop).stdout.splitlines()
    assert header.split() == ["eta", "task", "id", "attempt", "queue"]
    assert sorted(line.split()[2] for line in lines) == ids
    assert {tuple(line.split()[1:2] + line.split()[3:]) for line in lines} == {(f"{shop}.add", "0", queue)}

    done = taskq("scheduled", "-A", shop, "--cancel", ids[0], "--cancel", ids[1])
    assert done.stdout.splitlines() == [f"{ids[0]}: revoked", f"{ids[1]}: revoked"]

    (left,) = json.loads(taskq("scheduled", "-A", shop, "--json").stdout)
    assert (left["id"], left["task"], left["queue"], left["attempt"]) == (ids[2], f"{shop}.add", queue, 0)
    assert left["eta"] > left["sent_at"] > "2026"
    assert taskq("scheduled", "-A", shop, "--cancel", ids[0]).stdout == f"{ids[0]}: nothing to revoke\n"


def test_scheduled_continues_from_a_cursor(taskq: TaskQCommand, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_SCHEDULER", "memory://")
    app = find_app(shop)
    assert app.scheduler is not None
    for number in range(3):
        once = late_delivery.one_off(Message(task="t", id=f"id{number}"), "mail", 2_000_000_000)
        app.run(late_delivery.put(app.scheduler, app.broker, [("mail", Outgoing(body="[1]"), once)]))
    first = taskq("scheduled", "-A", shop, "--limit", "2")
    cursor = first.stderr.split()[-1]
    assert len(first.stdout.splitlines()) == 3
    last = taskq("scheduled", "-A", shop, "--after", cursor)
    assert last.stdout.splitlines()[1].split() == ["?", "?", "?", "?", "mail"]
    assert "--after" not in last.stderr


def test_scheduled_without_scheduler_lists_delayed_messages_of_the_broker(taskq: TaskQCommand, shop: str) -> None:
    add = find_app(shop).tasks[f"{shop}.add"]
    add.delay(1, 2)
    later, sooner = (add.apply_async((1, 2), countdown=seconds).id for seconds in (A_YEAR_SECONDS, 3600))
    header, *lines = taskq("scheduled", "-A", shop).stdout.splitlines()
    assert header.split() == ["eta", "task", "id", "attempt", "queue"]
    assert [line.split()[2] for line in lines] == [sooner, later]
    first = taskq("scheduled", "-A", shop, "--limit", "1", "--json")
    assert [each["id"] for each in json.loads(first.stdout)] == [sooner]
    last = taskq("scheduled", "-A", shop, "--after", first.stderr.split()[-1], "--json")
    assert [each["id"] for each in json.loads(last.stdout)] == [later]
    assert taskq("scheduled", "-A", shop, "--cancel", later).stdout == f"{later}: revoked\n"


def test_scheduled_without_scheduler_on_sqs_names_the_missing_setting(
    taskq: TaskQCommand, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQ_BROKER", f"sqs://{REGION}/")
    refused = taskq("scheduled", "-A", shop)
    assert refused.exit_code == 1
    assert "set TASKQ_SCHEDULER, for example to eventbridge://" in refused.stderr
