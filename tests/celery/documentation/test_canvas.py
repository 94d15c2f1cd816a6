"""Constructs of the guide "Canvas": signatures, partials, chains, groups, chords, maps, chunks and stamps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.celery.documentation.sides import Side, get


@pytest.fixture
def app(side: Side) -> Any:
    app = side.app("proj")
    app.told = []

    @app.task(name="tasks.add")
    def add(x: Any, y: Any) -> Any:
        return x + y

    @app.task(name="tasks.mul")
    def mul(x: Any, y: Any) -> Any:
        return x * y

    @app.task(name="tasks.xsum")
    def xsum(numbers: Any) -> Any:
        return sum(numbers)

    @app.task(name="tasks.boom")
    def boom(*args: Any) -> None:
        raise ZeroDivisionError("boom")

    @app.task(name="tasks.on_chord_error")
    def on_chord_error(request: Any, error: Exception, traceback: Any) -> None:
        app.told.append((type(error).__name__, str(error)))

    @app.task(name="tasks.tell")
    def tell(*args: Any) -> None:
        app.told.append(args)

    app.add, app.mul, app.xsum, app.boom, app.on_chord_error, app.tell = add, mul, xsum, boom, on_chord_error, tell
    return app


def values(children: Any) -> list[Any]:
    """Wait for the callbacks of a task. In Celery, several of them are one group."""
    found = [get(each) for each in children]
    return found[0] if isinstance(found[0], list) else found


def test_signature_holds_arguments_and_options(side: Side, app: Any) -> None:
    made = side.signature("tasks.add", args=(2, 2), countdown=10, app=app)
    assert repr(made) == "tasks.add(2, 2)"
    assert dict(made) == {
        "task": "tasks.add",
        "args": (2, 2),
        "kwargs": {},
        "options": {"countdown": 10},
        "subtask_type": None,
        "immutable": False,
    }
    assert app.add.signature((2, 2), {"debug": True}, countdown=10).kwargs == {"debug": True}
    assert app.add.s(2, 2).set(countdown=1).options == {"countdown": 1}
    assert app.add.si(2, 2).immutable is True
    assert app.add.signature((2, 2), immutable=True) == app.add.si(2, 2)


def test_partials_are_completed_by_calls_and_clones(side: Side, app: Any) -> None:
    partial = app.add.s(2)
    assert partial.clone((4,)).args == (4, 2)
    keyed = app.add.s(2, 2).clone(kwargs={"debug": True})
    assert repr(keyed) == "tasks.add(2, 2, debug=True)"
    options = app.add.signature((2, 2), countdown=10).clone(countdown=1)
    with side.worker(app):
        assert get(partial.delay(4)) == 6
        assert get(partial.apply_async((4,))) == 6
        assert options.options["countdown"] in {1, 10}
        assert app.add.s(2, 2)() == 4


def test_callbacks_are_partial_or_immutable(side: Side, app: Any) -> None:
    with side.worker(app):
        linked = app.add.apply_async((2, 2), link=app.mul.s(8))
        assert get(linked) == 4
        assert get(linked.children[0]) == 32
        signature = app.add.signature((2, 2))
        signature.link(app.add.s(8))
        signature.link(app.tell.si("done"))
        result = signature.delay()
        assert get(result) == 4
        assert values(result.children) == [12, None]
    assert app.told == [("done",)]


def test_chain_passes_results_on_and_knows_its_parents(side: Side, app: Any) -> None:
    with side.worker(app):
        result = side.chain(app.add.s(2, 2), app.add.s(4), app.mul.s(8))()
        assert get(result) == 64
        assert get(result.parent) == 8
        assert get(result.parent.parent) == 4
        assert get((app.add.si(2, 2) | app.add.si(4, 4) | app.add.si(8, 8))()) == 16
        assert get(side.chain(app.add.s(4, 4), app.mul.s(8), app.mul.s(10)).apply_async()) == 640
        assert result.get(timeout=1) == 64


def test_results_of_a_chain_form_a_graph(side: Side, app: Any) -> None:
    with side.worker(app):
        result = side.chain(app.add.s(4, 4), app.mul.s(8), app.mul.s(10))()
        get(result)
        seen = list(result.parent.parent.collect(intermediate=True))
        assert [value for _, value in seen] == [8, 64, 640]
        graph = result.parent.parent.graph
        assert len(list(graph)) == 3


def test_errback_runs_for_a_failed_task_of_a_chain(side: Side, app: Any) -> None:
    with side.worker(app):
        failed = side.chain(app.add.s(1, 1), app.boom.s(), app.add.s(1)).apply_async(link_error=app.on_chord_error.s())
        with pytest.raises(ZeroDivisionError):
            get(failed)
        get(app.add.delay(1, 1))
    assert app.told == [("ZeroDivisionError", "boom")]


def test_group_has_a_result_of_its_own(side: Side, app: Any) -> None:
    with side.worker(app):
        job = side.group([app.add.s(2, 2), app.add.s(4, 4), app.add.s(8, 8)])
        result = job.apply_async()
        assert result.join(timeout=20, interval=0.02) == [4, 8, 16]
        assert (result.ready(), result.successful(), result.failed(), result.waiting()) == (True, True, False, False)
        assert (result.completed_count(), len(result)) == (3, 3)
        assert get(side.group(app.add.s(i, i) for i in range(5))()) == [0, 2, 4, 6, 8]
        result.save()
        assert side.module("result").GroupResult.restore(result.id, app=app).get(timeout=1) == [4, 8, 16]


def test_group_with_one_member_is_still_a_group(side: Side, app: Any) -> None:
    with side.worker(app):
        assert get(side.group(app.add.s(2, 2))()) == [4]


def test_callback_of_a_group_belongs_to_its_first_member(side: Side, app: Any) -> None:
    group = side.group(app.add.s(2, 2), app.add.s(4, 4))
    group.link(app.tell.s())
    with side.worker(app, concurrency=1):
        assert get(group.apply_async()) == [4, 8]
        assert get(app.add.delay(1, 1)) == 2
    assert app.told == [()]


def test_groups_can_be_unrolled_into_chains(side: Side, app: Any) -> None:
    with side.worker(app):
        upgraded = side.chain(app.add.s(4, 4), side.group(app.mul.s(2), app.mul.s(3)), app.xsum.s())
        assert get(upgraded()) == 40
        assert repr(upgraded).startswith("tasks.add(4, 4) | ")


def test_chord_calls_its_body_with_the_results(side: Side, app: Any) -> None:
    with side.worker(app):
        assert get(side.chord(app.add.s(i, i) for i in range(10))(app.xsum.s())) == 90
        callback, header = app.xsum.s(), [app.add.s(i, i) for i in range(4)]
        assert get(side.chord(header)(callback)) == 12
        assert get(side.chord((app.add.s(i, i) for i in range(3)), app.xsum.si([1, 2]))()) == 3


def test_failed_member_fails_the_body_of_a_chord(side: Side, app: Any) -> None:
    chord_error = side.module("exceptions").ChordError
    with side.worker(app):
        result = side.chord([app.add.s(4, 4), app.boom.s(), app.add.s(8, 8)])(
            app.xsum.s().on_error(app.on_chord_error.s())
        )
        with pytest.raises(chord_error, match="ZeroDivisionError"):
            get(result, follow_parents=False)
        get(app.add.delay(1, 1))
    assert [name for name, _ in app.told] == ["ChordError"]
    assert result.state == "FAILURE"


def test_maps_run_as_one_task(side: Side, app: Any) -> None:
    mapped, starred = (
        app.xsum.map([list(range(10)), list(range(100))]),
        app.add.starmap(zip(range(10), range(10), strict=False)),
    )
    with side.worker(app):
        assert get(mapped.delay()) == [45, 4950]
        assert get(starred.apply_async(countdown=0)) == list(range(0, 20, 2))
        assert mapped() == [45, 4950]


def test_chunks_split_a_list_of_arguments(side: Side, app: Any) -> None:
    chunks = app.add.chunks(zip(range(20), range(20), strict=False), 5)
    expected = [[2 * (5 * chunk + each) for each in range(5)] for chunk in range(4)]
    with side.worker(app):
        assert get(chunks()) == expected
    group = app.add.chunks(list(zip(range(20), range(20), strict=False)), 5).group()
    assert len(group) == 4
    assert group.skew(start=1, stop=10) is group
    assert [task.options["countdown"] for task in group.tasks] == [1, 2, 3, 4]


def test_visitor_stamps_each_task(side: Side, app: Any) -> None:
    visitor: Any = side.module("canvas").StampingVisitor

    class Monitoring(visitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"monitoring_id": sig.task, "stamped_headers": ["monitoring_id"]}

    @app.task(name="tasks.stamps", bind=True)
    def stamps(self: Any, *_: Any) -> Any:
        return self.request.stamps

    workflow = side.group(stamps.si(), side.chain(stamps.si(), stamps.s()))
    workflow.stamp(visitor=Monitoring())
    single = stamps.si()
    single.stamp(tenant="blue")
    with side.worker(app):
        assert get(workflow.apply_async()) == [{"monitoring_id": "tasks.stamps"}] * 2
        assert get(single.delay()) == {"tenant": "blue"}


def test_callbacks_can_be_stamped_too(side: Side, app: Any) -> None:
    visitor: Any = side.module("canvas").StampingVisitor

    class Callbacks(visitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"header": "value"}

        def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any]:
            return {"on_callback": True}

        def on_errback(self, errback: Any, **headers: Any) -> dict[str, Any]:
            return {"on_errback": True}

    signature = app.add.si(1, 2)
    signature.link(app.tell.s())
    signature.link_error(app.tell.s())
    signature.stamp(Callbacks())
    (callback,), (errback,) = signature.options["link"], signature.options["link_error"]
    assert callback.options["on_callback"] is True
    assert errback.options["on_errback"] is True
    assert callback.options["header"] == "value"
    assert signature.options["header"] == "value"


def test_signatures_are_made_again_of_json(side: Side, app: Any) -> None:
    workflow = side.chain(app.add.s(1, 2), side.group(app.mul.s(2), app.mul.s(3)), app.xsum.s())
    again = side.signature(json.loads(json.dumps(workflow)), app=app)
    assert (type(again), len(again.tasks)) == (type(workflow), len(workflow.tasks))
    with side.worker(app):
        assert get(again.delay()) == 15


def test_frozen_signature_knows_its_result(side: Side, app: Any) -> None:
    signature = app.add.s(1, 2)
    frozen = signature.freeze()
    with side.worker(app):
        assert signature.delay().id == frozen.id
        assert get(frozen) == 3


def test_signature_is_called_and_waited_for_by_an_operator(side: Side, app: Any) -> None:
    with side.worker(app):
        assert ~app.xsum.map([[1, 2], [3, 4]]) == [3, 7]
        assert ~app.add.s(2, 2) == 4


def test_other_members_of_a_failed_chord_still_run(side: Side, app: Any) -> None:
    with side.worker(app, concurrency=1):
        side.chord([app.boom.s(), app.tell.si("ran")])(app.xsum.s())
        get(app.add.delay(1, 1))
        get(app.add.delay(1, 1))
    assert ("ran",) in app.told
