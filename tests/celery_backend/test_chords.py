"""Chords that a Celery application sends, joined over our stores. No Celery worker runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.errors import OperationalError

celery = pytest.importorskip("celery")
from celery.app.task import Context
from celery.exceptions import ImproperlyConfigured, Reject

from tests.celery_backend.celery_worker import continue_chain, make_chord, sent, start


def test_chord_members_carry_their_chords_size_group_and_index(app: Any, ours: TaskQ) -> None:
    _, members = start(app, make_chord(app))
    for index, member in enumerate(members):
        options = member.chord["options"]
        assert (options["chord_size"], options["chord_group"], member.group_index) == (3, member.group, index)
        assert "chord_ids" not in options
    assert [each.id for each in ours.GroupResult(members[0].group).results] == [each.id for each in members]


def test_last_member_sends_the_body_once_despite_duplicates(app: Any, ours: TaskQ) -> None:
    result, members = start(app, make_chord(app))
    for member in (members[0], members[0], members[2], members[1]):
        app.backend.mark_as_done(member.id, sum(member.args), member)
    ((task, headers, args, _, _),) = sent(app)
    assert (task, headers["id"], args) == ("total", result.id, [[0, 2, 4]])
    assert (headers["root_id"], headers["parent_id"]) == (members[1].root_id, members[1].id)
    app.backend.mark_as_done(members[0].id, 0, members[0])
    assert not sent(app)
    app.backend.mark_as_done(members[1].id, 2, members[1])
    assert not sent(app)
    # A worker may die after it sent the body and before it recorded that: the body is sent again with the same id.
    ours.run(ours.store.delete([derived_id(members[1].group, "sent")]))
    app.backend.mark_as_done(members[1].id, 2, members[1])
    assert [headers["id"] for _, headers, *_ in sent(app)] == [result.id]


def test_chord_member_with_ignored_result_is_recorded(app: Any) -> None:
    _, members = start(app, make_chord(app, ignore_result=True))
    assert all(member.ignore_result for member in members)
    for member in members:
        app.backend.mark_as_done(member.id, sum(member.args), member, store_result=False)
    ((_, _, args, _, _),) = sent(app)
    assert args == [[0, 2, 4]]


def test_failed_member_fails_the_body_and_calls_its_errbacks_once(app: Any) -> None:
    heard: list[Any] = []

    def old(task_id: str) -> str:
        return task_id

    def new(request: Any, exc: Exception, traceback: Any) -> None:
        heard.append((request.id, exc))

    errbacks = [app.task(name=each.__name__, shared=False)(each) for each in (old, new)]
    add, total = app.tasks["add"], app.tasks["total"]
    body = total.s().on_error(errbacks[0].s()).on_error(errbacks[1].s())
    failing = celery.chain(add.s(1, 1), add.s(1), app=app)
    result, members = start(app, celery.chord([failing, add.s(2, 2)], body, app=app))
    app.backend.mark_as_done(members[1].id, 4, members[1])
    app.backend.mark_as_failure(members[0].id, ValueError("no"), request=members[0])
    assert [(task, args) for task, _, args, _, _ in sent(app)] == [("old", [result.id])]
    ((failed, error),) = heard
    assert failed == result.id
    assert isinstance(error, celery.exceptions.ChordError)
    assert "ValueError('no')" in str(error)
    assert app.backend.get_state(result.id) == "FAILURE"


def test_tasks_chained_to_a_failed_body_fail_and_count_in_the_outer_chord(app: Any) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    inner = celery.chain(add.s(1, 1), celery.group(add.s(1), add.s(2)), total.s(), add.s(1), add.s(2), app=app)
    result, (first, other) = start(app, celery.chord([inner, add.s(2, 2)], total.s(), app=app))
    members = continue_chain(app, first, 2)
    rest = members[0].chord["options"]["chain"]
    assert [each["task"] for each in rest] == ["add", "add"]
    app.backend.mark_as_done(other.id, 4, other)
    app.backend.mark_as_done(members[1].id, 4, members[1])
    app.backend.mark_as_failure(members[0].id, ValueError("no"), request=members[0])
    left = [members[0].chord["options"]["task_id"], *(each["options"]["task_id"] for each in rest)]
    assert [app.backend.get_state(task_id) for task_id in left] == ["FAILURE"] * 3
    assert app.backend.get_state(result.id) == "FAILURE"


def test_revoked_member_fails_the_body(app: Any) -> None:
    result, members = start(
        app, celery.chord([app.tasks["add"].s(1, 1) | app.tasks["add"].s(1)], app.tasks["total"].s())
    )
    app.backend.mark_as_revoked(members[0].id, "expired", members[0])
    assert app.backend.get_state(result.id) == "FAILURE"
    assert app.backend.get_state(members[0].chain[0]["options"]["task_id"]) == "REVOKED"


def test_chord_body_is_sent_by_celerys_routes_and_signals(app: Any) -> None:
    app.conf.task_routes = {"total": {"queue": "totals"}}
    published: list[Any] = []

    def listen(sender: str, body: Any, routing_key: str, **_: Any) -> None:
        published.append((sender, routing_key, body[0]))

    _, members = start(app, make_chord(app, 1))
    celery.signals.before_task_publish.connect(listen)
    app.backend.mark_as_done(members[0].id, 0, members[0])
    celery.signals.before_task_publish.disconnect(listen)
    assert published == [("total", "totals", [[0]])]


def test_member_is_requeued_while_the_store_does_not_answer(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, members = start(app, make_chord(app, 1))

    def away(*_: Any) -> Any:
        raise OperationalError("no answer")
        yield

    monkeypatch.setattr(type(app.backend._taskq.store), "join", away)
    with pytest.raises(Reject) as caught:
        app.backend.mark_as_done(members[0].id, 0, members[0])
    assert caught.value.requeue
    assert app.backend.get_state(members[0].id) == "SUCCESS"


def test_member_of_another_backends_chord_sends_nothing(app: Any) -> None:
    app.backend.on_chord_part_return(Context(id="a", group="g", chord={"task": "total", "options": {}}), "SUCCESS", 1)
    assert not sent(app)


def test_chord_on_a_store_without_joins_is_refused_and_not_sent(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = app.backend._taskq.store
    monkeypatch.setattr(type(store), "capabilities", replace(store.capabilities, joins=False))
    with pytest.raises(ImproperlyConfigured, match="counts its members"):
        make_chord(app).apply_async()
    assert not sent(app)


def test_add_to_chord_is_refused(app: Any) -> None:
    with pytest.raises(NotImplementedError, match="chord g: add_to_chord"):
        app.backend.add_to_chord("g", app.AsyncResult("a"))
