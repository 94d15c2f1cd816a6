"""Records of workflows that would exhaust their readers: they are counted before anything is made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.flows import Flow, run
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, MOST_CHILDREN, PENDING, SUCCESS, Record
from taskq_cloud.core.workflows import progress, saved_groups, shape
from taskq_cloud.core.workflows.signatures import signature_of
from taskq_cloud.core.workflows.stages import MOST_NESTED, MOST_TASKS, GroupStage, Stages, TaskStage
from taskq_cloud.errors import DecodeError
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.bench import Bench


def drive(flow: Flow[Any]) -> Any:
    return run(flow, lambda step: pytest.fail(f"a call: {step}"))


def store_with(key: str, result: Any, **more: Any) -> MemoryResults:
    store = MemoryResults()
    payload = json.dumps({"status": PENDING, "result": result, "task_id": key, **more})
    drive(store.save([Record(key, PENDING, 0, payload)]))
    return store


def nested(depth: int, times: int = 1) -> list[Any]:
    line: list[Any] = ["t"]
    for _ in range(depth):
        line = [{"members": [[times, line]]}, "t"]
    return line


@pytest.mark.parametrize(
    "line",
    [
        [{"members": [[10**12, ["t"]]]}],
        [{"members": [[10**12, []]]}],
        [{"members": [[MOST_TASKS // 2, ["t"]]] * 3}],
        nested(6, 1000),
        nested(MOST_NESTED + 1),
        nested(MOST_NESTED),  # groups inside each other count twice
        [{"members": [[-1, ["t"]]]}],
        [{"members": [[1, ["t"]]], "id": ["x"]}],
        [{"task": "t", "id": 7}],
        [{"members": "t"}],
        [7],
    ],
    ids=lambda line: f"{line!r:.40}",
)
def test_shape_that_no_caller_has_written_is_refused(line: Any) -> None:
    store = store_with(shape.key("w"), {"last_id": "w", "line": line})
    with pytest.raises(DecodeError):
        drive(shape.load(store, "w"))


@pytest.mark.parametrize("pages", [0, -1, 10**9])
def test_shape_in_an_impossible_number_of_pages_is_refused(pages: int) -> None:
    store = store_with(shape.key("w"), {"pages": pages, "part": "{"})
    with pytest.raises(DecodeError, match="isn't the record of workflow w"):
        drive(shape.load(store, "w"))
    assert drive(shape.keys_of(store, "w")) == [shape.key("w")]


def test_shape_with_a_page_that_is_none_is_refused() -> None:
    store = store_with(shape.key("w"), {"pages": 2, "part": "{"})
    drive(store.save([Record(shape.key("w", 1), PENDING, 0, '{"status": "PENDING", "result": 7}')]))
    with pytest.raises(DecodeError, match="isn't a part"):
        drive(shape.load(store, "w"))


def test_workflow_of_the_most_tasks_is_recorded_and_a_larger_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    for size, recorded in ((MOST_TASKS, True), (MOST_TASKS + 1, False)):
        store = MemoryResults()
        stages: Stages = (GroupStage(((TaskStage(signature_of("t")),),) * size, "g"),)
        drive(shape.save(store, stages, "g", lambda _: False, None))
        found = drive(store.load([shape.key("g")]))
        assert bool(found) is recorded
    assert f"it has more than {MOST_TASKS} tasks" in caplog.text


def members(depth: int) -> Any:
    found: Any = None
    for _ in range(depth):
        found = [[["x", None], found]]
    return found


@pytest.mark.parametrize(
    "content",
    [
        7,
        [["g", None], 7],
        [["g", None], [7]],
        [["g", None], [[["m"], 7]]],
        [["g", None], members(MOST_NESTED + 2)],
        [[]],
    ],
    ids=lambda content: f"{content!r:.40}",
)
def test_saved_group_that_can_not_be_read_is_refused(content: Any) -> None:
    with pytest.raises(DecodeError):
        drive(saved_groups.load(store_with("taskset-g", content), "g"))


def test_chord_whose_saved_group_is_forged_fails() -> None:
    bench = Bench.in_memory({name: TaskDefinition(name, lambda *_: 1, TaskOptions()) for name in ("t", "body")})
    body = {
        "task": "body",
        "options": {"chord_size": 1, "chord_group": "g", "task_id": "body", "chord_ids": {"0": "m"}},
    }
    payload = json.dumps({"status": PENDING, "result": [["g", None], members(MOST_NESTED + 2)]})
    bench.run(bench.store.save([Record("taskset-g", PENDING, 0, payload)]))
    bench.send(Message(task="t", id="m", group="g", group_index=0, embed=Embed(chord=body)))
    bench.work()
    assert bench.states("m", "body") == [SUCCESS, FAILURE]


UNREADABLE = ["garbage", "[1]", '{"status": 5}', '{"status": "SUCCESS", "result": ' + "[" * 5000 + "]" * 5000 + "}"]


@pytest.mark.parametrize("payload", UNREADABLE, ids=lambda payload: payload[:20])
def test_chord_of_a_member_whose_record_can_not_be_read_fails(payload: str) -> None:
    bench = Bench.in_memory({name: TaskDefinition(name, lambda *_: 1, TaskOptions()) for name in ("t", "body")})
    body = {"task": "body", "options": {"chord_size": 2, "task_id": "body", "chord_ids": {"0": "p", "1": "m"}}}
    bench.run(bench.store.save([Record("p", SUCCESS, FINAL_VERSION, payload)]))
    bench.run(bench.store.join("g", "0", 2, None))
    bench.send(Message(task="t", id="m", group="g", group_index=1, embed=Embed(chord=body)))
    bench.work()
    assert bench.states("m", "body") == [SUCCESS, FAILURE]
    assert bench.left() == 0


@pytest.mark.parametrize("payload", UNREADABLE, ids=lambda payload: payload[:20])
def test_redelivered_task_whose_record_can_not_be_read_ends_in_the_dead_letter_queue(payload: str) -> None:
    ran: list[int] = []
    bench = Bench.in_memory({"t": TaskDefinition("t", lambda: ran.append(1), TaskOptions())})
    bench.run(bench.store.save([Record("m", SUCCESS, FINAL_VERSION, payload)]))
    bench.send(Message(task="t", id="m", headers={"taskq_resent": True}))
    bench.drain()
    (dead,) = bench.dead_letters()
    assert "forget its result and redrive" in dead.attributes["dead_letter_reason"]
    assert dead.attributes["dead_letter_reason"].startswith("DecodeError")
    assert ran == []


def test_children_that_lead_to_each_other_are_followed_once() -> None:
    store = store_with("a", 1, children=[[["b", None], None], [["a", None], None]])
    drive(store.save([Record("b", PENDING, 0, json.dumps({"status": SUCCESS, "children": [[["a", None], None]]}))]))
    view = drive(progress.load_view(store, (TaskStage(signature_of("t", options={"task_id": "a"})),)))
    assert [task.id for task in view.tasks()] == ["a", "b"]


@pytest.mark.parametrize(
    "more",
    [
        {"children": 7},
        {"children": [7, [], [[]], [[7]]]},
        {"children": [[[f"c{n}", None], None] for n in range(5 * MOST_CHILDREN)]},
        {"date_done": "soon", "date_started": 7, "name": ["x"]},
        {"date_done": 1e300},
    ],
    ids=lambda more: f"{more!r:.40}",
)
def test_malformed_record_is_shown_with_what_can_be_read(more: dict[str, Any]) -> None:
    store = store_with("a", 1, **more)
    view = drive(progress.load_view(store, (TaskStage(signature_of("t", options={"task_id": "a"})),)))
    (task, *inside) = view.tasks()
    assert (task.id, task.state, task.ended_at) == ("a", PENDING, None)
    assert len(inside) <= MOST_CHILDREN


@pytest.mark.parametrize("more", [{"replaced_task_nesting": "x"}, {"date_done": 7}, {"date_done": "x"}])
def test_redelivered_task_with_a_malformed_record_is_settled(more: dict[str, Any]) -> None:
    bench = Bench.in_memory({"t": TaskDefinition("t", lambda: 1, TaskOptions())})
    payload = json.dumps({"status": FAILURE, "result": None, **more})
    bench.run(bench.store.save([Record("m", FAILURE, FINAL_VERSION, payload)]))
    bench.send(Message(task="t", id="m"), attributes={"dead_letter_reason": "x"})
    bench.send(Message(task="t", id="m", headers={"taskq_resent": True}))
    bench.work()
    assert bench.left() == 0


def test_group_of_an_application_is_saved_and_restored() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://")
    group = saved_groups.group_of_tasks("g", [f"m{number}" for number in range(saved_groups.PAGE_MEMBERS + 1)])
    app.run(saved_groups.save(app.store, group, None))
    assert app.run(saved_groups.load(app.store, "g")) == group
