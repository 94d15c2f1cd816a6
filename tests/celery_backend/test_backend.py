"""Celery's result backend over our stores, asked as Celery's workers and callers ask it; no worker runs."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud import chord as taskq_chord
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.errors import OperationalError

celery = pytest.importorskip("celery")
from celery.app.task import Context
from celery.backends.base import Backend
from celery.exceptions import ImproperlyConfigured, Reject
from kombu.transport.memory import Channel


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:////{tmp_path}/results.db"


@pytest.fixture
def app(url: str) -> Iterator[Any]:
    made = celery.Celery("shop", broker="memory://", backend=f"taskq+{url}", set_as_current=False)
    made.conf.result_extended = True

    @made.task(name="add", shared=False)
    def add(a, b):
        return a + b

    @made.task(name="total", shared=False)
    def total(values):
        return sum(values)

    yield made
    made.close()
    Channel.queues.clear()


@pytest.fixture
def ours(url: str) -> Iterator[TaskQ]:
    made = TaskQ("shop", broker="memory://", results=url)
    yield made
    made.close()


def sent(app: Any) -> list[Any]:
    """What is on Celery's queue: name, headers, arguments and embed of each message."""
    read = []
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        while queue.qsize():
            message = queue.get(block=False)
            message.ack()
            headers, (args, kwargs, embed) = message.headers, message.payload
            read.append((headers["task"], headers, args, kwargs, embed))
        queue.close()
    return read


def request(headers: dict[str, Any], embed: dict[str, Any], **more: Any) -> Context:
    return Context({**headers, **embed, "delivery_info": {"routing_key": "celery"}, **more})


def start(app: Any, workflow: Any) -> tuple[Any, list[Context]]:
    """Send a workflow; its result and the requests of its first tasks."""
    result = workflow.apply_async()
    return result, [request(headers, embed, args=args, kwargs=kwargs) for _, headers, args, kwargs, embed in sent(app)]


def chord(app: Any, members: int = 3, **options: Any) -> Any:
    add, total = app.tasks["add"], app.tasks["total"]
    return celery.chord([add.s(n, n).set(**options) for n in range(members)], total.s(), app=app)


# -- results


def test_states_are_read_on_either_side(app: Any, ours: TaskQ):
    backend = app.backend
    backend.store_result("a", {"pid": 1}, "STARTED")
    assert ours.AsyncResult("a").state == "STARTED"
    backend.mark_as_done("a", [1, {"b": 2}])
    assert ours.AsyncResult("a").get(timeout=1) == [1, {"b": 2}]
    backend.mark_as_failure("b", ValueError("no", 7), traceback="Traceback ...")
    with pytest.raises(ValueError, match="no") as caught:
        app.AsyncResult("b").get(timeout=1)
    assert caught.value.args == ("no", 7)
    assert ours.AsyncResult("b").traceback == "Traceback ..."
    assert app.AsyncResult("nowhere").state == "PENDING"


def test_a_final_state_stays_and_a_later_attempt_wins(app: Any):
    backend = app.backend
    backend.store_result("a", ValueError("1"), "RETRY", request=Context(id="a", retries=1))
    backend.store_result("a", {}, "STARTED", request=Context(id="a", retries=0))
    assert backend.get_state("a") == "RETRY"
    backend.mark_as_failure("a", ValueError("final"))
    backend.mark_as_done("a", 1)
    assert backend.get_state("a") == "FAILURE"


def test_many_are_read_in_pages_and_forgotten(app: Any):
    backend, ids = app.backend, [f"t{n}" for n in range(1100)]
    for task_id in ids:
        backend.mark_as_done(task_id, task_id)
    found = dict(backend.get_many(ids, timeout=0))
    assert {task_id: meta["result"] for task_id, meta in found.items()} == {each: each for each in ids}
    backend.forget("t0")
    assert backend.get_state("t0") == "PENDING"
    with pytest.raises(celery.exceptions.TimeoutError, match="1 results"):
        list(backend.get_many(["t0", "t1"], timeout=0))


def test_groups_are_saved_for_either_side(app: Any, ours: TaskQ):
    group = app.GroupResult("g", [app.AsyncResult("a"), app.GroupResult("h", [app.AsyncResult("b")])])
    group.save()
    assert app.GroupResult.restore("g") == group
    for task_id in "ab":
        app.backend.mark_as_done(task_id, task_id)
    assert ours.GroupResult("g").get(timeout=1) == ["a", ["b"]]
    group.delete()
    assert app.GroupResult.restore("g") is None
    group.delete()


def test_large_results_are_read_where_their_bucket_is_named(app: Any, url: str, monkeypatch: pytest.MonkeyPatch):
    store, text = app.backend._taskq.store, "x" * 1000
    monkeypatch.setattr(type(store), "capabilities", replace(store.capabilities, largest_record_bytes=800))
    monkeypatch.setenv("TASKQ_PAYLOADS", "s3://bucket")
    monkeypatch.setenv("TASKQ_PAYLOAD_COMPRESSION", "zlib")
    with_bucket = celery.Celery("shop", backend=f"taskq+{url}", set_as_current=False)
    with_bucket.backend.mark_as_done("a", text)
    assert "compressed" in app.backend.get_result("a")
    assert with_bucket.backend.get_result("a") == text
    with_bucket.close()


def test_it_is_pickled_with_its_url(app: Any):
    app.set_current()
    copy = pickle.loads(pickle.dumps(app.backend))
    assert copy.as_uri() == app.backend.as_uri()
    assert copy.expires == app.backend.expires


# -- chords


def test_members_carry_what_they_are_counted_by(app: Any, ours: TaskQ):
    _, members = start(app, chord(app))
    for index, member in enumerate(members):
        options = member.chord["options"]
        assert (options["chord_size"], options["chord_group"], member.group_index) == (3, member.group, index)
        assert "chord_ids" not in options
    assert [each.id for each in ours.GroupResult(members[0].group).results] == [each.id for each in members]


def test_the_last_member_sends_the_body_whatever_comes_twice(app: Any, ours: TaskQ):
    result, members = start(app, chord(app))
    for member in (members[0], members[0], members[2], members[1]):
        app.backend.mark_as_done(member.id, sum(member.args), member)
    ((task, headers, args, _, _),) = sent(app)
    assert (task, headers["id"], args) == ("total", result.id, [[0, 2, 4]])
    assert (headers["root_id"], headers["parent_id"]) == (members[1].root_id, members[1].id)
    app.backend.mark_as_done(members[0].id, 0, members[0])
    assert not sent(app)
    app.backend.mark_as_done(members[1].id, 2, members[1])
    assert not sent(app)
    # The one that has sent it may have died before it said so: it does so again, with the same id.
    ours.run(ours.store.delete([derived_id(members[1].group, "sent")]))
    app.backend.mark_as_done(members[1].id, 2, members[1])
    assert [headers["id"] for _, headers, *_ in sent(app)] == [result.id]


def test_a_member_whose_result_is_ignored_is_recorded(app: Any):
    _, members = start(app, chord(app, ignore_result=True))
    assert all(member.ignore_result for member in members)
    for member in members:
        app.backend.mark_as_done(member.id, sum(member.args), member, store_result=False)
    ((_, _, args, _, _),) = sent(app)
    assert args == [[0, 2, 4]]


def test_a_failure_fails_the_body_and_calls_its_errbacks_once(app: Any):
    heard: list[Any] = []

    @app.task(name="old", shared=False)
    def old(task_id):
        return task_id

    @app.task(name="new", shared=False)
    def new(request, exc, traceback):
        heard.append((request.id, exc))

    add, total = app.tasks["add"], app.tasks["total"]
    body = total.s().on_error(old.s()).on_error(new.s())
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


def goes_on(app: Any, ended: Context, value: Any) -> list[Context]:
    """What Celery's worker does when a task that has a chain has succeeded; the requests of what it has sent."""
    chain = list(ended.chain)
    celery.signature(chain.pop(), app=app).apply_async((value,), chain=chain, parent_id=ended.id, root_id=ended.root_id)
    return [request(headers, embed, args=args, kwargs=kwargs) for _, headers, args, kwargs, embed in sent(app)]


def test_what_a_chords_body_has_in_its_options_fails_with_it_and_counts_in_the_chord_around(app: Any):
    add, total = app.tasks["add"], app.tasks["total"]
    inner = celery.chain(add.s(1, 1), celery.group(add.s(1), add.s(2)), total.s(), add.s(1), add.s(2), app=app)
    result, (first, other) = start(app, celery.chord([inner, add.s(2, 2)], total.s(), app=app))
    members = goes_on(app, first, 2)
    rest = members[0].chord["options"]["chain"]
    assert [each["task"] for each in rest] == ["add", "add"]
    app.backend.mark_as_done(other.id, 4, other)
    app.backend.mark_as_done(members[1].id, 4, members[1])
    app.backend.mark_as_failure(members[0].id, ValueError("no"), request=members[0])
    left = [members[0].chord["options"]["task_id"], *(each["options"]["task_id"] for each in rest)]
    assert [app.backend.get_state(task_id) for task_id in left] == ["FAILURE"] * 3
    assert app.backend.get_state(result.id) == "FAILURE"


def test_a_revoked_member_fails_the_body(app: Any):
    result, members = start(
        app, celery.chord([app.tasks["add"].s(1, 1) | app.tasks["add"].s(1)], app.tasks["total"].s())
    )
    app.backend.mark_as_revoked(members[0].id, "expired", members[0])
    assert app.backend.get_state(result.id) == "FAILURE"
    assert app.backend.get_state(members[0].chain[0]["options"]["task_id"]) == "REVOKED"


def test_what_ends_a_chord_goes_where_celery_sends_it(app: Any):
    app.conf.task_routes = {"total": {"queue": "totals"}}
    published: list[Any] = []

    def listen(sender: str, body: Any, routing_key: str, **_: Any) -> None:
        published.append((sender, routing_key, body[0]))

    _, members = start(app, chord(app, 1))
    celery.signals.before_task_publish.connect(listen)
    app.backend.mark_as_done(members[0].id, 0, members[0])
    celery.signals.before_task_publish.disconnect(listen)
    assert published == [("total", "totals", [[0]])]


def test_a_member_comes_again_while_the_store_is_away(app: Any, monkeypatch: pytest.MonkeyPatch):
    _, members = start(app, chord(app, 1))

    def away(*_: Any) -> Any:
        raise OperationalError("no answer")
        yield

    monkeypatch.setattr(type(app.backend._taskq.store), "join", away)
    with pytest.raises(Reject) as caught:
        app.backend.mark_as_done(members[0].id, 0, members[0])
    assert caught.value.requeue
    assert app.backend.get_state(members[0].id) == "SUCCESS"


def test_a_chord_of_another_backend_is_left_to_it(app: Any):
    app.backend.on_chord_part_return(Context(id="a", group="g", chord={"task": "total", "options": {}}), "SUCCESS", 1)
    assert not sent(app)


# -- large groups that were started here


def carried_out(app: Any, headers: dict[str, Any], kwargs: dict[str, Any], *, redelivered: bool = False) -> None:
    """What Celery's worker does with a message of ``taskq.fan_out``."""
    task = app.tasks["taskq.fan_out"]
    info = {"routing_key": "celery", "redelivered": redelivered}
    task.push_request(**headers, args=[], kwargs=kwargs, delivery_info=info)
    try:
        task(**kwargs)
    finally:
        task.pop_request()


def started_here(url: str, size: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A chord that is started here; its result, and its message's headers and arguments."""
    made = TaskQ("shop", broker="memory://", results=url, task_fan_out_members=1)
    members = [made.signature("add", (n, n)) for n in range(size)]
    result = taskq_chord(members, made.signature("total")).delay()
    (delivery,) = made.run(made.broker.receive("celery", 10, 0, 30))
    document = json.loads(delivery.body)
    _, kwargs, _ = json.loads(document["body"])
    return result, document["headers"], kwargs


def test_celerys_workers_send_the_members_of_a_group_that_was_started_here(app: Any, url: str):
    assert app.backend
    result, headers, kwargs = started_here(url, 1500)
    carried_out(app, headers, kwargs)
    pages = sent(app)
    assert [task for task, *_ in pages] == ["taskq.fan_out"] * 2
    for _, of_page, _, kwargs_of_page, _ in pages:
        carried_out(app, of_page, kwargs_of_page)
    members = [request(of_one, embed, args=args, kwargs={}) for _, of_one, args, _, embed in sent(app)]
    assert len(members) == 1500
    for member in members:
        app.backend.mark_as_done(member.id, sum(member.args), member)
    ((task, of_body, (values,), _, _),) = sent(app)
    assert (task, of_body["id"], sum(values)) == ("total", result.id, sum(2 * n for n in range(1500)))


def test_a_page_that_comes_again_is_sent_once_and_in_part_with_the_same_ids(app: Any, url: str):
    assert app.backend
    _, headers, kwargs = started_here(url, 3)
    carried_out(app, headers, kwargs)
    assert len(sent(app)) == 3
    carried_out(app, headers, kwargs, redelivered=True)
    assert not sent(app)


def test_a_page_that_is_gone_is_rejected_and_its_chord_fails(app: Any, url: str, ours: TaskQ):
    assert app.backend
    result, headers, kwargs = started_here(url, 3)
    ours.run(ours.store.delete([f"taskq.fan_out-{derived_id(kwargs['group'], 'page')}"]))
    with pytest.raises(Reject) as caught:
        carried_out(app, headers, kwargs)
    assert not caught.value.requeue
    assert app.backend.get_state(result.id) == "FAILURE"


def test_it_comes_again_while_the_store_is_away(app: Any, url: str, monkeypatch: pytest.MonkeyPatch):
    _, headers, kwargs = started_here(url, 3)

    def away(*_: Any) -> Any:
        raise OperationalError("no answer")
        yield

    monkeypatch.setattr(type(app.backend._taskq.store), "load", away)
    with pytest.raises(Reject) as caught:
        carried_out(app, headers, kwargs)
    assert caught.value.requeue


def test_the_task_is_there_whenever_celery_asks_for_its_backend(app: Any, url: str):
    """A quiet worker asks for it while it goes through its tasks."""
    app.finalize()
    assert len([app.backend for _ in app.tasks.items()]) > 1
    assert "taskq.fan_out" in app.tasks
    assert app.tasks["taskq.fan_out"].acks_late
    early = celery.Celery("early", broker="memory://", backend=f"taskq+{url}", set_as_current=False)
    assert early.backend
    assert "taskq.fan_out" in early.tasks


# -- what is refused


@pytest.mark.parametrize(
    ("backend", "settings", "reason"),
    [
        ("taskq://", {}, "names no store"),
        ("taskq+redis://localhost", {}, "no result store serves"),
        ("taskq+dynamodb://", {}, "doesn't name a table"),
        ("taskq+memory://", {}, "workers can't share memory://"),
        ("taskq+disabled://", {}, "workers can't share disabled://"),
        ("taskq+dynamodb://shop-results", {"result_serializer": "pickle"}, "result_serializer='pickle'"),
    ],
)
def test_a_wrong_setting_is_refused_when_celery_first_asks(backend: str, settings: dict[str, Any], reason: str):
    app = celery.Celery("shop", broker="memory://", backend=backend, set_as_current=False)
    app.conf.update(settings)
    with pytest.raises(ImproperlyConfigured, match=reason):
        assert isinstance(app.backend, Backend)


def test_a_url_is_shown_without_its_secrets():
    app = celery.Celery("shop", backend="taskq+azureblob://c?account_key=hush&key_format=celery", set_as_current=False)
    with pytest.raises(ImproperlyConfigured) as caught:
        assert isinstance(app.backend, Backend)
    assert "hush" not in str(caught.value)


def test_a_chord_on_a_store_that_counts_no_members_is_refused_before_anything_is_sent(
    app: Any, monkeypatch: pytest.MonkeyPatch
):
    store = app.backend._taskq.store
    monkeypatch.setattr(type(store), "capabilities", replace(store.capabilities, joins=False))
    with pytest.raises(ImproperlyConfigured, match="counts its members"):
        chord(app).apply_async()
    assert not sent(app)


def test_add_to_chord_is_refused(app: Any):
    with pytest.raises(NotImplementedError, match="chord g: add_to_chord"):
        app.backend.add_to_chord("g", app.AsyncResult("a"))
