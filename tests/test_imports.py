"""Tests of which modules a process imports, because a Lambda function pays for every module at each cold start.

They count modules, which repeat exactly, and not seconds. Each test counts in a process of its own, in which the test
run has imported nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

IMPORT_BUDGET = 65
"""The modules that importing the package and declaring a task may add to Python's own: 55 on Python 3.11, of which 23
are this package's. The goal is 150."""

FIRST_CALL_BUDGET = 165
"""The modules that a process may import for its first ``delay``: 149 on a memory broker, 156 on SQLite."""

SQS_BUDGET = 150
"""The modules that a process may import for its first ``delay`` on SQS, apart from its client's: 140. The goal is 220
with the client's."""

ENQUEUE_BUDGET = 220
"""The modules that a process may import to send one message to SQS, with the client: 170. The goal is 220."""

SDK_BUDGET = 445
"""The modules that a process may import to send one message to SQS by the SDK: 432 with botocore 1.43."""

NOT_FOR_A_CALL = (
    "asyncio",
    "pydantic",
    "pydantic_settings",
    "concurrent",
    "dataclasses",
    "inspect",
    "logging",
    "email",
)
"""What a first ``delay`` doesn't import; a client may need some of it."""

SDKS = ("boto3", "botocore", "aiobotocore", "aiohttp", "s3transfer", "celery", "kombu", "google", "azure", "click")

REPORT = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
before = set(sys.modules)
{code}
modules = sorted(set(sys.modules) - before)
import json
print(json.dumps({{"modules": modules, "opened": opened}}))
"""


def report_of(code: str, tmp_path: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Run code in a new process, and return the modules that it has imported and the files that it has opened."""
    ran = subprocess.run(
        [sys.executable, "-c", REPORT.format(code=code)],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return report


def roots(modules: list[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


DECLARED = """
from taskq_cloud import TaskQ
app = TaskQ("shop", broker={broker!r}, results={results!r})
@app.task(name="add", queue="work")
def add(a, b): return a + b
"""

CANNED_SQS = """
import types
class Client:
    def call(self, call):
        if call.operation == "get_queue_url":
            return {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/work"}
        assert call.operation == "send_message_batch", call
        sent.extend(call.parameters["Entries"])
        return {"Successful": [{"Id": each["Id"], "MessageId": "m"} for each in call.parameters["Entries"]]}
    def close(self): pass
sent = []
stub = sys.modules["taskq_cloud.clients.aws"] = types.ModuleType("taskq_cloud.clients.aws")
stub.open_client = lambda service, options: Client()
"""
"""Stands for the client of SQS, whose own imports are not counted."""


def test_package_and_declared_task_import_no_adapter_and_no_sdk(tmp_path: Path) -> None:
    code = DECLARED.format(broker="sqs://eu-west-1/shop-", results="dynamodb://shop-results")
    modules = report_of(code, tmp_path)["modules"]
    assert "taskq_cloud.app" in modules
    assert not roots(modules) & {*SDKS, *NOT_FOR_A_CALL, "uuid", "urllib", "json"}
    rooms = {".".join(module.split(".")[:2]) for module in modules if module.startswith("taskq_cloud.")}
    assert not rooms & {f"taskq_cloud.{room}" for room in ("brokers", "clients", "stores", "worker", "serverless")}
    assert len(modules) <= IMPORT_BUDGET, f"{len(modules)} modules; the budget is {IMPORT_BUDGET}"


def test_logger_is_there_for_who_configures_the_registered_ones(tmp_path: Path) -> None:
    code = "import logging, taskq_cloud\nassert 'taskq_cloud' in logging.root.manager.loggerDict"
    report_of(code, tmp_path)


def test_every_public_name_is_imported_when_it_is_asked_for(tmp_path: Path) -> None:
    code = """
import taskq_cloud
assert not [module for module in sys.modules if module.startswith("taskq_cloud.") and "errors" not in module]
assert {*taskq_cloud.__all__} <= {*dir(taskq_cloud)}
for name in taskq_cloud.__all__:
    assert getattr(taskq_cloud, name) is getattr(taskq_cloud, name), name
try:
    taskq_cloud.no_such_name
except AttributeError as error:
    assert str(error) == "module 'taskq_cloud' has no attribute 'no_such_name'", error
else:
    raise AssertionError
"""
    report_of(code, tmp_path)


@pytest.mark.parametrize(("broker", "results"), [("memory://", "disabled://"), ("sqlite:///b.db", "sqlite:///r.db")])
def test_first_call_on_one_machine_imports_no_sdk(broker: str, results: str, tmp_path: Path) -> None:
    code = DECLARED.format(broker=broker, results=results) + "add.delay(1, 2)\napp.close()"
    modules = report_of(code, tmp_path)["modules"]
    allowed = {"dataclasses", "inspect"} if broker == "memory://" else {"logging"}
    assert not roots(modules) & ({*SDKS, *NOT_FOR_A_CALL} - allowed)
    assert len(modules) <= FIRST_CALL_BUDGET, f"{len(modules)} modules; the budget is {FIRST_CALL_BUDGET}"
    assert (tmp_path / "b.db").exists() == (broker != "memory://")


def test_first_call_on_sqs_imports_little_beside_its_client(tmp_path: Path) -> None:
    declared = DECLARED.format(broker="sqs://eu-west-1/", results="dynamodb://shop-results")
    code = f"{CANNED_SQS}{declared}add.delay(1, 2)\nassert len(sent) == 1\napp.close()"
    modules = report_of(code, tmp_path)["modules"]
    assert not roots(modules) & {*SDKS, *NOT_FOR_A_CALL}
    assert len(modules) <= SQS_BUDGET, f"{len(modules)} modules; the budget is {SQS_BUDGET}"


def test_wrong_arguments_of_a_first_call_are_still_explained(tmp_path: Path) -> None:
    code = (
        DECLARED.format(broker="memory://", results="disabled://")
        + """
try:
    add.delay(1)
except TypeError as error:
    assert str(error) == "task add(a, b): missing a required argument: 'b'", error
else:
    raise AssertionError
"""
    )
    report_of(code, tmp_path)


def _call_on_sqs(queue: str) -> str:
    return f"""
from taskq_cloud import TaskQ
scheduler = "eventbridge://shop?role=arn:aws:iam::123456789012:role/shop"
app = TaskQ("shop", broker="sqs://eu-west-1/", results="dynamodb://no-such-table", scheduler=scheduler)
@app.task(name="add", queue={queue!r})
def add(a, b): return a + b
add.delay(1, 2)
app.close()
"""


def test_call_on_sqs_imports_no_sdk(
    tmp_path: Path, aws_environment: dict[str, str], make_queue: Callable[..., str]
) -> None:
    modules = report_of(_call_on_sqs(make_queue("imports")), tmp_path, {**os.environ, **aws_environment})["modules"]
    assert not roots(modules) & {*SDKS, "urllib3", "asyncio", "pydantic", "dataclasses"}
    assert len(modules) <= ENQUEUE_BUDGET, f"{len(modules)} modules; the budget is {ENQUEUE_BUDGET}"


def test_call_on_sqs_by_the_sdk_reads_only_the_sqs_description_of_botocore(
    tmp_path: Path, aws_environment: dict[str, str], make_queue: Callable[..., str]
) -> None:
    variables = {**os.environ, **aws_environment, "TASKQ_AWS_LEAN_CLIENT": "false"}
    report = report_of(_call_on_sqs(make_queue("imports")), tmp_path, variables)
    modules = report["modules"]
    assert "botocore" in roots(modules)
    assert not roots(modules) & (set(SDKS) - {"botocore"})
    assert len(modules) <= SDK_BUDGET, f"{len(modules)} modules; the budget is {SDK_BUDGET}"
    data = [path.partition("/botocore/data/")[2] for path in report["opened"] if "/botocore/data/" in path]
    services = {path.partition("/")[0] for path in data if "/" in path}
    assert services == {"sqs"}, "botocore reads and parses the whole description of every service that is used"
