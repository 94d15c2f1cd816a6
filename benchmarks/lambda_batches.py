"""Measure batches of a Lambda function beside Powertools for AWS Lambda, and write their table in docs/benchmarks.md.

Each contender gets batches of ten records in a process of its own, in alternating rounds, and its handler is called as
Lambda's runtime client calls it. The CPU time of a record is that of the whole process in warm batches, divided by the
number of their records. The requests for results are counted by a proxy before a local AWS stack.

    python benchmarks/lambda_batches.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import botocore.session
from common import ROOT, batch, conditions, create_table, write_table

from emulators.aws import Ministack, environment
from emulators.call_counter import CallCounter

RECORDS: Final = 10
WARM_BATCHES, BATCHES = 30, 200
CONTENDERS: Final = (
    "Powertools, batch",
    "Powertools, asynchronous batch",
    "taskq_cloud, plain tasks",
    "taskq_cloud, coroutine tasks",
    "taskq_cloud, coroutine tasks, `lambda_concurrency=10`",
    "Powertools, batch, a `PutItem` for each record",
    "taskq_cloud, plain tasks, results in DynamoDB",
)
WAITING: Final = ("Powertools, asynchronous batch", "taskq_cloud, coroutine tasks, `lambda_concurrency=10`")
"""The contenders that run the records of a batch side by side."""


class Context:
    """The part of Lambda's context object that handlers use."""

    aws_request_id = "bench"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Return the time that the function has left."""
        return 60_000


def handler_of(contender: str) -> tuple[Callable[[Any, Any], Any], str]:
    """Make a contender's handler, and name the task that its records call."""
    if contender.startswith("taskq_cloud"):
        from taskq_cloud import TaskQ

        results = "dynamodb://bench" if "DynamoDB" in contender else "disabled://"
        lanes = 10 if "=10" in contender else 1
        app = TaskQ("bench", broker="sqs://eu-west-1/", results=results, lambda_concurrency=lanes)

        @app.task(name="bench.plain")
        def plain(seconds: float) -> float:
            return seconds

        @app.task(name="bench.coroutine")
        async def coroutine(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        return app.lambda_handler(), "bench.coroutine" if "coroutine" in contender else "bench.plain"

    from aws_lambda_powertools.utilities import batch as powertools

    session: Any = botocore.session.get_session()
    client = session.create_client("dynamodb") if "PutItem" in contender else None

    def run(record: Any) -> float:
        call = json.loads(record.body)
        if client is not None:
            result = {"id": {"S": call["id"]}, "result": {"B": b"0" * 150}}
            client.put_item(TableName="bench", Item=result, ConditionExpression="attribute_not_exists(id)")
        return float(call["args"][0])

    async def arun(record: Any) -> float:
        seconds: float = json.loads(record.body)["args"][0]
        await asyncio.sleep(seconds)
        return seconds

    kind = powertools.EventType.SQS
    if "asynchronous" in contender:
        side_by_side = powertools.AsyncBatchProcessor(event_type=kind)
        answer = powertools.async_process_partial_response
        return lambda event, context: answer(event, arun, side_by_side, context), ""
    one_by_one = powertools.BatchProcessor(event_type=kind)
    return lambda event, context: powertools.process_partial_response(event, run, one_by_one, context), ""


def measure(contender: str, seconds: float) -> None:
    """Run a contender in this process, and print the CPU time of a record, or the time of one batch that waits."""
    handler, task = handler_of(contender)
    if seconds:
        handler(batch(task, 0, RECORDS), Context())
        began = time.perf_counter()
        handler(batch(task, seconds, RECORDS), Context())
        print(time.perf_counter() - began)
        return
    events = [batch(task, 0, RECORDS) for _ in range(WARM_BATCHES + BATCHES)]
    for event in events[:WARM_BATCHES]:
        handler(event, Context())
    began = time.process_time()
    for event in events[WARM_BATCHES:]:
        handler(event, Context())
    print(1e6 * (time.process_time() - began) / (BATCHES * RECORDS))


def measured(contender: str, env: dict[str, str], seconds: float = 0) -> float:
    """Run a contender in a process of its own."""
    command = [sys.executable, __file__, "--contender", contender, "--seconds", str(seconds)]
    return float(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout)


def compare(rounds: int) -> str:
    """Run all contenders in turn, and return the table as Markdown."""
    cpu: dict[str, list[float]] = defaultdict(list)
    waits: dict[str, list[float]] = defaultdict(list)
    requests: dict[str, float] = {}
    with Ministack() as stack, CallCounter(stack.endpoint_url) as counter:
        env = {**os.environ, **environment(counter.endpoint_url), "PYTHONPATH": str(ROOT)}
        env |= {"POWERTOOLS_TRACE_DISABLED": "1", "AWS_LAMBDA_FUNCTION_NAME": "bench"}
        create_table(stack.endpoint_url)
        for _ in range(rounds):
            for contender in CONTENDERS:
                counter.reset()
                cpu[contender].append(measured(contender, env))
                requests[contender] = counter.total() / (WARM_BATCHES + BATCHES)
            for contender in WAITING:
                waits[contender].append(measured(contender, env, 1))
    lines = [
        conditions(rounds),
        "",
        "| batches of ten records | CPU a record, µs | requests a batch | ten tasks that wait 1 s, s |",
        "|---|---:|---:|---:|",
    ]
    for contender in CONTENDERS:
        waited = f" {statistics.median(waits[contender]):.1f} " if contender in waits else " "
        lines.append(f"| {contender} | {statistics.median(cpu[contender]):.0f} | {requests[contender]:.1f} |{waited}|")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and write it into the page unless ``--dry-run`` is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="leave the page as it is")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        measure(arguments.contender, arguments.seconds)
        return
    text = compare(arguments.rounds)
    print(text)
    if not arguments.dry_run:
        write_table("batches", text)


if __name__ == "__main__":
    main()
