"""The example ``localstack``, applied to the local AWS stack with the real provider, used, and destroyed."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.testing import aws_stacks as stacks
from tests.infra.terraform import INFRA, WRAPPERS, copy_of, with_providers

TIMEOUT_SECONDS = 60
DRIFT = set()
"""Resources that the stack shows otherwise than it was told."""


@pytest.fixture
def package(tmp_path):
    """The application, packaged by the command as a user calls it."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(INFRA / "examples" / "localstack" / "shop.py", source)
    output = tmp_path / "dist"
    subprocess.run(
        [sys.executable, "-m", "taskq_cloud", "-A", "shop:app", "package", "-o", str(output)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    return output / "function.zip"


def wait_for_mapping(functions, mapping):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (state := functions.get_event_source_mapping(UUID=mapping)["State"]) != "Enabled":
        assert time.monotonic() < deadline, state
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_is_applied_runs_tasks_and_goes_without_a_trace(
    own_stack, package, tmp_path, monkeypatch, make_aws_client
):
    if not (WRAPPERS / "real").exists() and os.environ.get("TASKQ_TEST_TERRAFORM_APPLY") != "1":
        pytest.skip("no AWS provider is installed here; TASKQ_TEST_TERRAFORM_APPLY=1 fetches it")
    for name, value in stacks.environment(own_stack.endpoint_url).items():
        monkeypatch.setenv(name, value)
    folder = copy_of(INFRA / "examples" / "localstack", tmp_path)
    terraform = with_providers("real", tmp_path / "data")
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    given = {"endpoint_url": own_stack.endpoint_url, "package_filename": str(package), "runtime": runtime}
    variables = [f"-var={name}={value}" for name, value in given.items()]
    terraform.init(folder)
    terraform.run(folder, "apply", "-auto-approve", "-input=false", "-no-color", *variables)
    outputs = json.loads(terraform.run(folder, "output", "-json").stdout)

    for name, value in outputs["environment"]["value"].items():
        monkeypatch.setenv(name, value)
    wait_for_mapping(
        make_aws_client("lambda", own_stack.endpoint_url), outputs["event_source_mapping_ids"]["value"]["orders"]
    )
    caller = TaskQ("caller")
    try:
        assert (
            caller.send_task("shop.charge", [4711], queue="orders").get(timeout=TIMEOUT_SECONDS) == "order 4711 is paid"
        )
    finally:
        caller.close()

    planned = json.loads(plan_json(terraform, folder, tmp_path, variables))
    changed = {each["address"] for each in planned["resource_changes"] if each["change"]["actions"] != ["no-op"]}
    assert changed <= DRIFT

    terraform.run(folder, "destroy", "-auto-approve", "-input=false", "-no-color", *variables)
    sqs, dynamodb = (make_aws_client(name, own_stack.endpoint_url) for name in ("sqs", "dynamodb"))
    assert sqs.list_queues().get("QueueUrls", []) == []
    assert dynamodb.list_tables()["TableNames"] == []
    assert make_aws_client("lambda", own_stack.endpoint_url).list_functions()["Functions"] == []


def plan_json(terraform, folder, tmp_path, variables):
    plan = tmp_path / "again.tfplan"
    terraform.run(folder, "plan", "-input=false", "-no-color", f"-out={plan}", *variables)
    return terraform.run(folder, "show", "-json", str(plan)).stdout
