"""Methods of Celery's signatures beyond sending them, on workflows that don't change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskq_cloud import StampingVisitor, TaskQ, chain, chord, group, signature
from taskq_cloud.errors import NotRegistered
from taskq_cloud.testing import run_tasks
from tests.arithmetic import make_app


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = make_app()
    yield app
    app.close()


@pytest.fixture
def add(app: TaskQ) -> Any:
    return app.tasks["add"]


def test_replace_exchanges_arguments_and_options(add: Any) -> None:
    sig = add.s(1, y=2).set(queue="q")
    assert sig.replace((5,)) == add.s(5, y=2).set(queue="q")
    assert sig.replace(kwargs={"z": 1}) == add.s(1, z=1).set(queue="q")
    assert sig.replace((), {}, {"countdown": 3}) == add.s().set(countdown=3)
    assert sig.replace() == sig
    with pytest.raises(TypeError, match="unknown option"):
        sig.replace(options={"countdwon": 3})


def test_partial_and_set_immutable_return_changed_copies(add: Any) -> None:
    assert add.s(1).partial((2,), {"z": 3}, queue="q") == add.s(2, 1, z=3).set(queue="q")
    assert add.s(1).set_immutable(True) == add.si(1)
    assert add.si(1).set_immutable(False) == add.s(1)
    joined = chord([add.s(1)], add.s()).set_immutable(True)
    assert (joined.tasks[0], joined.body) == (add.si(1), add.s())


def test_flatten_links_lists_callbacks_of_callbacks(add: Any) -> None:
    inner = add.s(3).link(add.s(4))
    sig = add.s(1).link(add.s(2)).link(inner)
    assert sig.flatten_links() == [sig, add.s(2), inner, add.s(4)]
    assert chain(add.s(0), sig).flatten_links()[1:] == sig.flatten_links()[1:]
    assert chord([add.s(0)], sig).flatten_links()[1:] == sig.flatten_links()[1:]
    assert group(add.s(0)).flatten_links() == [group(add.s(0))]


def test_reprcall_shows_further_arguments(add: Any) -> None:
    assert add.s(2, 2).reprcall() == "add(2, 2)"
    assert add.s(2).reprcall(1, z=3) == "add(1, 2, z=3)"
    assert add.si(2).reprcall(1) == "add(1, 2)"
    assert chain(add.s(2), add.s(3)).reprcall(1) == "add(1, 2) | add(3)"


def test_stamp_links_stamps_callbacks_and_not_the_call(add: Any) -> None:
    class Visitor(StampingVisitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"seen": sig.task}

        def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
            return {"linked": True}

    sig = add.s(1).link(add.s(2)).stamp_links(Visitor(), customer=7)
    assert "stamped_headers" not in sig.options
    (linked,) = sig.options["link"]
    assert {name: linked.options[name] for name in ("customer", "linked", "seen")} == {
        "customer": 7,
        "linked": True,
        "seen": "add",
    }


def test_unchain_tasks_lists_parts_with_their_links(add: Any) -> None:
    line = chain(add.s(1), add.s(2)).link(add.s(3)).link_error(add.s(4))
    assert line.unchain_tasks() == [add.s(1).link_error(add.s(4)), add.s(2).link(add.s(3)).link_error(add.s(4))]


def test_type_of_a_call_is_its_task(app: TaskQ, add: Any) -> None:
    assert (add.s(1).type, add.s(1).name, app.signature("other").name) == (add, "add", "other")
    with pytest.raises(NotRegistered):
        assert app.signature("other").type


def test_call_is_read_as_a_dict(add: Any) -> None:
    sig = add.s(1, y=2).set(queue="q")
    assert dict(sig) == sig.to_dict() | {"args": (1,)}
    assert (sig["task"], sig["args"], sig["kwargs"], sig["options"]) == ("add", (1,), {"y": 2}, {"queue": "q"})
    assert (sig["subtask_type"], sig["immutable"], sig.get("nothing", 5), "task" in sig) == (None, False, 5, True)
    assert {**sig}["task"] == "add"
    with pytest.raises(KeyError):
        assert sig["nothing"]
    with pytest.raises(TypeError):
        sig["args"] = (2,)


def test_chain_group_and_chord_are_read_as_dicts(add: Any) -> None:
    line, sides = chain(add.s(1), add.s(2)), group(add.s(1), add.s(2)).set(task_id="g")
    joined = chord(sides, add.s(3))
    assert (line["task"], line.name, line.subtask_type) == ("celery.chain", "celery.chain", "chain")
    assert line["kwargs"]["tasks"] == line.tasks
    assert (sides["task"], sides.subtask_type, sides["options"]) == ("celery.group", "group", {"task_id": "g"})
    assert (joined["task"], joined.subtask_type, joined["kwargs"]["body"]) == ("celery.chord", "chord", add.s(3))
    for workflow in (line, sides, joined):
        assert list(workflow.keys()) == list(workflow.to_dict())
        assert signature(dict(workflow)) == workflow


def members(make_chain: Any, make_group: Any, make_chord: Any, task: Any) -> list[Any]:
    return [
        [task(1), task(2)],
        [make_chain(task(1), task(2)), task(3)],
        [make_chain(task(1), make_group(task(2), task(3)))],
        [make_group(task(1), make_group(task(2), task(3)))],
        [make_chord([task(1), task(2)], task(3)), task(4)],
        [],
    ]


def test_length_of_a_chord_equals_celerys(add: Any) -> None:
    celery = pytest.importorskip("celery")
    there = celery.Celery("there", set_as_current=False, broker="memory://")
    theirs = members(celery.chain, celery.group, celery.chord, lambda x: there.signature("add", (x,)))
    ours = members(chain, group, chord, add.s)
    for mine, other in zip(ours, theirs, strict=True):
        joined = chord(mine, add.s())
        assert bool(joined)
        assert len(joined) == celery.chord(other, there.signature("add")).__length_hint__()


def test_in_place_or_operator_makes_a_new_workflow(add: Any) -> None:
    line = before = add.s(1)
    line |= add.s(2)
    assert (line, before) == (chain(add.s(1), add.s(2)), add.s(1))


def test_args_and_kwargs_of_a_call_can_be_passed_on(app: TaskQ, add: Any) -> None:
    sig = add.s(1, y=2)
    results = [add.apply_async(sig.args, sig.kwargs), add.signature(sig.args, sig.kwargs).delay()]
    run_tasks(app)
    assert [each.get(timeout=0) for each in results] == [3, 3]
    assert add.apply(sig.args, sig.kwargs).get() == 3
