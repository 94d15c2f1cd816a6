"""Tests of ``recorded_calls``: the permissions of a call, calls that no policy allows, and the run that they fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taskq_cloud.core.flows import Call
from tests.permissions import Used
from tests.recorded_calls import ANYONE, FUNCTION, OPERATOR, WORKER, not_allowed, used_by

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("call", "used"),
    [
        (
            Call("sqs", "send_message_batch", {"QueueUrl": "https://sqs/1/a-dead.fifo"}),
            {Used("sqs:SendMessage", "sqs:shop-work-dead")},
        ),
        (Call("sqs", "get_queue_url", {"QueueName": "a"}), {Used("sqs:GetQueueUrl", "sqs:shop-work")}),
        (Call("dynamodb", "batch_get_item"), {Used("dynamodb:BatchGetItem", "dynamodb:table/shop-results")}),
        (Call("s3", "list_objects_v2", {"Bucket": "b"}), {Used("s3:ListBucket", "s3:shop-data")}),
        (Call("s3", "get_object", {"Bucket": "b", "Key": "k"}), {Used("s3:GetObject", "s3:shop-data/live/key")}),
        (
            Call("scheduler", "create_schedule", {"Target": {}}),
            {Used("scheduler:CreateSchedule", "scheduler:schedule/shop/name"), Used("iam:PassRole", "iam:role/sender")},
        ),
    ],
    ids=lambda value: value.operation if isinstance(value, Call) else "",
)
def test_call_takes_the_permissions_of_its_operation(call: Call, used: set[Used]) -> None:
    assert set(used_by(call)) == used


@pytest.mark.parametrize(
    ("who", "action", "resource"),
    [
        (ANYONE, "sqs:TagQueue", "sqs:shop-work"),
        (ANYONE, "dynamodb:Scan", "dynamodb:table/shop-results"),
        (WORKER, "scheduler:DeleteSchedule", "scheduler:schedule/shop/once.1.0.2"),
        (WORKER, "scheduler:CreateSchedule", "scheduler:schedule/shop/beat.shop-1.nightly-2.0"),
        # Lambda's pollers make this call in the function's name; the function itself must not.
        (FUNCTION, "sqs:ReceiveMessage", "sqs:shop-work"),
        (OPERATOR, "sqs:DeleteQueue", "sqs:shop-work"),
    ],
)
def test_call_that_no_policy_allows_is_named(who: str, action: str, resource: str) -> None:
    (line,) = not_allowed([(who, action, resource)])
    assert line.startswith(f"{who}: {action} of {resource} ")


@pytest.mark.parametrize(
    ("who", "action", "resource"),
    [
        (WORKER, "sqs:ReceiveMessage", "sqs:shop-work"),
        (FUNCTION, "sqs:ChangeMessageVisibility", "sqs:shop-work"),
        (ANYONE, "scheduler:DeleteSchedule", "scheduler:schedule/shop/once.1.0.2"),
        (ANYONE, "sqs:PurgeQueue", "sqs:shop-work"),
        (OPERATOR, "sqs:CreateQueue", "sqs:shop-work"),
        (OPERATOR, "iam:GetRole", "iam:any"),
    ],
)
def test_allowed_call_is_not_reported(who: str, action: str, resource: str) -> None:
    assert not_allowed([(who, action, resource)]) == []


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "code"), [("tag_queue", 1), ("send_message_batch", 0)])
def test_forbidden_call_in_one_of_several_processes_fails_the_run(tmp_path: Path, operation: str, code: int) -> None:
    test = tmp_path / "test_calls.py"
    test.write_text(
        "from unittest.mock import Mock\n"
        "from taskq_cloud.clients.aws import AWSClient\n"
        "from taskq_cloud.clients.aws_sdk import BotocoreClient\n"
        "from taskq_cloud.core.flows import Call\n"
        "def test_call():\n"
        f"    AWSClient(None, sdk=BotocoreClient(Mock(**{{'{operation}.return_value': {{}}}}))).call(\n"
        f"        Call('sqs', '{operation}', {{'QueueUrl': 'https://sqs/1/work'}}))\n"
    )
    command = ["-p", "tests.recorded_calls", "-p", "no:cacheprovider", "-n", "2", "-c", ROOT / "pyproject.toml", test]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("anyone: sqs:TagQueue of sqs:shop-work" in done.stdout) is bool(code)
