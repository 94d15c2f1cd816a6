"""Large groups that a taskq application starts and whose members Celery's workers send. No Celery worker runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud import chord as taskq_chord
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.errors import OperationalError

celery = pytest.importorskip("celery")
from celery.exceptions import Reject

from tests.celery_backend.celery_worker import request, sent


def run_fan_out(app: Any, headers: dict[str, Any], kwargs: dict[str, Any], *, redelivered: bool = False) -> None:
    """Run the task ``taskq.fan_out`` as Celery's worker does with a message."""
    task = app.tasks["taskq.fan_out"]
    info = {"routing_key": "celery", "redelivered": redelivered}
    task.push_request(**headers, args=[], kwargs=kwargs, delivery_info=info)
    try:
        task(**kwargs)
    finally:
        task.pop_request()


def start_chord(url: str, size: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Start a chord in a taskq application; returns its result, and the headers and arguments of its message."""
    made = TaskQ("shop", broker="memory://", results=url, task_fan_out_members=1)
    members = [made.signature("add", (n, n)) for n in range(size)]
    result = taskq_chord(members, made.signature("total")).delay()
    (delivery,) = made.run(made.broker.receive("celery", 10, 0, 30))
    document = json.loads(delivery.body)
    _, kwargs, _ = json.loads(document["body"])
    return result, document["headers"], kwargs


@pytest.mark.slow
def test_celerys_workers_send_the_members_of_a_large_group(app: Any, url: str) -> None:
    assert app.backend
    result, headers, kwargs = start_chord(url, 1500)
    run_fan_out(app, headers, kwargs)
    pages = sent(app)
    assert [task for task, *_ in pages] == ["taskq.fan_out"] * 2
    for _, of_page, _, kwargs_of_page, _ in pages:
        run_fan_out(app, of_page, kwargs_of_page)
    members = [request(of_one, embed, args=args, kwargs={}) for _, of_one, args, _, embed in sent(app)]
    assert len(members) == 1500
    for member in members:
        app.backend.mark_as_done(member.id, sum(member.args), member)
    ((task, of_body, (values,), _, _),) = sent(app)
    assert (task, of_body["id"], sum(values)) == ("total", result.id, sum(2 * n for n in range(1500)))


def test_redelivered_page_sends_its_members_once(app: Any, url: str) -> None:
    assert app.backend
    _, headers, kwargs = start_chord(url, 3)
    run_fan_out(app, headers, kwargs)
    assert len(sent(app)) == 3
    run_fan_out(app, headers, kwargs, redelivered=True)
    assert not sent(app)


def test_missing_page_is_rejected_and_its_chord_fails(app: Any, url: str, ours: TaskQ) -> None:
    assert app.backend
    result, headers, kwargs = start_chord(url, 3)
    ours.run(ours.store.delete([f"taskq.fan_out-{derived_id(kwargs['group'], 'page')}"]))
    with pytest.raises(Reject) as caught:
        run_fan_out(app, headers, kwargs)
    assert not caught.value.requeue
    assert app.backend.get_state(result.id) == "FAILURE"


def test_page_is_requeued_while_the_store_does_not_answer(app: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, headers, kwargs = start_chord(url, 3)

    def away(*_: Any) -> Any:
        raise OperationalError("no answer")
        yield

    monkeypatch.setattr(type(app.backend._taskq.store), "load", away)
    with pytest.raises(Reject) as caught:
        run_fan_out(app, headers, kwargs)
    assert caught.value.requeue


def test_fan_out_task_is_registered_whenever_celery_opens_the_backend(app: Any, url: str) -> None:
    """A worker with a quiet log opens the backend while it iterates over its tasks."""
    app.finalize()
    assert len([app.backend for _ in app.tasks.items()]) > 1
    assert "taskq.fan_out" in app.tasks
    assert app.tasks["taskq.fan_out"].acks_late
    early = celery.Celery("early", broker="memory://", backend=f"taskq+{url}", set_as_current=False)
    assert early.backend
    assert "taskq.fan_out" in early.tasks
