"""The example ``localstack`` is applied to a local AWS stack with the real provider, used, changed and destroyed.

The change renames a queue as docs/terraform.md describes it. ``taskq doctor`` looks at each state of the deployment.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emulators import aws as stacks
from taskq_cloud import TaskQ
from taskq_cloud.core.schedules.ticks import tick_id
from taskq_cloud.testing.waiting import until
from tests.infra.commands import command, diagnose, topology_of
from tests.infra.terraform import INFRA, changes, copy_of, with_providers

TIMEOUT_SECONDS = 60
MINUTE = timedelta(minutes=1)
DRIFT: set[str] = set()
"""Addresses of resources that the stack describes differently from their configuration."""


RENAMED = {
    'task_default_queue="orders"': 'task_default_queue="payments"',
    'deployment={"schedules": "terraform"}': (
        'deployment={"schedules": "terraform", "retired_queues": {"orders": "payments"}}'
    ),
}
"""What changes in the code of the example when its queue gets another name, and the old one is still served."""

DROPPED = {', "retired_queues": {"orders": "payments"}': ""}


def package(folder: Path, output: Path) -> Path:
    """Make the archive of the application in a folder."""
    source = output / "source"
    source.mkdir(parents=True)
    shutil.copy(folder / "shop.py", source)
    subprocess.run(command("package", "-o", str(output)), cwd=source, check=True, capture_output=True)
    return output / "function.zip"


def change(folder: Path, replacements: dict[str, str]) -> None:
    """Change the code of the application in a folder, and write its declaration again."""
    code = (folder / "shop.py").read_text()
    for before, after in replacements.items():
        assert before in code
        code = code.replace(before, after)
    (folder / "shop.py").write_text(code)
    (folder / "taskq.tfvars.json").write_text(json.dumps(topology_of(folder)))


def wait_for_mapping(functions: Any, mapping: str) -> None:
    until(
        lambda: functions.get_event_source_mapping(UUID=mapping)["State"] == "Enabled",
        "the event source mapping to be enabled",
        TIMEOUT_SECONDS,
    )


def existing_resources(make_aws_client: Callable[[str, str], Any], endpoint_url: str) -> dict[str, set[str]]:
    """Return the names of all resources on the stack, by kind, for every kind that the example makes."""
    names = ("dynamodb", "iam", "lambda", "logs", "scheduler", "sqs")
    dynamodb, iam, functions, logs, scheduler, sqs = (make_aws_client(name, endpoint_url) for name in names)
    roles = [each["RoleName"] for each in iam.list_roles()["Roles"]]
    return {
        "event source mappings": {
            each["UUID"] for each in functions.list_event_source_mappings()["EventSourceMappings"]
        },
        "functions": {each["FunctionName"] for each in functions.list_functions()["Functions"]},
        "log groups": {each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]},
        "policies": {each["PolicyName"] for each in iam.list_policies(Scope="Local")["Policies"]},
        "policies of roles": {name for role in roles for name in iam.list_role_policies(RoleName=role)["PolicyNames"]},
        "queues": set(sqs.list_queues().get("QueueUrls", [])),
        "roles": set(roles),
        "schedule groups": {each["Name"] for each in scheduler.list_schedule_groups()["ScheduleGroups"]},
        "schedules": {each["Name"] for each in scheduler.list_schedules()["Schedules"]},
        "tables": set(dynamodb.list_tables()["TableNames"]),
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_applied_example_runs_tasks_through_change_and_destroy_leaves_nothing(
    applied_stack: stacks.Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_aws_client: Callable[[str, str], Any],
) -> None:
    folder = copy_of(INFRA / "examples" / "localstack", tmp_path)
    terraform = with_providers("real", tmp_path / "data")
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    stack = {"endpoint_url": applied_stack.endpoint_url, "runtime": runtime}
    archive = package(folder, tmp_path / "first")
    variables = [f"-var={name}={value}" for name, value in {**stack, "package_filename": archive}.items()]
    terraform.init(folder)
    before = existing_resources(make_aws_client, applied_stack.endpoint_url)
    terraform.apply(folder, *variables)
    made = existing_resources(make_aws_client, applied_stack.endpoint_url)
    assert {kind for kind, names in made.items() if names > before[kind]} == made.keys()
    outputs = json.loads(terraform.run(folder, "output", "-json").stdout)

    for name, value in outputs["environment"]["value"].items():
        monkeypatch.setenv(name, value)
    wait_for_mapping(
        make_aws_client("lambda", applied_stack.endpoint_url), outputs["event_source_mapping_ids"]["value"]["orders"]
    )
    caller = TaskQ("caller")
    try:
        assert (
            caller.send_task("shop.charge", [4711], queue="orders").get(timeout=TIMEOUT_SECONDS) == "order 4711 is paid"
        )
        assert changes(terraform.plan(folder, *variables)).keys() <= DRIFT
        assert diagnose(folder) == []

        change(folder, RENAMED)
        archive = package(folder, tmp_path / "second")
        variables = [f"-var={name}={value}" for name, value in {**stack, "package_filename": archive}.items()]
        terraform.apply(folder, *variables)
        next_minute = datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE
        assert diagnose(folder) == []
        # The schedule is due within the minute for which nothing may be left in the old queue.
        draining = subprocess.Popen(command("drain", "-Q", "orders"), cwd=folder, stdout=subprocess.PIPE)
        assert caller.send_task("shop.charge", [42], queue="orders").get(timeout=TIMEOUT_SECONDS) == "order 42 is paid"
        counted = caller.AsyncResult(tick_id("shop", "shop.count", next_minute))
        assert counted.get(timeout=TIMEOUT_SECONDS + MINUTE.seconds) == "all orders are counted"
        output, _ = draining.communicate(timeout=2 * TIMEOUT_SECONDS)
        assert (draining.returncode, output.decode()) == (0, "orders: empty\n")
    finally:
        caller.close()

    change(folder, DROPPED)
    # The roles may still use both queues, which is what the next apply changes.
    assert [each.partition(":")[0] for each in diagnose(folder, "roles")] == [
        "queue.undeclared queue shop-orders",
        "queue.undeclared queue shop-orders-dead",
    ]
    terraform.apply(folder, *variables)
    assert diagnose(folder) == []
    terraform.run(folder, "destroy", "-auto-approve", "-input=false", "-no-color", *variables)
    assert existing_resources(make_aws_client, applied_stack.endpoint_url) == before
