"""Stamps: random workflows are stamped as Celery stamps them, and messages carry the stamps."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
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
# No stamp is a list, and no visitor comes together with append_stamps, which makes lists: Celery shares a list between
# tasks and changes it in place.
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
    """Chain a workflow to a task that has a callback and an errback."""
    task = app.tasks["task"].s(tag="first")
    task = task.set(link=[app.tasks["task"].s(tag="cb")], link_error=[app.tasks["task"].s(tag="eb")])
    return kinds[0](task, build(app, node, kinds))


def side_by_side(node: Any) -> bool:
    """Whether a chain has groups or chords that follow each other, or a chord or chain somewhere after one of them.

    Celery joins such parts in different ways, depending on the call that joins them: the later part runs after a
    chord, or becomes part of the chord's body.
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
    """List the tasks of a signature in plain JSON, each with its tag and its stamps."""
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


@pytest.mark.slow
@settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), max_examples=200)
@given(node=workflows(), stampings=STAMPINGS)
@example(  # a chain unwraps one group of a single member, and only one, however often it is stamped
    node=("group", [("group", [("failing", "a")])]), stampings=[({}, (False, False)), ({}, (False, True))]
)
def test_stamps_of_random_workflows_equal_celerys(node: Any, stampings: Any) -> None:
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


def test_message_carries_stamps_as_celerys_does(app: TaskQ) -> None:
    stamped = app.signature("task", task_id="t").stamp(customer="c1")
    line = planner.with_ids(signatures.parse(stamped.to_dict()), "t")
    (sent,) = planner.start(line, (), {}, Origin(now=0))
    assert (sent.message.stamped_headers, sent.message.stamps) == (["customer"], {"customer": "c1"})


def test_stamping_leaves_the_workflow_unchanged(app: TaskQ) -> None:
    workflow = chain(app.signature("task"), group(app.signature("task"), app.signature("task")))
    before = workflow.to_dict()
    assert workflow.stamp(one=1) != workflow
    assert workflow.to_dict() == before


def test_stamps_read_from_json_are_equal(app: TaskQ) -> None:
    workflow = chord([app.signature("task")], app.signature("task")).stamp(one=1)
    assert app.signature(json.loads(json.dumps(workflow.to_dict()))) == workflow


@pytest.mark.parametrize(
    ("stamps", "error", "says"),
    [
        ({"one": object()}, EncodeError, "task task: stamp 'one' is "),
        ({"queue": "other"}, ValueError, "can't be named 'queue'"),
        ({"stamped_headers": ["gone"]}, ValueError, "names a stamp 'gone' that has no value"),
        ({"one": 1, "other": 2, "stamped_headers": ["one"]}, TypeError, "other"),
    ],
    ids=["no JSON", "an option", "missing", "neither stamp nor option"],
)
def test_wrong_stamp_is_refused(app: TaskQ, stamps: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        group(app.signature("task")).stamp(**stamps)
