"""Stamps of random workflows are those that Celery gives them, and reach the tasks."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.canvas import StampingVisitor
from taskq_cloud.core.workflows import planner, signatures
from taskq_cloud.core.workflows.planner import Origin
from taskq_cloud.errors import EncodeError
from tests.workflows import build, effective, is_nothing, make_app, workflows

celery = pytest.importorskip("celery")
CELERYS = (celery.chain, celery.group, celery.chord)

VALUES = st.one_of(st.sampled_from(["x", "y", ""]), st.integers(0, 3), st.none())
STAMPS = st.dictionaries(st.sampled_from(["one", "two", "three"]), VALUES, max_size=2)
# No lists, and none made by a visitor: Celery shares them between tasks and changes them in place.
HOW = st.sampled_from([(False, False), (False, True), (True, False)])
STAMPINGS = st.lists(st.tuples(STAMPS, HOW), min_size=1, max_size=3)


def visitor_of(base: Any) -> Any:
    class Visitor(base):  # type: ignore[misc]
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"of_task": f"{len(headers)}", "two": "visited"}

        def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
            return {"in_chain": 1}

        def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
            return {"in_group": 1, "unlisted_in_group": 2, "stamped_headers": ["in_group", "unlisted_in_group"]}

        def on_chord_body(self, sig: Any, **header: Any) -> dict[str, Any]:
            return {"body": True}

        def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
            return {"callback": len(header)}

        def on_errback(self, errback: Any, **header: Any) -> dict[str, Any]:
            return {"errback": 1.5}

    return Visitor()


def linked(app: Any, node: Any, kinds: Any) -> Any:
    """A workflow, with a callback and an errback at a task of its own."""
    task = app.tasks["task"].s(tag="first")
    task = task.set(link=[app.tasks["task"].s(tag="cb")], link_error=[app.tasks["task"].s(tag="eb")])
    return kinds[0](task, build(app, node, kinds))


def side_by_side(node: Any) -> bool:
    """Whether groups or chords follow each other, or a chord or chain one of them at a distance.

    What Celery makes of these depends on who put them together: what follows comes after a chord, or into its body.
    """
    match node:
        case ("chain", steps):
            kinds = [step[0] for step in effective(node)]
            wide = [kind in ("group", "chord") for kind in kinds]
            follow = any(before and after for before, after in itertools.pairwise(wide))
            later = any(kind in ("chord", "chain") and any(wide[:at]) for at, kind in enumerate(kinds))
            return follow or later or any(map(side_by_side, steps))
        case ("group", members):
            return any(map(side_by_side, members))
        case ("chord", members, body):
            return any(map(side_by_side, [*members, body]))
    return False


def nothing(**_: Any) -> None:
    pass


def leaves(written: Any) -> list[str]:
    """Every task of a signature as plain JSON, with its stamps."""
    found = []
    options, kwargs = written.get("options") or {}, written["kwargs"]
    inner = [*kwargs.get("tasks", ()), *options.get("link", ()), *options.get("link_error", ())]
    if written["task"] == "celery.chord":
        header = kwargs["header"]
        inner += [*(header["kwargs"]["tasks"] if isinstance(header, dict) else header), kwargs["body"]]
    elif not written["task"].startswith("celery."):
        names = sorted(options.get("stamped_headers", ()))
        found.append(json.dumps([kwargs.get("tag"), {name: options[name] for name in names}], sort_keys=True))
    return sorted(found + [leaf for each in inner for leaf in leaves(each)])


@settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), max_examples=200)
@given(node=workflows(), stampings=STAMPINGS)
def test_it_is_what_celery_stamps(node: Any, stampings: Any) -> None:
    assume(not is_nothing(node) and "replaced" not in str(node) and not side_by_side(node))
    theirs_app = celery.Celery("flow", set_as_current=False)
    for name in ("task", "failing"):
        theirs_app.task(name=name)(nothing)
    theirs_app.finalize()
    ours = linked(make_app(broker="memory://", results="memory://"), node, (chain, group, chord))
    theirs = linked(theirs_app, node, CELERYS)
    for headers, (append, visits) in stampings:
        own, celerys = (
            visitor_of(base) if visits else None for base in (StampingVisitor, celery.canvas.StampingVisitor)
        )
        ours = ours.stamp(own, append, **headers)
        theirs.stamp(celerys, append, **headers)
    assert leaves(ours.to_dict()) == leaves(json.loads(json.dumps(theirs)))


@pytest.fixture
def app() -> TaskQ:
    return make_app(broker="memory://", results="memory://")


def test_the_message_says_it_as_celery_does(app: TaskQ) -> None:
    stamped = app.signature("task", task_id="t").stamp(customer="c1")
    line = planner.fix(signatures.parse(stamped.to_dict()), "t")
    (sent,) = planner.start(line, (), {}, Origin(now=0))
    assert (sent.message.stamped_headers, sent.message.stamps) == (["customer"], {"customer": "c1"})


def test_a_tree_that_is_stamped_stays_as_it_was(app: TaskQ) -> None:
    workflow = chain(app.signature("task"), group(app.signature("task"), app.signature("task")))
    before = workflow.to_dict()
    assert workflow.stamp(one=1) != workflow
    assert workflow.to_dict() == before


def test_stamps_come_back_from_json(app: TaskQ) -> None:
    workflow = chord([app.signature("task")], app.signature("task")).stamp(one=1)
    assert app.signature(json.loads(json.dumps(workflow.to_dict()))) == workflow


@pytest.mark.parametrize(
    ("stamps", "error", "says"),
    [
        ({"one": object()}, EncodeError, "task task: stamp 'one' is "),
        ({"queue": "other"}, ValueError, "can't be named 'queue'"),
        ({"stamped_headers": ["gone"]}, ValueError, "names 'gone', and there is no such stamp"),
        ({"one": 1, "other": 2, "stamped_headers": ["one"]}, TypeError, "other"),
    ],
    ids=["no JSON", "an option", "missing", "neither stamp nor option"],
)
def test_bad_stamps(app: TaskQ, stamps: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        group(app.signature("task")).stamp(**stamps)
