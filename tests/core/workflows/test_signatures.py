"""Reading Celery's signatures as stages."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.model.task_names import CHAIN, CHORD, GROUP
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.signatures import parse, signature_of
from taskq_cloud.core.workflows.stages import Stages, TaskStage, awaited_tasks


def task(name: str, **options: Any) -> Any:
    return signature_of(name, options=options)


def names(stages: Stages) -> list[Any]:
    return [each.task if isinstance(each, TaskStage) else [names(member) for member in each.members] for each in stages]


def composed(**options: Any) -> list[tuple[Any, list[Any]]]:
    group = signature_of(GROUP, kwargs={"tasks": [task("a"), signature_of(CHAIN, kwargs={"tasks": [task("b")] * 2})]})
    return [
        (task("a", **options), ["a"]),
        (signature_of(CHAIN, kwargs={"tasks": [task("a"), task("b")]}, options=options), ["a", "b"]),
        ({**group, "options": options}, [[["a"], ["b", "b"]]]),
        (signature_of(CHORD, kwargs={"header": group, "body": task("c")}, options=options), [[["a"], ["b", "b"]], "c"]),
    ]


@pytest.mark.parametrize(("signature", "own"), composed(chain=[task("z"), task("y", chain=[task("x")])]))
def test_option_chain_holds_following_signatures_in_reverse(signature: Any, own: list[Any]) -> None:
    assert names(parse(signature)) == [*own, "y", "x", "z"]
    assert not any("chain" in step.options for step in awaited_tasks(parse(signature)))


@pytest.mark.parametrize("signature", [each for each, _ in composed(chord=task("body"), group_index=1)[1::2]])
def test_last_task_gets_place_in_chord(signature: Any) -> None:
    *before, last = parse(signature)
    assert isinstance(last, TaskStage)
    assert (last.options["chord"], last.options["group_index"]) == (task("body"), 1)
    assert "'body'" not in repr(before)


def test_next_task_with_own_chain_is_followed_by_both_chains() -> None:
    parent = Message(task="t", id="t", embed=Embed(chain=[task("z"), task("next", chain=[task("y")])]))
    (following,) = successors.on_success(parent, 1, 0)
    assert (following.message.task, following.message.id) == ("next", derived_id("t", "chain"))
    assert [each["task"] for each in following.message.embed.chain or ()] == ["z", "y"]
    left = successors.rest_of_chain(parent)
    assert names(left) == ["next", "y", "z"]
    assert next(awaited_tasks(left)).id == following.message.id
