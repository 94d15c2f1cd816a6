"""After a change in the code of an application, the plan changes the dependent resources only, and replaces none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.deploy.topology.formats import tfvars
from tests.infra.terraform import INFRA, Terraform, changes, copy_of, planned, with_providers

ACCOUNT = "123456789012"
NIGHTLY = {"nightly": {"task": "shop.charge", "schedule": "0 3 * * *", "args": [1]}}
HOURLY = {"hourly": {"task": "shop.charge", "schedule": "1h", "args": [2]}}
NEW = (
    'module.function["mail"].aws_cloudwatch_log_group.this',
    'module.function["mail"].aws_lambda_event_source_mapping.this',
    'module.function["mail"].aws_lambda_function.this',
    'module.function["mail"].aws_lambda_function_recursion_config.this',
    'module.observability[0].aws_cloudwatch_log_metric_filter.failed_tasks["shop-mail"]',
    'module.observability[0].aws_cloudwatch_metric_alarm.dead_letters["mail"]',
    'module.observability[0].aws_cloudwatch_metric_alarm.failed_tasks["shop-mail"]',
    'module.observability[0].aws_cloudwatch_metric_alarm.function["shop-mail-errors"]',
    'module.observability[0].aws_cloudwatch_metric_alarm.function["shop-mail-recursiveinvocationsdropped"]',
    'module.observability[0].aws_cloudwatch_metric_alarm.function["shop-mail-throttles"]',
    'module.observability[0].aws_cloudwatch_metric_alarm.oldest_message["mail"]',
    'module.queue["mail"].aws_sqs_queue.dead_letter',
    'module.queue["mail"].aws_sqs_queue.this',
    'module.queue["mail"].aws_sqs_queue_redrive_allow_policy.dead_letter[0]',
    'module.role["shop-mail-function"].aws_iam_role.this[0]',
    'module.role["shop-mail-function"].aws_iam_role_policy.this[0]',
    'terraform_data.queue["mail"]',
)
"""Addresses of all resources of a new queue that a function serves."""

RECORD = 'module.shop.terraform_data.queue["mail"]'
WARNING = "Destroying shop-mail and shop-mail-dead deletes their messages. Drain them first: taskq drain -Q mail"


def declared(*, limit: float = 30, queue: str | None = None, entries: dict[str, Any] = NIGHTLY) -> dict[str, Any]:
    """Return the declaration of a shop.

    Args:
        limit: the time limit of the task ``shop.charge`` in seconds.
        queue: the queue of an additional task, if any.
        entries: the periodic tasks.
    """
    app = TaskQ(
        "shop",
        broker="sqs://eu-west-1/shop-",
        results="dynamodb://shop-results",
        task_default_queue="orders",
        scheduler=f"eventbridge://shop?role=arn:aws:iam::{ACCOUNT}:role/shop-scheduler",
        beat_schedule=entries,
        deployment={"schedules": "terraform"},
    )
    app.task(name="shop.charge", time_limit=limit)(len)
    app.task(name="shop.build_report", queue="reports", time_limit=3600)(len)
    if queue is not None:
        app.task(name="shop.notify", queue=queue, time_limit=10)(len)
    return tfvars.variables(app.topology(app_path="shop:app"))


def initialised(tmp_path: Path, shops: dict[str, dict[str, Any]]) -> tuple[Terraform, Path]:
    """Initialise a configuration of several shops. Return Terraform, and the folder of the configuration."""
    root = copy_of(INFRA, tmp_path)
    (root / "function.zip").write_bytes(b"an archive")
    declare(root, shops)
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(root)
    return terraform, root


def declare(root: Path, shops: dict[str, dict[str, Any]], **more: Any) -> None:
    """Write a configuration of several shops, so that one plan shows the changes of each; all have ``more`` inputs."""
    deployment = {
        "source": "./modules/taskq",
        "package": {"filename": str(root / "function.zip")},
        "image": "shop:1",
        "network": {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]},
        **more,
    }
    modules = {name: {**deployment, "declared": escaped(shop)} for name, shop in shops.items()}
    (root / "main.tf.json").write_text(json.dumps({"provider": {"aws": {}}, "module": modules}))


def escaped(value: Any) -> Any:
    """Escape template markers, which Terraform expands in a JSON configuration and not in a decoded JSON file."""
    return json.loads(re.sub(r"([$%])\{", r"\1\1{", json.dumps(value)))


@pytest.mark.slow
def test_plan_after_code_change_contains_only_its_consequences(tmp_path: Path) -> None:
    names = ("unchanged", "new_queue", "longer_limit", "new_schedule")
    terraform, root = initialised(tmp_path, dict.fromkeys(names, declared()))
    terraform.apply(root)

    after = (declared(), declared(queue="mail"), declared(limit=200), declared(entries=NIGHTLY | HOURLY))
    declare(root, dict(zip(names, after, strict=True)))
    plan = terraform.plan(root)
    found: dict[str, dict[str, list[str]]] = {name: {} for name in names}
    for address, actions in changes(plan).items():
        _, name, rest = address.split(".", 2)
        found[name][rest] = actions
    assert found == {
        "unchanged": {},
        "new_queue": {
            **{address: ["create"] for address in NEW},
            "module.observability[0].aws_cloudwatch_dashboard.this[0]": ["update"],
            "module.schedules[0].aws_iam_role_policy.this": ["update"],
        },
        "longer_limit": {
            'module.function["orders"].aws_lambda_event_source_mapping.this': ["update"],
            'module.function["orders"].aws_lambda_function.this': ["update"],
            'module.queue["orders"].aws_sqs_queue.this': ["update"],
        },
        "new_schedule": {
            f'module.schedules[0].aws_scheduler_schedule.this["{name_of("hourly", after[3])}"]': ["create"]
        },
    }
    assert updates(plan, "module.longer_limit.") == {
        'module.function["orders"].aws_lambda_event_source_mapping.this': {"batch_size": (4, 1)},
        'module.function["orders"].aws_lambda_function.this': {"timeout": (123, 203)},
        'module.queue["orders"].aws_sqs_queue.this': {"visibility_timeout_seconds": (738, 1218)},
    }
    # The stand-in provider renders all policy documents as one constant text: compare the declared roles instead.
    before = declared()["roles"]
    assert {name for name, role in after[1]["roles"].items() if role != before.get(name)} == {
        "shop-applier",  # looks up all queues
        "shop-mail-function",
        "shop-orders-function",  # its tasks may call tasks of the new queue
        "shop-producer",
        "shop-worker-service",
    }
    assert after[2]["roles"] == after[3]["roles"] == before


@pytest.mark.slow
def test_dropped_queue_is_destroyed_only_after_its_protection_was_taken_off(tmp_path: Path) -> None:
    before, after = declared(queue="mail"), declared(queue="mail.fifo")
    terraform, root = initialised(tmp_path, {"shop": before})
    terraform.apply(root)

    declare(root, {"shop": after})
    plan = terraform.plan(root)
    (record,) = (each for each in plan["resource_changes"] if each["address"] == RECORD)
    assert record["change"]["actions"] == ["delete"]
    assert record["change"]["before"]["input"]["warning"] == WARNING
    refused = terraform.apply(root, check=False)
    assert refused.returncode == 1
    said = " ".join(refused.stderr.replace("│", " ").split())
    assert f"{WARNING}. Then apply with the queue in unprotected_queues, or with deletion_protection = false." in said
    kept = set(terraform.run(root, "state", "list").stdout.splitlines())
    assert {RECORD, *(f"module.shop.{each}" for each in NEW)} <= kept

    declare(root, {"shop": before}, unprotected_queues=["mail"])
    terraform.apply(root)
    declare(root, {"shop": after}, unprotected_queues=["mail"])
    terraform.apply(root)
    assert RECORD not in terraform.run(root, "state", "list").stdout


def name_of(entry: str, variables: dict[str, Any]) -> str:
    """Return the name of the schedule that an entry of ``beat_schedule`` becomes."""
    names: dict[str, Any] = variables["schedules"]
    (name,) = (name for name in names if f".{entry}-" in name)
    return name


def updates(plan: dict[str, Any], prefix: str) -> dict[str, dict[str, Any]]:
    """Return the attributes that updates change, before and after, by address without the prefix."""
    found = {}
    for each in plan["resource_changes"]:
        before, after = each["change"]["before"], each["change"]["after"]
        if each["address"].startswith(prefix) and each["change"]["actions"] == ["update"]:
            different = {key: (before[key], after[key]) for key in after if before[key] != after[key]}
            found[each["address"].removeprefix(prefix)] = different
    return found


KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/shop"
ENCRYPTED = {
    "aws_cloudwatch_log_group": lambda values: values["kms_key_id"],
    "aws_dynamodb_table": lambda values: values["server_side_encryption"][0]["kms_key_arn"],
    "aws_lambda_function": lambda values: values["kms_key_arn"],
    "aws_scheduler_schedule": lambda values: values["kms_key_arn"],
    "aws_sqs_queue": lambda values: values["kms_master_key_id"],
}
"""Type of each resource that keeps data -> the key that encrypts it."""


@pytest.mark.slow
def test_own_key_encrypts_every_resource_that_keeps_data(tmp_path: Path) -> None:
    terraform, root = initialised(tmp_path, {"shop": {**declared(), "kms_key_arn": KEY}})
    resources = planned(terraform.plan(root))
    keys = {
        address: ENCRYPTED[each["type"]](each["values"])
        for address, each in resources.items()
        if each["type"] in ENCRYPTED
    }
    assert {resources[address]["type"] for address in keys} == ENCRYPTED.keys()
    assert {address: key for address, key in keys.items() if key != KEY} == {}
