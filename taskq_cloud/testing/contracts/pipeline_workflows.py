"""Scenarios of chords and groups, of ``pipeline_scenarios``'s kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq_cloud.core.message import Embed, Message
from taskq_cloud.core.options import Policy
from taskq_cloud.errors import Ignore
from taskq_cloud.testing.contracts.pipeline_scenario import FAILED, FIVE, Scenario, fails, five, raises, signature


def _first(value: Any = 0, *_: Any) -> Any:
    return value


def _same(value: Any) -> Any:
    return value


def _group(*members: dict[str, Any]) -> dict[str, Any]:
    return {"task": "celery.group", "kwargs": {"tasks": list(members)}}


def _chain(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"task": "celery.chain", "kwargs": {"tasks": list(steps)}}


def _chord(header: list[dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
    return {"task": "celery.chord", "kwargs": {"kwargs": {}, "header": _group(*header), "body": body}}


def _of_chord(size: int = 1) -> Callable[[str, float], Message]:
    """A member of a _chord, beside others that never come."""

    def make(task_id: str, _now: float) -> Message:
        chord = signature("body", chord_size=size, chord_ids={"0": task_id}, link_error=[signature("errback")])
        return Message(task="main", id=task_id, group=f"of {task_id}", group_index=0, embed=Embed(chord=chord))

    return make


ENDING_A_CHORD = ("join:complete", "claim")
HEADER = [signature("header_a", 1), _chain(signature("header_b"), signature("header_c"))]

WORKFLOWS = [
    Scenario(
        name="belongs to a chord of Celery's",
        functions={"main": five},
        embed=Embed(chord=signature("body")),
        states={"main": None},
        effects=("settle:DeadLetter",),
        dead_letters=("chord None was made by Celery and doesn't say its size",),
    ),
    Scenario(
        name="belongs to a chord and is its last member",
        functions={"main": five, "body": _same},
        make=_of_chord(),
        states={"main": FIVE, "body": ("SUCCESS", [5])},
        effects=("run", "save:SUCCESS", *ENDING_A_CHORD, "send:body", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and is not its last member",
        functions={"main": five, "body": _same},
        make=_of_chord(2),
        states={"main": FIVE},
        effects=("run", "save:SUCCESS", "join", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a _chord, which it fails",
        functions={"main": fails, "body": _same, "errback": five},
        make=_of_chord(),
        states={"main": FAILED, "errback": FIVE},
        effects=("run", "save:FAILURE", *ENDING_A_CHORD, "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and keeps its result all the same",
        functions={"main": five, "body": _same},
        make=_of_chord(),
        policy=Policy(ignore_result=True),
        states={"main": FIVE, "body": None},
        effects=("run", "save:SUCCESS", *ENDING_A_CHORD, "send:body", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and is ignored",
        functions={"main": raises(Ignore), "errback": five},
        make=_of_chord(),
        states={"main": None, "errback": FIVE},
        effects=("run", *ENDING_A_CHORD, "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord whose body is too large",
        functions={"main": lambda: "x" * 20_000, "errback": five},
        make=_of_chord(),
        largest_message_bytes=15_000,
        states={"main": ("SUCCESS", "x" * 20_000), "errback": FIVE},
        effects=("run", "save:SUCCESS", *ENDING_A_CHORD, "save:FAILURE", "send:errback", "settle:Acknowledge"),
    ),
    Scenario(
        name="is followed by a chord in a chord",
        functions=dict.fromkeys(("main", "header_a", "header_b", "header_c", "inner", "outer", "last"), _first),
        embed=Embed(
            chain=[
                signature("last"),
                _chord([_chord(HEADER, signature("inner"))], signature("outer")),
            ]
        ),
        states={
            "main": ("SUCCESS", 0),
            "header_a": ("SUCCESS", 0),
            "header_b": ("SUCCESS", 0),
            "header_c": ("SUCCESS", 0),
            "inner": ("SUCCESS", [0, 0]),
            "outer": ("SUCCESS", [[0, 0]]),
            "last": ("SUCCESS", [[0, 0]]),
        },
        effects=("run", "save:SUCCESS", "send:header_a,header_b", "settle:Acknowledge"),
    ),
    Scenario(
        name="is followed by a chord that fails in a chain of its header",
        functions={
            **dict.fromkeys(("main", "header_a", "header_c", "inner", "outer", "last"), _first),
            "header_b": fails,
            "errback": five,
        },
        embed=Embed(
            chain=[_chord([_chord(HEADER, signature("inner"))], signature("outer", link_error=[signature("errback")]))]
        ),
        states={"main": ("SUCCESS", 0), "header_a": ("SUCCESS", 0), "header_b": FAILED, "errback": FIVE},
        effects=("run", "save:SUCCESS", "send:header_a,header_b", "settle:Acknowledge"),
    ),
    Scenario(
        name="is followed by a group whose members are followed by groups",
        functions=dict.fromkeys(("main", "header_a", "header_b", "header_c", "grouped", "last"), _first),
        embed=Embed(
            chain=[
                _chord(
                    [signature("grouped"), _chain(*HEADER)],
                    _group(signature("last")),
                )
            ]
        ),
        states={
            **dict.fromkeys(("main", "grouped", "header_a", "header_b", "header_c"), ("SUCCESS", 0)),
            "last": ("SUCCESS", [0, 0]),
        },
        effects=("run", "save:SUCCESS", "send:grouped,header_a", "settle:Acknowledge"),
    ),
]
