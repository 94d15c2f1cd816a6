"""What plain Python makes of a random workflow is what Celery makes of it, written down by us and run by its worker."""

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
"""More than the script gives all its workflows, each of which it waits for no longer than that allows."""
WORKFLOWS = 20
CELERYS, SHARED = "cache+memory://", "taskq+sqlite:////{}/results.db"


def drawn(*, ending_well: bool) -> list[Any]:
    """Workflows of tasks that all succeed; or those in which one fails, or is replaced."""
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
    """What Celery 5.7 waits for without end.

    In a task's place, a chord that ends in a group: the group has the task's id, and no result ever has. With Celery's
    own backends, a chord that ends in a group and is followed by another: nobody sends the last group.
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
    """Where Celery 5.7 has another meaning, by accident.

    The order of a group's members is turned round where the group is a member of a chord's header; and an empty chain
    counts as a member when a group of one is looked for.
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
    """Runs workflows on Celery; those of which it makes something else, with that and what was wanted."""
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
    """Values, and that something has failed; not why: of a chord, Celery raises now its error, now the member's."""
    match value:
        case Failure() | {"failed": _}:
            return "failed"
        case [*parts]:
            return [shown(part) for part in parts]
    return value


@pytest.mark.parametrize("backend", [CELERYS, SHARED])
def test_celery_makes_the_same_of_them(backend: str, tmp_path: Path) -> None:
    nodes = drawn(ending_well=True)
    assert len(nodes) == WORKFLOWS
    assert not compared(nodes, backend.format(tmp_path))


def test_it_comes_to_the_same_states_with_failures_and_replaced_tasks(tmp_path: Path) -> None:
    """With the shared backend: with its own, Celery waits without end for much of what follows a failed chord."""
    nodes = drawn(ending_well=False)
    assert len(nodes) == WORKFLOWS
    assert any(shown(evaluate(node)) == "failed" for node in nodes)
    assert not compared(nodes, SHARED.format(tmp_path))
