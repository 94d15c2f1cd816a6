"""``taskq doctor`` is silent after a clean apply, and loud after each change by hand.

The examples ``complete``, ``minimal`` and ``environments`` are applied to a local AWS stack with the real provider,
each in an account of its own, so that the doctor reads policies and alarms as Terraform writes them. ``test_applied``
asks the doctor about the example ``localstack``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from emulators import aws as stacks
from tests.infra import configuration
from tests.infra.commands import diagnose
from tests.infra.terraform import INFRA, WRAPPERS, copy_of, with_providers

ENVIRONMENTS = ("staging", "production")
ACCOUNTS = {"complete": "123456789012", "minimal": "333333333333", "staging": "111111111111"}
ACCOUNTS["production"] = "222222222222"
"""Deployment -> its account. On the stack, an access key of twelve digits is the account of its resources."""

LOCAL_PROVIDER = """
provider "aws" {
  region                      = local.declared.region
  access_key                  = %s
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  %s
}
"""


WITH_ALIAS = """
module "taskq" {
  function = { alias = {} }
}
"""
"""An input of the module, with which messages reach a published version."""


def applied(tmp_path: Path) -> Path:
    """Apply all deployments at once, because Terraform and the stack take seconds for each start and queue."""
    root = copy_of(INFRA, tmp_path)
    # No local stack has Application Auto Scaling.
    (root / "modules" / "container_worker" / "scaling.tf").unlink()
    package = tmp_path / "function.zip"
    package.write_bytes(b"PK\x05\x06" + b"\0" * 18)
    function = {"package_filename": str(package)}
    containers = {"image": "shop:1", "network": {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}}
    given: dict[str, dict[str, Any]] = {
        "complete": {**function, **containers, "layer_filename": str(package), "alarm_email": "shop@example.com"},
        "minimal": function,
    }
    for name in ENVIRONMENTS:
        given[name] = {**function, **configuration.values(root / "examples" / "environments" / f"{name}.tfvars")}
    for name in ("complete", "minimal"):
        (folder_of(root, name) / "main_override.tf").write_text(LOCAL_PROVIDER % (json.dumps(ACCOUNTS[name]), ""))
    guard = "allowed_account_ids = [var.account_id]"
    (folder_of(root, "staging") / "main_override.tf").write_text(LOCAL_PROVIDER % ("var.account_id", guard))
    with (folder_of(root, "minimal") / "main_override.tf").open("a") as override:
        override.write(WITH_ALIAS)
    modules = {name: {"source": f"./{folder_of(root, name).relative_to(root)}", **given[name]} for name in ACCOUNTS}
    (root / "main.tf.json").write_text(json.dumps({"module": modules}))
    terraform = with_providers("real", tmp_path / "data")
    terraform.init(root)
    terraform.apply(root, "-parallelism=30")
    return root


def folder_of(root: Path, deployment: str) -> Path:
    """Return the folder of the example that a deployment is of."""
    return root / "examples" / ("environments" if deployment in ENVIRONMENTS else deployment)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_doctor_after_clean_apply_of_examples_is_silent_until_something_changes(
    own_stack: stacks.Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not (WRAPPERS / "real").exists():
        pytest.skip("the AWS provider is not installed")
    for name, value in stacks.environment(own_stack.endpoint_url).items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith("TASKQ_")]:
        monkeypatch.delenv(name)
    root = applied(tmp_path)
    for name, account in ACCOUNTS.items():
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", account)
        monkeypatch.setenv("TASKQ_ENV_FILE", f"{name}.env" if name in ENVIRONMENTS else "")
        assert diagnose(folder_of(root, name), "scaling") == [], name

    monkeypatch.delenv("TASKQ_ENV_FILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNTS["minimal"])
    invoke_newest_code()
    (found,) = diagnose(folder_of(root, "minimal"))
    assert found == "mapping.alias function shop-orders: it invokes $LATEST, and not the alias live"

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNTS["complete"])
    change_by_hand()
    assert diagnose(folder_of(root, "complete"), "scaling") == [
        "alarm.actions alarm shop-mail.fifo-age: its actions are turned off",
        (
            "alarm.filter log group /taskq/shop-worker: no metric filter counts its failed tasks as the metric"
            " shop-worker-failed-tasks"
        ),
        "alarm.topic topic shop-alarms: its key alias/aws/sns can't be used by cloudwatch.amazonaws.com",
        # A value above the least that is safe is drift, too.
        "function.memory function shop-orders: it has 2048 MiB of memory; 1024 MiB are declared",
        "logs.retention log group /aws/lambda/shop-orders: it keeps its logs without end",
    ]


def client(service: str) -> Any:
    """Open a client in the account of the environment."""
    from botocore.session import Session  # an optional requirement: without it, the tests without AWS still run

    return Session().create_client(service, region_name="eu-west-1")


def invoke_newest_code() -> None:
    """Let the only event source mapping of an account pass by the alias."""
    functions = client("lambda")
    (mapping,) = functions.list_event_source_mappings()["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], FunctionName="shop-orders")


def change_by_hand() -> None:
    """Change the deployment of the example ``complete`` as people do in a hurry."""
    client("lambda").update_function_configuration(FunctionName="shop-orders", MemorySize=2048)
    client("cloudwatch").disable_alarm_actions(AlarmNames=["shop-mail.fifo-age"])
    logs = client("logs")
    logs.delete_metric_filter(logGroupName="/taskq/shop-worker", filterName="shop-worker-failed-tasks")
    logs.delete_retention_policy(logGroupName="/aws/lambda/shop-orders")
    topic = f"arn:aws:sns:eu-west-1:{ACCOUNTS['complete']}:shop-alarms"
    client("sns").set_topic_attributes(TopicArn=topic, AttributeName="KmsMasterKeyId", AttributeValue="alias/aws/sns")
