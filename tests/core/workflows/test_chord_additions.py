"""Tasks that members add to their chord."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, group
from taskq_cloud.core.workflows.chord_members import SHARD_MEMBERS
from tests.chaos import run_workflow
from tests.workflows import evaluate

T = ("task", "a", False)


def test_lazy_addition_is_sent_by_its_task() -> None:
    node = ("chord", [("adding", "a", [T, ("task", "b", False)], True), T], T)
    assert sorted(map(str, run_workflow(node, 0, 0)[0][1])) == sorted(map(str, evaluate(node)[1]))
    assert sorted(map(str, run_workflow(node, 7, 0.2)[0][1])) == sorted(map(str, evaluate(node)[1]))


def test_workflow_added_to_a_chord_is_part_of_its_value() -> None:
    added = [("chain", [T, T]), ("group", [T, T]), ("chord", [T], T)]
    value, _ = run_workflow(("chord", [("adding", "x", added)], T), 3, 0.1)
    assert value == ["a", [["x"], ["a", ["a"]], [["a"], ["a"]], ["a", [["a"]]]]]


def test_many_additions_are_counted_in_shards() -> None:
    node = ("chord", [("adding", "x", [T] * (2 * SHARD_MEMBERS + 5)), T], T)
    assert run_workflow(node, 0, 0)[0] == evaluate(node)


class TestWithoutChord:
    @pytest.fixture
    def app(self) -> TaskQ:
        app = TaskQ("shop", broker="memory://", results="memory://", task_always_eager=True)

        @app.task(name="adding", bind=True)
        def adding(self: Any) -> None:
            self.add_to_chord(adding.s())

        return app

    def test_task_outside_a_chord_fails(self, app: TaskQ) -> None:
        for workflow in (app.tasks["adding"].s(), group(app.tasks["adding"].s()), chain(app.tasks["adding"].s())):
            result: Any = workflow.apply_async()
            leaf = result[0] if hasattr(result, "results") else result
            with pytest.raises(ValueError, match=r"task adding: add_to_chord.*not a member of a chord's header"):
                leaf.get()

    def test_add_to_chord_in_a_plain_function_call_raises(self, app: TaskQ) -> None:
        with pytest.raises(ValueError, match="not a member of a chord's header"):
            app.tasks["adding"]()
