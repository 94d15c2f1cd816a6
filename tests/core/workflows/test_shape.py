"""The shape of a workflow in the result store: its contents, its size, and the ids that are derived from it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.canvas import signature
from taskq_cloud.core import serializers
from taskq_cloud.core.workflows import planner, shape, signatures
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage, every_task
from taskq_cloud.errors import DecodeError, Unreachable
from taskq_cloud.stores.results.memory import MemoryResults
from tests.workflows import build, is_nothing, make_app, workflows


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = make_app(broker="memory://", results="memory://")
    yield app
    app.close()


def never(_step: Any) -> bool:
    return False


def ids(stages: Stages) -> Any:
    return [each.id if isinstance(each, TaskStage) else [each.id, *map(ids, each.members)] for each in stages]


def names(stages: Stages) -> list[str]:
    return [step.task for step in every_task(stages)]


def loaded(app: TaskQ, workflow_id: str) -> Stages | None:
    return app.run(shape.load(app.store, workflow_id))


@settings(deadline=None, database=None, max_examples=100)
@given(node=workflows())
def test_stored_shape_has_every_task_and_id(node: Any) -> None:
    assume(not is_nothing(node))
    app = make_app(broker="memory://", results="memory://")
    stages = signatures.parse(build(app, node).to_dict())
    written = serializers.loads(serializers.dumps(shape.to_json(stages, never)))
    again = planner.with_ids(shape.from_json(written), "last")
    assert ids(again) == ids(planner.with_ids(stages, "last"))
    assert names(again) == names(planner.with_ids(stages, "last"))


def test_sent_workflow_has_a_stored_shape(app: TaskQ) -> None:
    task = app.tasks["task"]
    workflow = chain(task.s(tag="a"), chord([task.s(tag="b").set(task_id="own")] * 2, task.s(tag="c")))
    result: Any = workflow.apply_async()
    stages = loaded(app, result.id)
    assert stages is not None
    first, header, body = stages
    assert (first.id, body.id) == (result.parent.parent.id, result.id)
    assert ids((header,)) == [[result.parent.id, ["own"], ["own"]]]
    assert names(stages) == ["task"] * 4


def test_group_is_found_by_its_id_and_single_task_is_not_saved(app: TaskQ) -> None:
    task = app.tasks["task"]
    plain = app.task(name="plain")(lambda number: number)
    result = group([task.s(tag="a"), plain.chunks([[1], [2]], 1)]).apply_async(task_id="mine")
    assert result.id == "mine"
    stages = loaded(app, "mine")
    assert stages is not None
    assert names(stages) == ["task", "celery.starmap(plain)", "celery.starmap(plain)"]
    assert loaded(app, signature(task.s(tag="a")).apply_async().id) is None
    assert loaded(app, chain(task.s(tag="a")).apply_async().id) is None


@pytest.mark.parametrize("size", [1, 100_000])
def test_equal_members_are_written_once(app: TaskQ, size: int) -> None:
    member = (TaskStage(signatures.signature_of("shop.add", args=["x" * 100])),)
    written = shape.to_json((GroupStage((member,) * size),), never)
    assert serializers.dumps(written) == f'[{{"members":[[{size},["shop.add"]]]}}]'


def test_different_members_are_stored_in_pages(app: TaskQ) -> None:
    stages: Stages = (GroupStage(tuple((TaskStage(signatures.signature_of(f"task{n}")),) for n in range(9000))),)
    app.run(shape.save(app.store, stages, "many", never, None))
    assert len(app.run(shape.keys_of(app.store, "many"))) == 4
    again = loaded(app, "many")
    assert again is not None
    assert names(again) == names(stages)
    app.run(app.store.delete([shape.key("many", 3)]))
    assert loaded(app, "many") is None


def test_too_many_different_members_are_not_saved_but_logged(
    app: TaskQ, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape, "MOST_PAGES", 2)
    stages: Stages = (GroupStage(tuple((TaskStage(signatures.signature_of(f"task{n}")),) for n in range(9000))),)
    app.run(shape.save(app.store, stages, "many", never, None))
    assert "workflow many can't be watched or revoked by its id" in caplog.text
    assert loaded(app, "many") is None


def test_ignored_results_are_marked_unless_a_chord_needs_them(app: TaskQ) -> None:
    task = app.tasks["task"]
    quiet = task.s(tag="a").set(ignore_result=True)
    result: Any = chord([quiet, chain(quiet, quiet)], quiet).apply_async()
    stages = loaded(app, result.id)
    assert stages is not None
    assert [bool(step.options.get("ignore_result")) for step in every_task(stages)] == [False, True, False, True]
    assert [leaf.ignored for leaf in result.parent.leaves()] == [False, False]


class Silent(MemoryResults):
    """A result store that can't be written."""

    def save(self, records: Any) -> Any:
        raise Unreachable("the store gives no answer")
        yield


def test_workflow_is_sent_although_store_fails(app: TaskQ, caplog: pytest.LogCaptureFixture) -> None:
    vars(app)["store"] = Silent()
    task = app.tasks["task"]
    result = chain(task.s(tag="a"), task.s(tag="b")).apply_async()
    depth = app.run(app.broker.depth("celery"))
    assert depth is not None
    assert depth.total == 1
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert (vars(record)["action"], vars(record)["task_id"]) == ("workflow.not_recorded", result.id)
    assert "the store gives no answer" in record.getMessage()


def test_shape_is_not_stored_if_workflows_are_not_tracked() -> None:
    app = make_app(broker="memory://", results="memory://", task_track_workflows=False)
    task = app.tasks["task"]
    assert loaded(app, chain(task.s(tag="a"), task.s(tag="b")).apply_async().id) is None
    app.close()


@pytest.mark.parametrize("content", [[], {"line": []}, {"last_id": "x", "line": [7]}, {"members": 1}])
def test_malformed_record_of_a_shape_raises(app: TaskQ, content: Any) -> None:
    written = shape._record(shape.key("w"), serializers.dumps(content), None)
    app.run(app.store.save([written]))
    with pytest.raises(DecodeError, match="this isn't"):
        loaded(app, "w")
