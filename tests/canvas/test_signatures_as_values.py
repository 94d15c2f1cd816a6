"""Workflows as arguments and values of tasks: they are sent and stored as plain JSON, as Celery's are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, chord, group, signature
from taskq_cloud.errors import EncodeError
from taskq_cloud.testing import run_tasks
from tests.arithmetic import make_app

SERIALIZERS = ["json", "msgpack", "yaml", "pickle"]


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = make_app(accept_content=SERIALIZERS)
    add = app.tasks["add"]

    @app.task(name="notify")
    def notify(*values: Any, callback: Any = None) -> Any:
        return [*values, callback]

    @app.task(name="call_back")
    def call_back(value: int, callback: Any) -> str:
        result: str = signature(callback, app=app).delay(value).id
        return result

    @app.task(name="make")
    def make(*_: Any) -> Any:
        return group(add.s(1, 1), add.s(2, 2))

    yield app
    app.close()


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_workflow_among_arguments_arrives_as_plain_json(app: TaskQ, serializer: str) -> None:
    add, notify = app.tasks["add"], app.tasks["notify"]
    nested = [{"later": chain(add.s(1, 1), group(add.s(2), add.s(3)))}]
    result = notify.apply_async((nested,), {"callback": add.s(1)}, serializer=serializer)
    run_tasks(app)
    assert result.get(timeout=0) == [[{"later": nested[0]["later"].to_dict()}], add.s(1).to_dict()]


def test_received_signature_can_be_sent(app: TaskQ) -> None:
    result = app.tasks["call_back"].delay(1, app.tasks["add"].s(2))
    run_tasks(app)
    assert app.AsyncResult(result.get(timeout=0)).get(timeout=0) == 3


def test_workflows_in_arguments_of_chains_chords_and_links_arrive_as_json(app: TaskQ) -> None:
    add, notify = app.tasks["add"], app.tasks["notify"]
    joined = chord([notify.s(callback=add.s(4)), notify.si(0)], notify.s(callback=add.s(5)))
    result: Any = chain(add.s(1, 1), notify.s(callback=add.s(3)).link(notify.s(callback=add.s(6))), joined).delay()
    run_tasks(app)
    before = [2, add.s(3).to_dict()]
    assert result.get(timeout=0) == [[[before, add.s(4).to_dict()], [0, None]], add.s(5).to_dict()]
    assert [before, add.s(6).to_dict()] in [each.result for each in result.parent.parent.children]


def test_workflow_as_a_value_is_stored_as_json(app: TaskQ) -> None:
    result: Any = chain(app.tasks["make"].s(), app.tasks["notify"].s()).delay()
    run_tasks(app)
    made = group(app.tasks["add"].s(1, 1), app.tasks["add"].s(2, 2)).to_dict()
    assert result.parent.get(timeout=0) == made
    assert result.get(timeout=0) == [made, None]


def test_workflow_in_arguments_of_a_task_in_place_arrives_as_json(app: TaskQ) -> None:
    add, notify = app.tasks["add"], app.tasks["notify"]
    assert notify.apply(kwargs={"callback": add.s(1)}).get() == [add.s(1).to_dict()]
    assert chain(add.s(1, 1), notify.s(callback=add.s(1))).apply().get() == [2, add.s(1).to_dict()]


def test_error_names_the_task_of_an_argument_that_cannot_be_encoded(app: TaskQ) -> None:
    add, notify = app.tasks["add"], app.tasks["notify"]
    with pytest.raises(EncodeError, match="task notify: its arguments are not serialisable as JSON: <object"):
        notify.delay(callback=add.s(object()))
    with pytest.raises(EncodeError, match="has no body"):
        notify.delay(callback=chord([add.s(1, 1)]))
