"""Test that a function imports only the standard library and pydantic, and all of it before its first event."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping

FUNCTION = textwrap.dedent(
    """
    import importlib.abc
    import json
    import sys

    BLOCKED = ("aiobotocore", "aiohttp", "boto3", "click", "celery", "kombu", "rich", "ministack")

    class Block(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in BLOCKED:
                raise ImportError(f"{name} is not there in a Lambda function")

    sys.meta_path.insert(0, Block())
    from taskq_cloud import TaskQ

    app = TaskQ("shop", broker=BROKER, results=RESULTS)

    @app.task(name="add")
    def add(a, b):
        return a + b

    handler = app.lambda_handler()
    opened, before = "taskq_cloud.clients.aws" in sys.modules, set(sys.modules)
    answer = handler({"task": "add", "args": [1, 2]}, None)
    assert "botocore" not in sys.modules
    more = sorted(set(sys.modules) - before) if opened else []
    print(json.dumps({"status": answer["status"], "opened": opened, "imported by the first event": more}))
    """
)


def run_function(broker: str, results: str, environment: Mapping[str, str] | None = None) -> str:
    source = FUNCTION.replace("BROKER", repr(broker)).replace("RESULTS", repr(results))
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_function_runs_without_optional_packages() -> None:
    assert run_function("memory://", "memory://") == expected(opened=False)


def expected(*, opened: bool) -> str:
    return json.dumps({"status": "SUCCESS", "opened": opened, "imported by the first event": []})


def test_handler_on_aws_needs_no_sdk_and_opens_nothing_outside_of_lambda(
    aws_environment: dict[str, str], make_table: Callable[..., str]
) -> None:
    table = make_table()
    answer = run_function("sqs://eu-west-1/shop-", f"dynamodb://{table}", aws_environment)
    assert answer == expected(opened=False)


def test_function_on_aws_is_ready_before_its_first_event(
    aws_environment: dict[str, str], make_table: Callable[..., str]
) -> None:
    environment = {**aws_environment, "AWS_LAMBDA_FUNCTION_NAME": "shop"}
    answer = run_function("sqs://eu-west-1/shop-", f"dynamodb://{make_table()}", environment)
    assert answer == expected(opened=True)
