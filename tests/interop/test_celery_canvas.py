"""Random workflows written down by us: Celery's worker gives each the value that plain Python computes for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from taskq_cloud.canvas import signature
from tests.workflows import Failure, build, ends_in_group, evaluate, is_nothing, make_app, workflows

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("celery_canvas.py")
SECONDS = 110
"""How long the script may take: longer than it waits for all its workflows."""
WORKFLOWS = 20
CELERYS, SHARED = "cache+memory://", "taskq+sqlite:////{}/results.db"


def drawn(*, ending_well: bool) -> list[Any]:
    """Draw random workflows: either all their tasks succeed, or at least one task fails or is replaced."""
    found: list[Any] = []

    @settings(
        max_examples=16 * WORKFLOWS,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(node=workflows(failing=not ending_well))
    def collect(node: Any) -> None:
        plain = "failing" not in repr(node) and "replaced" not in repr(node)
        if plain is ending_well and node not in found and len(node) > 1 and node[0] not in {"task", "failing"}:
            found.append(node)

    collect()
    kept = [node for node in found if not differs(node) and not hangs(node)]
    return kept[:: max(1, len(kept) // WORKFLOWS)][:WORKFLOWS]


def hangs(node: Any, *, replaces: bool = False) -> bool:
    """Whether Celery 5.7 would wait for a workflow without end.

    It does so in two cases. A task is replaced by a chord that ends in a group: the group gets the task's id, and no
    result ever has that id. With Celery's own backends, a chord that ends in a group is followed by another group:
    nobody sends the last group.
    """
    match node:
        case ("replaced", instead):
            return hangs(instead, replaces=True)
        case ("chain", steps):
            groups = [step for step in steps if ends_in_group(step)]
            if any(step[0] == "chord" for step in groups[:-1]):
                return True
            return any(hangs(each, replaces=replaces) for each in steps)
        case ("group", members):
            return any(hangs(each, replaces=replaces) for each in members)
        case ("chord", members, body):
            inside = any(hangs(each, replaces=replaces) for each in (*members, body))
            return inside or (replaces and ends_in_group(body))
    return False


def differs(node: Any) -> bool:
    """Whether Celery 5.7 gives a workflow another meaning than ours, by accident.

    It reverses the members of a group that is a member of a chord's header. And it counts an empty chain as a member
    when it looks for groups of one.
    """
    match node:
        case ("chain", steps):
            return is_nothing(node) or any(map(differs, steps))
        case ("group", members):
            return any(each[0] == "group" or differs(each) for each in members)
        case ("replaced", instead):
            return differs(instead)
        case ("chord", members, body):
            return differs(("group", members)) or differs(body)
    return False


def compared(nodes: list[Any], backend: str) -> list[Any]:
    """Run workflows on Celery; returns each workflow with another value than wanted, with both values."""
    ours = make_app(broker="memory://", results="memory://")
    written = json.dumps([signature(build(ours, node), app=ours).to_dict() for node in nodes])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), backend],
        input=written,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])},
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout.splitlines()[-1])
    found = zip(nodes, values, map(evaluate, nodes), strict=True)
    return [(node, value, wanted) for node, value, wanted in found if shown(value) != shown(wanted)]


def shown(value: Any) -> Any:
    """A value in which every failure is ``"failed"``.

    The kind of the error is left out: for a failed chord, Celery sometimes raises its own error, and sometimes the
    member's.
    """
    match value:
        case Failure() | {"failed": _}:
            return "failed"
        case [*parts]:
            return [shown(part) for part in parts]
    return value


@pytest.mark.parametrize("backend", [CELERYS, SHARED])
def test_workflow_that_succeeds_has_pythons_value_on_celery(backend: str, tmp_path: Path) -> None:
    nodes = drawn(ending_well=True)
    assert len(nodes) == WORKFLOWS
    assert not compared(nodes, backend.format(tmp_path))


def test_workflow_with_failed_or_replaced_tasks_has_pythons_outcome_on_celery(tmp_path: Path) -> None:
    """The backend is ours: with Celery's own, many tasks that follow a failed chord would be waited for without end."""
    nodes = drawn(ending_well=False)
    assert len(nodes) == WORKFLOWS
    assert any(shown(evaluate(node)) == "failed" for node in nodes)
    assert not compared(nodes, SHARED.format(tmp_path))
