"""The requests that DynamoDB gets when a workflow is recorded, watched, revoked and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulators.call_counter import CallCounter
from taskq_cloud import TaskQ, chord
from taskq_cloud.core.workflows import shape
from tests.conftest import StackAddress
from tests.workflows import make_app


@pytest.fixture
def counter(local_stack: StackAddress, aws_environment: dict[str, str]) -> Iterator[CallCounter]:
    with CallCounter(local_stack.endpoint_url) as counter:
        yield counter


@pytest.fixture
def app(counter: CallCounter, make_table: Callable[..., str]) -> Iterator[TaskQ]:
    table = f"dynamodb://{make_table()}?endpoint_url={counter.endpoint_url}"
    app = make_app(broker="memory://", results=table, task_fan_out_members=100_000)
    yield app
    app.close()


def test_workflow_of_a_thousand_tasks_takes_one_write_and_eleven_reads(app: TaskQ, counter: CallCounter) -> None:
    task = app.tasks["task"].s(tag="a")
    result = chord([task] * 999, task).delay()
    assert dict(counter.counts()) == {"PutItem": 1}
    counter.reset()
    assert app.AsyncResult(result.id).progress().total == 1000
    assert dict(counter.counts()) == {"GetItem": 1, "BatchGetItem": 10}


def test_workflow_is_revoked_and_forgotten_as_a_whole(app: TaskQ, counter: CallCounter) -> None:
    task = app.tasks["task"].s(tag="a")
    result = chord([task] * 20, task).delay()
    counter.reset()
    by_id = app.AsyncResult(result.id)
    assert by_id.revoke_workflow() == 21
    assert counter.counts()["BatchExecuteStatement"] == 1
    assert "PutItem" not in counter.counts()
    assert dict(result.progress().states) == {"REVOKED": 21}
    assert by_id.revoke_workflow() == 0
    by_id.forget_workflow()
    assert dict(by_id.progress().states) == {"PENDING": 1}
    assert app.run(app.store.load([shape.key(result.id)])) == {}
