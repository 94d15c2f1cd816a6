"""Tasks that are replaced by workflows: the messages of the replacement, and replacing without a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.core.model.message import EARLIER_RUNS, Embed, Message
from taskq_cloud.core.workflows import replacement
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.errors import InvalidTaskError

BODY = {"task": "body", "args": [], "kwargs": {}, "options": {"chord_size": 1}}


def replacement_messages(message: Message, workflow: Mapping[str, Any]) -> Sequence[Successor]:
    return replacement.start(message, replacement.in_place_of(message, workflow, 7), 0.0, None)


def test_single_task_takes_id_place_and_following_tasks() -> None:
    embed = Embed(
        callbacks=[{"task": "callback"}], errbacks=[{"task": "errback"}], chain=[{"task": "last"}], chord=BODY
    )
    message = Message(task="main", id="m", root_id="r", parent_id="p", group="g", group_index=3, embed=embed, retries=2)
    (successor,) = replacement_messages(message, {"task": "other", "args": [1], "options": {"link": [{"task": "own"}]}})
    made = successor.message
    assert (made.id, made.root_id, made.parent_id, made.group, made.group_index) == ("m", "r", "p", "g", 3)
    assert [each["task"] for each in made.embed.callbacks or ()] == ["callback", "own"]
    assert [each["task"] for each in made.embed.errbacks or ()] == ["errback"]
    assert made.embed.chord == BODY
    assert made.embed.chain == [{"task": "last", "options": {"replaced_task_nesting": 1}}]
    assert (made.retries, made.attempt, made.fence, made.replaced_task_nesting) == (0, 3, 7, 1)


def test_values_of_a_group_are_collected_into_the_task() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://")
    add = app.signature("add")
    made = replacement_messages(Message(task="main", id="m"), group(add, add).to_dict())
    assert [each.message.task for each in made] == ["add", "add"]
    body = made[0].message.embed.chord
    assert body is not None
    assert (body["task"], body["options"]["task_id"], body["kwargs"]) == ("celery.accumulate", "m", {"index": 0})


def test_attempts_are_counted_on_in_a_replacement() -> None:
    first = replacement_messages(Message(task="main", id="m", retries=1), {"task": "other"})[0].message
    second = replacement_messages(first, {"task": "another"})[0].message
    assert (first.attempt, second.attempt, second.replaced_task_nesting) == (2, 3, 2)


def test_unreadable_header_of_earlier_runs_counts_nothing() -> None:
    assert Message(task="main", id="m", headers={EARLIER_RUNS: "many"}).attempt == 0


@pytest.mark.parametrize(
    ("workflow", "says"),
    [
        ({"task": "celery.chain", "kwargs": {"tasks": []}}, "an empty chain has no task"),
        ({"task": "celery.chord", "kwargs": {}}, "this isn't a signature"),
        ({"task": "other", "options": {"countdown": "soon"}}, "soon"),
    ],
    ids=["empty", "no workflow", "no time"],
)
def test_invalid_replacement_raises(workflow: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidTaskError, match=f"task main: its replacement can't be read: .*{says}"):
        replacement_messages(Message(task="main", id="m"), workflow)


class TestEager:
    @pytest.fixture
    def app(self) -> TaskQ:
        app = TaskQ("shop", broker="memory://", results="memory://", task_always_eager=True)

        @app.task(name="add")
        def add(x: int, y: int) -> int:
            return x + y

        @app.task(name="total")
        def total(values: list[int]) -> int:
            return sum(values)

        @app.task(name="replaced", bind=True)
        def replaced(self: Any, kind: str) -> Any:
            add, total = app.tasks["add"], app.tasks["total"]
            return self.replace(
                {
                    "task": add.s(1, 2),
                    "chain": chain(add.s(1, 2), add.s(3)),
                    "group": group(add.s(1, 2), add.s(3, 4)),
                    "chord": chord([add.s(1, 2), add.s(3, 4)], total.s()),
                    "nested": app.tasks["replaced"].s("chord"),
                    "failing": add.s(1, None),
                    "number": 5,
                    "nothing": chain(),
                    "shape": {"task": "celery.group", "kwargs": {}},
                    "member": app.signature({"task": "add", "options": {"chord": BODY}}),
                    "value": add.s(object(), 1),
                }[kind]
            )

        return app

    @pytest.mark.parametrize(
        ("kind", "value"), [("task", 3), ("chain", 6), ("group", [3, 7]), ("chord", 10), ("nested", 10)]
    )
    def test_result_has_task_id_and_value_of_replacement(self, app: TaskQ, kind: str, value: Any) -> None:
        result = app.tasks["replaced"].apply_async((kind,), task_id="the-id")
        assert (result.id, result.get()) == ("the-id", value)

    def test_rest_of_chain_follows_replacement(self, app: TaskQ) -> None:
        assert chain(app.tasks["replaced"].s("chain"), app.tasks["add"].s(10)).delay().get() == 16

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("failing", "TypeError: unsupported operand"),
            ("number", r"TypeError: task replaced: replace\(\) takes signatures, such as task.s\(...\), not int: 5"),
            ("nothing", r"ImproperlyConfigured: task replaced: replace\(\) takes no empty chain"),
            ("shape", "InvalidTaskError: this isn't a signature"),
            ("member", r"ImproperlyConfigured: task replaced: replace\(\).* part of a chord"),
            ("value", r"EncodeError: task replaced: replace\(\): add.* is "),
        ],
    )
    def test_invalid_replacement_fails_the_task(self, app: TaskQ, kind: str, error: str) -> None:
        result = app.tasks["replaced"].delay(kind)
        assert result.state == "FAILURE"
        kind, says = error.split(": ", 1)
        assert type(result.result).__name__ == kind
        with pytest.raises(type(result.result), match=says):
            result.get()

    def test_replace_in_a_plain_function_call_raises(self, app: TaskQ) -> None:
        with pytest.raises(RuntimeError, match="no message to replace"):
            app.tasks["replaced"]("task")
