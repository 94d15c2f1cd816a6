"""``taskq beat`` on the local AWS stack: plan, apply, prune, list, pause, resume and run-now."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.schedules import crontab
from tests.cli.conftest import TaskQCommand


@pytest.fixture
def periodic(
    shop: str, tmp_path: Path, aws_environment: Any, make_queue: Any, make_schedule_group: Any, monkeypatch: Any
) -> Any:
    role = "arn:aws:iam::123456789012:role/shop-scheduler"
    monkeypatch.setenv("TASKQ_BROKER", "sqs://eu-west-1/")
    monkeypatch.setenv("TASKQ_SCHEDULER", f"eventbridge://{make_schedule_group()}?role={role}")
    monkeypatch.setenv("TASKQ_TASK_DEFAULT_QUEUE", make_queue("work"))

    def declare(**hours: int) -> str:
        find_app(shop).conf.beat_schedule.clear()
        find_app(shop).conf.beat_schedule.update(
            {
                name: {"task": f"{shop}.add", "schedule": f"0 {hour} * * *", "args": [1, 2]}
                for name, hour in hours.items()
            }
        )
        return shop

    return declare


def test_plan_apply_and_prune_change_schedules_as_declared(periodic: Any, taskq: TaskQCommand) -> None:
    shop = periodic(nightly=3, daily=9)
    planned = taskq("-A", shop, "beat", "plan")
    assert planned.exit_code == 2
    assert "+ nightly  beat.shop-" in planned.stdout
    assert "cron(0 3 * * ? *) UTC" in planned.stdout
    assert planned.stdout.endswith("2 to create\n")

    assert taskq("-A", shop, "beat", "apply", input="n\n").exit_code == 1
    assert taskq("-A", shop, "beat", "plan").exit_code == 2
    applied = taskq("-A", shop, "beat", "apply", "--yes")
    assert applied.exit_code == 0, applied.stderr
    assert "2 changes made" in applied.stderr
    assert (unchanged := taskq("-A", shop, "beat", "plan")).exit_code == 0
    assert unchanged.stdout == "no changes\n"

    periodic(nightly=4)
    changes = {each["entry"]: each for each in json.loads(taskq("-A", shop, "beat", "plan", "--json").stdout)}
    assert {entry: each["action"] for entry, each in changes.items()} == {"nightly": "update", "daily": "prune"}
    assert changes["nightly"]["differences"]["when"] == {"is": "cron(0 3 * * ? *)", "becomes": "cron(0 4 * * ? *)"}
    assert taskq("-A", shop, "beat", "apply", "-y").exit_code == 0
    assert "no longer declared" in taskq("-A", shop, "beat", "plan").stdout
    assert taskq("-A", shop, "beat", "prune", "weekly", "-y").exit_code == 1
    assert taskq("-A", shop, "beat", "prune", "daily", "-y").exit_code == 0
    assert taskq("-A", shop, "beat", "plan").exit_code == 0


def test_plan_names_an_entry_that_has_ended(periodic: Any, taskq: TaskQCommand) -> None:
    shop = periodic(nightly=3)
    find_app(shop).conf.beat_schedule["nightly"]["end"] = "2020-01-01T00:00:00"
    planned = taskq("-A", shop, "beat", "plan")
    assert planned.exit_code == 0
    assert planned.stdout.splitlines() == [
        "  nightly needs no schedule: it ended at 2020-01-01T00:00:00+00:00",
        "no changes",
    ]


def test_apply_on_memory_scheduler_is_refused(shop: str, taskq: TaskQCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_SCHEDULER", "memory://")
    find_app(shop).conf.beat_schedule.update(nightly={"task": f"{shop}.add", "schedule": 60, "args": [1, 2]})
    assert taskq("-A", shop, "beat", "plan").exit_code == 2
    applied = taskq("-A", shop, "beat", "apply", "--yes")
    assert applied.exit_code == 1
    assert "in the memory of this process" in applied.stderr
    assert "made" not in applied.stderr


def test_paused_schedule_stays_paused_until_resumed(periodic: Any, taskq: TaskQCommand) -> None:
    shop = periodic(nightly=3)

    def state() -> Any:
        (row,) = json.loads(taskq("-A", shop, "beat", "list", "--json").stdout)
        return row["state"]

    assert state() is None
    assert "has no schedule on the platform" in taskq("-A", shop, "beat", "pause", "nightly").stderr
    taskq("-A", shop, "beat", "apply", "-y")
    assert taskq("-A", shop, "beat", "pause", "nightly").stdout == "nightly: paused\n"
    assert state() == "paused"
    assert "nightly is paused and stays paused" in taskq("-A", shop, "beat", "apply", "-y").stdout
    assert taskq("-A", shop, "beat", "resume", "nightly").stdout == "nightly: enabled\n"
    assert taskq("-A", shop, "beat", "resume", "nightly").stdout == "nightly: was already enabled\n"
    assert state() == "enabled"
    assert "nightly" in taskq("-A", shop, "beat", "list").stdout.splitlines()[1]
    wrong = taskq("-A", shop, "beat", "pause", "nihgtly")
    assert wrong.exit_code == 1
    assert "the application declares: nightly" in wrong.stderr


def test_run_now_calls_the_task_with_its_declared_arguments(shop: str, taskq: TaskQCommand, tmp_path: Path) -> None:
    with (tmp_path / f"{shop}.py").open("a") as module:
        module.write("\napp.add_periodic_task(3600, add.s(3, 4), name='sum', countdown=60)\n")
    task_id = taskq("-A", shop, "beat", "run-now", "sum").stdout.strip()
    assert taskq("-A", shop, "worker", "--burst", "--pool", "solo").exit_code == 0
    assert json.loads(taskq("-A", shop, "result", task_id, "--json").stdout)["result"] == 7
    assert "TASKQ_SCHEDULER" in taskq("-A", shop, "beat", "plan").stderr


def test_plan_says_when_a_crontab_of_every_hour_pauses(periodic: Any, taskq: TaskQCommand) -> None:
    shop = periodic()
    paris = "Europe/Paris"
    find_app(shop).conf.beat_schedule.update(
        {
            "often": {"task": f"{shop}.add", "schedule": crontab("*/15", timezone=paris), "args": [1, 2]},
            "both": {
                "task": f"{shop}.add",
                "schedule": crontab("*/15", timezone=paris, both_hours=True),
                "args": [1, 2],
            },
            "nightly": {"task": f"{shop}.add", "schedule": crontab(30, 2, timezone=paris), "args": [1, 2]},
        }
    )
    planned = taskq("-A", shop, "beat", "plan").stdout
    assert re.search(
        r"^  often pauses when the clock of Europe/Paris is set back: after 20\d\d-10-\d\dT02:45\+02:00 it "
        r"runs next at 20\d\d-10-\d\dT03:00\+01:00; with "
        r"crontab\(\.\.\., both_hours=True\) it runs in the repeated hour, too$",
        planned,
        re.MULTILINE,
    )
    assert planned.count("pauses") == 1
