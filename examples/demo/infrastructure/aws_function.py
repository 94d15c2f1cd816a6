"""The shop's Lambda function: it is created from the shop's code, serves a queue, and its log is saved at the end."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from demo.infrastructure.interface import EXAMPLES, Machine
from emulators.aws import REGION

FUNCTION = "shop-images"
FUNCTION_TIMEOUT_SECONDS = 30


def client(service: str, endpoint_url: str) -> Any:
    """Return a client of one of the stack's services."""
    session: Any = boto3.Session()
    return session.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - local stacks accept any key
        config=Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard"}),
    )


def start_function(machine: Machine, endpoint_url: str, queue_arn: str, environment: Mapping[str, str]) -> None:
    """Create the function, with a queue as its event source.

    Args:
        machine: saves the function's log at the end.
        endpoint_url: the stack's URL.
        queue_arn: the queue's ARN.
        environment: the function's environment variables.
    """
    functions = client("lambda", endpoint_url)
    functions.create_function(
        FunctionName=FUNCTION,
        Runtime="python3.12",
        Role="arn:aws:iam::000000000000:role/shop-images",
        Handler="shop.handler.handler",
        Code={"ZipFile": _shop_as_zip()},
        Timeout=FUNCTION_TIMEOUT_SECONDS,
        MemorySize=512,
        Environment={"Variables": dict(environment)},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=FUNCTION, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    machine.cleanup.callback(_keep_log, machine, endpoint_url)
    functions.create_event_source_mapping(
        EventSourceArn=queue_arn,
        FunctionName=FUNCTION,
        BatchSize=10,
        # Without this, Lambda deletes all messages of a batch, even those that the handler reports as failed.
        FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 2},
    )


def _shop_as_zip() -> bytes:
    """Return the function's code: only the shop, because local functions can import the packages installed here."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((EXAMPLES / "shop").glob("*.py")):
            file.write(path, path.relative_to(EXAMPLES))
    return archive.getvalue()


def _keep_log(machine: Machine, endpoint_url: str) -> None:
    try:
        log = _log(endpoint_url)
    except (BotoCoreError, ClientError) as error:
        log = f"the function's log doesn't exist or can't be read: {error}\n"
    (machine.folder / "lambda.log").write_text(log)


def _log(endpoint_url: str) -> str:
    """Return the log lines of all invocations, from CloudWatch Logs."""
    pages = client("logs", endpoint_url).get_paginator("filter_log_events")
    events = [event for page in pages.paginate(logGroupName=f"/aws/lambda/{FUNCTION}") for event in page["events"]]
    return "".join(f"{event['message'].rstrip()}\n" for event in sorted(events, key=lambda event: event["timestamp"]))
