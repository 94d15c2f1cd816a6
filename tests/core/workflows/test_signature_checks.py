"""Signatures in a message that no message could be made of: the message is dead-lettered before its task runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, DeadLetter, Outgoing
from taskq_cloud.core.workflows import signature_checks
from taskq_cloud.testing.bench import Bench

NUL = "a\0b"
WELL = {"task": "well"}
CHORD = {"header": [WELL], "body": WELL}

WRONG: list[Any] = [
    5,
    "well",
    {},
    {"task": 5},
    {"task": ""},
    {"task": NUL},
    {"task": "\ud800"},
    {"task": "well", "args": 5},
    {"task": "well", "kwargs": [1]},
    {"task": "well", "options": 5},
    *(
        {"task": "well", "options": options}
        for options in (
            {"task_id": NUL},
            {"group_id": NUL},
            {"queue": 5},
            {"queue": NUL},
            {"countdown": "soon"},
            {"countdown": 1e300},
            {"countdown": math.nan},
            {"eta": "never"},
            {"expires": [1]},
            {"link": 5},
            {"link": [5]},
            {"link_error": {"task": 5}},
            {"chain": 5},
            {"chain": [5]},
            {"chord": 5},
            {"chord": {"task": "well", "options": {"chord_size": "2"}}, "group_id": "g", "group_index": 0},
            {"chord": {"task": "well", "options": {"chord_size": 2}}},
            {"headers": [1]},
            {"stamped_headers": ["a"]},
            {"stamped_headers": 5},
            {"time_limit": "x"},
            {"soft_time_limit": -1},
            {"priority": "high"},
            {"group_index": -1},
            {"replaced_task_nesting": "x"},
        )
    ),
    {"task": "celery.chain"},
    {"task": "celery.chain", "kwargs": {"tasks": 5}},
    {"task": "celery.chain", "kwargs": {"tasks": [5]}},
    {"task": "celery.group", "kwargs": {"tasks": [{"task": 5}]}},
    {"task": "celery.chord", "kwargs": {**CHORD, "header": 5}},
    {"task": "celery.chord", "kwargs": {**CHORD, "body": {}}},
    {"task": "celery.chord", "kwargs": {**CHORD, "body": {"task": "well", "options": {"countdown": "soon"}}}},
    {"task": "celery.chord", "kwargs": {**CHORD, "header": [{"task": "well", "options": {"countdown": "soon"}}]}},
    {"task": "celery.chunks", "kwargs": {"task": 5, "it": [1], "n": 1}},
]

PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "callback": lambda wrong: {"callbacks": [wrong]},
    "errback": lambda wrong: {"errbacks": [wrong]},
    "next": lambda wrong: {"chain": [WELL, wrong]},
    "last": lambda wrong: {"chain": [wrong, WELL]},
    "body": lambda wrong: {"chord": wrong},
}


def body_of(name: str, embed: dict[str, Any], **headers: Any) -> str:
    own = {"task": name, "id": "t-1", "group": "g", "group_index": 0, **headers}
    return json.dumps({"body": json.dumps([[], {}, embed]), "headers": own, "properties": {}})


def sized(wrong: Any) -> Any:
    """Let a body say how many members its header has, so that this task can complete it."""
    if not isinstance(wrong, dict) or not isinstance(wrong.get("options", {}), dict):
        return wrong
    return {**wrong, "options": {**wrong.get("options", {}), "chord_size": 1}}


def bench_of() -> tuple[Bench, list[str]]:
    app, ran = TaskQ("shop", broker="memory://", results="memory://"), list[str]()

    def fail() -> None:
        ran.append("badly")
        raise ValueError("no")

    app.task(name="well")(lambda *_: ran.append("well"))
    app.task(name="badly")(fail)
    return Bench.of(app), ran


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("place", PLACES)
def test_message_with_a_malformed_signature_is_dead_lettered_before_its_task_runs(
    place: str, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench, ran = bench_of()
    task = "badly" if place == "errback" else "well"
    embed = PLACES[place](sized(wrong) if place == "body" else wrong)
    bench.run(bench.broker.send("celery", [Outgoing(body=body_of(task, embed))]))
    assert len(bench.work()) == 1
    assert ran == []
    assert bench.states("t-1") == ["FAILURE"]
    (dead,) = bench.dead_letters()
    assert dead.attributes[DEAD_LETTER_REASON].startswith("InvalidTaskError: ")
    assert "message.crashed" not in [vars(line).get("action") for line in caplog.records]


@pytest.mark.parametrize("name", ["id", "task", "group", "root_id", "parent_id"])
def test_message_with_a_nul_in_a_key_is_dead_lettered(name: str) -> None:
    bench, ran = bench_of()
    bench.run(bench.broker.send("celery", [Outgoing(body=body_of("well", {}, **{name: NUL}))]))
    assert len(bench.work()) == 1
    assert ran == []
    (dead,) = bench.dead_letters()
    assert "InvalidTaskError" in dead.attributes[DEAD_LETTER_REASON]
    assert r"a\x00b" in dead.attributes[DEAD_LETTER_REASON]


def test_deep_signatures_are_checked_without_recursion() -> None:
    deep: Any = {"task": 5}
    for _ in range(10_000):
        deep = {"task": "celery.chain", "kwargs": {"tasks": [deep]}}
    with pytest.raises(ValueError, match=r"this isn't a signature: {'task': 5}"):
        signature_checks.check([deep])


def nested(kind: str, depth: int) -> Any:
    """Signatures inside each other."""
    found: Any = {"task": "well"}
    for number in range(depth):
        other = {"task": "well", "options": {"task_id": f"{kind}-{number}"}}
        match kind:
            case "chain" | "group":
                found = {"task": f"celery.{kind}", "kwargs": {"tasks": [found, other]}}
            case "header":
                found = {"task": "celery.chord", "kwargs": {"header": [found], "body": other}}
            case "body":
                found = {"task": "celery.chord", "kwargs": {"header": [other], "body": found}}
            case "link" | "link_error" | "option chain":
                found = {**other, "options": {kind.removeprefix("option "): [found]}}
    return found


KINDS = ["chain", "group", "header", "body", "link", "link_error", "option chain"]
DEEP = [(kind, place, depth) for kind in KINDS for place in PLACES for depth in (120, 250)]
QUICK = [("header", "last", 120), ("body", "last", 250), ("header", "body", 250), ("chain", "next", 250)]


@pytest.mark.parametrize(
    ("kind", "place", "depth"),
    [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in DEEP if each not in QUICK)],
)
def test_message_with_signatures_nested_deep_is_settled_by_its_first_delivery(
    kind: str, place: str, depth: int, caplog: pytest.LogCaptureFixture
) -> None:
    bench, ran = bench_of()
    task = "badly" if place == "errback" else "well"
    deep = nested(kind, depth)
    embed = PLACES[place](sized(deep) if place == "body" else deep)
    bench.run(bench.broker.send("celery", [Outgoing(body=body_of(task, embed))]))
    (delivery,) = bench.receive(queue="celery")
    settlement = bench.deliver(delivery)
    assert bench.states("t-1") == ["SUCCESS" if task == "well" and ran else "FAILURE"]
    if ran:
        assert isinstance(settlement, Acknowledge)
    else:
        assert isinstance(settlement, DeadLetter)
        assert "nests too deeply" in settlement.reason
    assert "message.crashed" not in [vars(line).get("action") for line in caplog.records]


@pytest.mark.parametrize("place", ["next", "last", "callback"])
@pytest.mark.parametrize("task", ["well", "badly"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "celery.chord", "kwargs": {**CHORD, "body": {"task": "celery.chain", "kwargs": {"tasks": []}}}},
        {"task": "celery.chunks", "kwargs": {"task": WELL, "it": [1], "n": 0}},
        {"task": "celery.chunks", "kwargs": {"task": WELL, "it": [1], "n": "1"}},
        {"task": "well", "options": {"chain": [nested("header", 150)]}},
    ],
    ids=["empty body", "chunks of none", "chunks of text", "deep option"],
)
def test_signature_that_no_workflow_can_be_made_of_is_noticed_before_the_task_runs(
    wrong: Any, task: str, place: str
) -> None:
    bench, ran = bench_of()
    bench.run(bench.broker.send("celery", [Outgoing(body=body_of(task, PLACES[place](wrong)))]))
    (delivery,) = bench.receive(queue="celery")
    settlement = bench.deliver(delivery)
    if place == "callback" and wrong["task"] == "well":  # its message can be made, and will be refused
        assert ran == [task]
        assert isinstance(settlement, Acknowledge)
    else:
        assert ran == []
        assert isinstance(settlement, DeadLetter)
