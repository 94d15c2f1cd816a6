"""Scenarios of the pipeline's contract: chords, groups and tasks that are replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from taskq_cloud.core.execution.run_context import added_to_chord
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.task_names import ACCUMULATE
from taskq_cloud.core.workflows import chord_additions
from taskq_cloud.errors import Ignore, Replaced, Retry
from taskq_cloud.testing.contracts.pipeline_scenario import (
    FAILED,
    FIVE,
    Scenario,
    attempt,
    fails,
    five,
    raises,
    signature,
    told,
)


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
    """Make a member of a chord with ``size`` members, of which the others never end."""

    def make(task_id: str, _now: float) -> Message:
        chord = signature("body", chord_size=size, chord_ids={"0": task_id}, link_error=[signature("errback")])
        return Message(task="main", id=task_id, group=f"of {task_id}", group_index=0, embed=Embed(chord=chord))

    return make


def _first_of(values: Any, index: int) -> Any:
    return [values][index]


def _replaced_at_last() -> NoReturn:
    if attempt().message.retries < 2:
        raise Retry(when=10)
    raise Replaced(signature("instead"))


def _retried_once() -> int:
    if attempt().message.retries < 1:
        raise Retry(when=10)
    return 5


def _adding(*tasks: str) -> Callable[[], int]:
    def function() -> int:
        added, message = added_to_chord.get(), attempt().message
        assert added is not None
        for task in tasks:
            added.append(chord_additions.with_id(message, signature(task), added)[1])
        return 5

    return function


FOLLOWED = Embed(
    callbacks=[signature("callback")],
    errbacks=[signature("errback")],
    chain=[signature("last"), signature("next")],
)
FOLLOWERS = dict.fromkeys(("own", "callback", "next", "last", "never"), five) | {"errback": told}
ENDING_A_CHORD = ("join:complete", "claim")
HEADER = [signature("header_a", 1), _chain(signature("header_b"), signature("header_c"))]

WORKFLOWS = [
    Scenario(
        name="belongs to a chord that Celery has made",
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
        effects=("run", "save:SUCCESS", *ENDING_A_CHORD, "send:body", "save:PENDING", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and is not its last member",
        functions={"main": five, "body": _same},
        make=_of_chord(2),
        states={"main": FIVE},
        effects=("run", "save:SUCCESS", "join", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and fails",
        functions={"main": fails, "body": _same, "errback": told},
        make=_of_chord(),
        states={"main": FAILED, "errback": FIVE},
        effects=(
            "run",
            "save:FAILURE",
            *ENDING_A_CHORD,
            "save:FAILURE",
            "send:errback",
            "save:PENDING",
            "settle:Acknowledge",
        ),
    ),
    Scenario(
        name="belongs to a chord and keeps its result though results are ignored",
        functions={"main": five, "body": _same},
        make=_of_chord(),
        policy=Policy(ignore_result=True),
        states={"main": FIVE, "body": None},
        effects=("run", "save:SUCCESS", *ENDING_A_CHORD, "send:body", "save:PENDING", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and is ignored",
        functions={"main": raises(Ignore), "errback": told},
        make=_of_chord(),
        states={"main": None, "errback": FIVE},
        effects=("run", *ENDING_A_CHORD, "save:FAILURE", "send:errback", "save:PENDING", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord whose body is too large",
        functions={"main": lambda: "x" * 20_000, "errback": told},
        make=_of_chord(),
        largest_message_bytes=15_000,
        states={"main": ("SUCCESS", "x" * 20_000), "errback": FIVE},
        effects=(
            "run",
            "save:SUCCESS",
            *ENDING_A_CHORD,
            "save:FAILURE",
            "send:errback",
            "save:PENDING",
            "settle:Acknowledge",
        ),
    ),
    Scenario(
        name="is replaced",
        functions={
            "main": raises(Replaced, signature("instead", link=[signature("own")])),
            "instead": five,
            **FOLLOWERS,
        },
        embed=FOLLOWED,
        states={"main": FIVE, "own": FIVE, "callback": FIVE, "next": FIVE, "last": FIVE},
        effects=("run", "send:instead", "settle:Acknowledge"),
    ),
    Scenario(
        name="is replaced by a task that is replaced by one that fails",
        functions={
            "main": raises(Replaced, signature("instead")),
            "instead": raises(Replaced, signature("failing")),
            "failing": fails,
            **FOLLOWERS,
        },
        embed=FOLLOWED,
        states={"main": FAILED, "errback": FIVE},
        effects=("run", "send:instead", "settle:Acknowledge"),
    ),
    Scenario(
        name="is replaced by a chain that fails at once",
        functions={
            "main": raises(Replaced, _chain(signature("failing"), signature("never"))),
            "failing": fails,
            **FOLLOWERS,
        },
        embed=FOLLOWED,
        states={"main": FAILED, "failing": FAILED, "errback": FIVE},
        effects=("run", "send:failing", "settle:Acknowledge"),
    ),
    Scenario(
        name="is replaced by a group in a chord",
        functions={
            "main": raises(Replaced, _group(signature("header_a", 1), signature("header_b", 2))),
            **dict.fromkeys(("header_a", "header_b", "body"), _first),
            ACCUMULATE: _first_of,
        },
        make=_of_chord(),
        states={
            "main": ("SUCCESS", [1, 2]),
            "header_a": ("SUCCESS", 1),
            "header_b": ("SUCCESS", 2),
            "body": ("SUCCESS", [[1, 2]]),
        },
        effects=("run", "send:header_a,header_b", "settle:Acknowledge"),
    ),
    Scenario(
        name="is replaced after a retry",
        functions={"main": _replaced_at_last, "instead": _retried_once, "last": five},
        embed=Embed(chain=[signature("last")]),
        policy=Policy(track_started=True),
        states={"main": FIVE, "last": FIVE},
        effects=("save:STARTED", "run", "save:RETRY", "send:main", "settle:Acknowledge"),
    ),
    Scenario(
        name="runs once and is replaced",
        functions={"main": raises(Replaced, signature("instead")), "instead": _retried_once},
        options={"main": TaskOptions(once=True, time_limit=60, track_started=True)},
        states={"main": FIVE},
        effects=("claim", "save:STARTED", "run", "give up claim", "send:instead", "settle:Acknowledge"),
    ),
    Scenario(
        name="is replaced by a task that can't be sent",
        functions={"main": raises(Replaced, signature("instead", countdown="soon")), **FOLLOWERS},
        embed=FOLLOWED,
        states={"main": ("FAILURE", "InvalidTaskError"), "errback": FIVE},
        effects=("run", "save:FAILURE", "send:errback", "save:FAILURE", "settle:Acknowledge"),
    ),
    Scenario(
        name="belongs to a chord and adds to it",
        functions={
            "main": _adding("added", "failing"),
            "added": _adding("later"),
            "failing": fails,
            **dict.fromkeys(("later", "body"), five),
            "errback": told,
        },
        make=_of_chord(),
        states={"main": FIVE, "added": FIVE, "failing": FAILED, "later": FIVE, "errback": FIVE},
        effects=("run", "save:SUCCESS", "send:added,failing", "join", "settle:Acknowledge"),
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
            "errback": told,
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
