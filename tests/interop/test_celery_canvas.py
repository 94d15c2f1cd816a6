"""What plain Python makes of a random workflow is what Celery makes of it, written down by us and run by its worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from taskq_cloud.canvas import signature
from tests.workflows import build, evaluate, is_nothing, make_app, workflows

SCRIPT = Path(__file__).with_name("celery_canvas.py")
WORKFLOWS = 20


def drawn() -> list[Any]:
    found: list[Any] = []

    @settings(
        max_examples=8 * WORKFLOWS,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(node=workflows(failing=False).filter(lambda node: "'replaced'" not in repr(node)))
    def collect(node: Any) -> None:
        if node not in found and node[0] != "task" and not differs(node):
            found.append(node)

    collect()
    return found[:: max(1, len(found) // WORKFLOWS)][:WORKFLOWS]


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
        case ("chord", members, body):
            return differs(("group", members)) or differs(body)
    return False


@pytest.mark.parametrize("backend", ["cache+memory://", "taskq+sqlite:////{}/results.db"])
def test_celery_makes_the_same_of_them(backend: str, tmp_path: Path) -> None:
    nodes = drawn()
    assert len(nodes) == WORKFLOWS
    ours = make_app(broker="memory://", results="memory://")
    written = json.dumps([signature(build(ours, node), app=ours).to_dict() for node in nodes])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), backend.format(tmp_path)],
        input=written,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout.splitlines()[-1])
    expected = map(evaluate, nodes)
    assert not [
        (node, value, wanted) for node, value, wanted in zip(nodes, values, expected, strict=True) if value != wanted
    ]
