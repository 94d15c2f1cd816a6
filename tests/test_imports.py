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

IMPORT_BUDGET = 360
"""The modules that ``import taskq_cloud`` may add to Python's own. Measured: 346 on Python 3.11, of which some 75 are
pydantic's and 73 are this package's."""

ENQUEUE_BUDGET = 400
"""The modules that a process may import to send one message to SQS. Measured: 382."""

SDK_BUDGET = 550
"""The modules that a process may import to send one message to SQS by the SDK. Measured: 500 with botocore 1.43."""

SDKS = ("boto3", "botocore", "aiobotocore", "aiohttp", "s3transfer", "celery", "kombu", "google", "azure", "click")

REPORT = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
before = set(sys.modules)
{code}
import json
print(json.dumps({{"modules": sorted(set(sys.modules) - before), "opened": opened}}))
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


def test_package_imports_no_sdk(tmp_path: Path) -> None:
    modules = report_of("import taskq_cloud", tmp_path)["modules"]
    assert "taskq_cloud.app" in modules
    assert not roots(modules) & set(SDKS)
    assert not [module for module in modules if module.startswith(("taskq_cloud.worker", "taskq_cloud.serverless"))]
    assert len(modules) <= IMPORT_BUDGET, f"{len(modules)} modules; the budget is {IMPORT_BUDGET}"


def test_declared_task_imports_no_adapter(tmp_path: Path) -> None:
    code = """
from taskq_cloud import TaskQ
app = TaskQ("shop", broker="sqs://eu-west-1/shop-", results="dynamodb://shop-results")
@app.task
def add(a, b): return a + b
"""
    modules = report_of(code, tmp_path)["modules"]
    assert not roots(modules) & set(SDKS)
    adapters = {"taskq_cloud.brokers.registry", "taskq_cloud.stores.results", "taskq_cloud.stores.results.registry"}
    own = [module for module in modules if module.startswith(("taskq_cloud.brokers.", "taskq_cloud.stores."))]
    assert set(own) == adapters


def test_call_on_one_machine_imports_no_sdk(tmp_path: Path) -> None:
    code = """
from taskq_cloud import TaskQ
app = TaskQ("shop")
@app.task(name="add")
def add(a, b): return a + b
add.delay(1, 2)
app.close()
"""
    assert not roots(report_of(code, tmp_path)["modules"]) & set(SDKS)
    assert (tmp_path / ".taskq" / "broker.db").exists()


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
    assert not roots(modules) & {*SDKS, "urllib3"}
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
