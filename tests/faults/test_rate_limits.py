"""Test rate limits across processes that share only a queue and a store, by the times at which their tasks began."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from emulators.process import wait_or_kill
from taskq_cloud import TaskQ
from taskq_cloud.core.model.rates import parse_rate
from taskq_cloud.testing.waiting import until
from tests.conftest import StackAddress

pytestmark = pytest.mark.slow

WORKERS = 4
TASKS = 200
RATE = "20/s"
TIMEOUT_SECONDS = 60
APPLICATION = Path(__file__).with_name("rate_app.py")


class Starts:
    """The runs that the processes have recorded in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, kind: str) -> list[tuple[str, int, float]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [(who, number, began) for each, who, number, began in map(json.loads, lines) if each == kind]

    def check(self, rate: str, tasks: int) -> None:
        """Check that every task has begun, and that no window has more starts than the rate and a burst allow."""
        limit = parse_rate(rate, of="rate_limit")
        assert limit is not None
        starts = self.of("limited")
        assert {number for _, number, _ in starts} == set(range(tasks))
        began = sorted(at for _, _, at in starts)
        for seconds in (0.1, 0.5, 1, 2, 5, 10):
            most = max(sum(first <= each < first + seconds for each in began) for first in began)
            allowed = math.ceil(seconds * limit.per_second) + limit.burst
            assert most <= allowed, f"{most} tasks began within {seconds} s, but {allowed} are allowed"


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    return Starts(tmp_path / "starts")


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Any]:
    """Return a function that starts `taskq worker` with an environment."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(environment: Mapping[str, str], *options: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "PYTHONPATH": str(APPLICATION.parent), **environment}
        command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "rate_app", "--pool", "threads", *options]
        with (tmp_path / f"worker-{len(workers)}.log").open("wb") as log:
            workers.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=tmp_path))
        return workers[-1]

    yield start
    for worker in workers:
        worker.terminate()
    for worker in workers:
        wait_or_kill(worker, 30)


@pytest.fixture
def make_function(
    local_stack: StackAddress, make_aws_client: Callable[[str, str], Any], sqs_client: Any
) -> Iterator[Any]:
    """Return a function that creates a Lambda function and feeds it from a queue, given by its URL."""
    functions = make_aws_client("lambda", local_stack.endpoint_url)
    made: list[tuple[str, str]] = []

    def make(queue_url: str, variables: Mapping[str, str]) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("rate_app.py", APPLICATION.read_text())
        name = f"rates-{uuid4().hex[:8]}"
        functions.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/any",
            Handler="rate_app.handler",
            Code={"ZipFile": archive.getvalue()},
            Timeout=20,
            Environment={"Variables": dict(variables)},
        )
        arn = sqs_client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        mapping = functions.create_event_source_mapping(
            EventSourceArn=arn, FunctionName=name, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"]
        )
        made.append((name, mapping["UUID"]))

    yield make
    for name, mapping_id in made:
        functions.delete_event_source_mapping(UUID=mapping_id)
        functions.delete_function(FunctionName=name)


@pytest.mark.timeout(300)
def test_workers_and_function_keep_one_rate_limit_together(
    aws_environment: dict[str, str],
    sqs_client: Any,
    make_queue: Callable[..., str],
    make_table: Callable[..., str],
    make_function: Any,
    start_worker: Any,
    starts: Starts,
) -> None:
    prefix = f"rates-{uuid4().hex[:8]}-"
    make_queue(f"{prefix}celery-dead", exactly=True)
    queue = make_queue(f"{prefix}celery", exactly=True, VisibilityTimeout="120")
    variables = {
        "TASKQ_BROKER": f"sqs://eu-west-1/{prefix}",
        "TASKQ_RESULTS": f"dynamodb://{make_table()}",
        "RATE_LIMIT": RATE,
        "RATE_STARTS": str(starts.path),
    }
    make_function(sqs_client.get_queue_url(QueueName=queue)["QueueUrl"], variables)
    for _ in range(WORKERS):
        start_worker({**aws_environment, **variables, "TASKQ_WAIT_TIME_SECONDS": "1"}, "-c", "4")
    app = TaskQ("caller", broker=variables["TASKQ_BROKER"], results=variables["TASKQ_RESULTS"])
    greeted = 0

    def all_serve() -> bool:
        nonlocal greeted
        app.send_task("greet", [greeted])
        greeted += 1
        who = {each for each, _, _ in starts.of("greet")}
        return "function" in who and len(who) == WORKERS + 1

    until(all_serve, lambda: f"only { ({each for each, _, _ in starts.of('greet')}) } serve", TIMEOUT_SECONDS)
    limited = app.task(name="limited")(lambda number: None)
    sent = 0

    def who() -> Counter[str]:
        return Counter(each for each, _, _ in starts.of("limited"))

    def all_share() -> bool:
        # The emulator's mapping serves the functions of all tests one after the other, so this one may have to wait.
        nonlocal sent
        began = who()
        shared = began["function"] > 0 and len(began) > 2
        if began.total() < sent or (sent and shared):
            return shared and began.total() == sent
        limited.map_async([(number,) for number in range(sent, sent + TASKS)])
        sent += TASKS
        return False

    until(all_share, lambda: f"of {sent} tasks, these have begun: {who()}", 2 * TIMEOUT_SECONDS)
    app.close()

    starts.check(RATE, sent)
    assert len(starts.of("limited")) == sent


def test_worker_killed_after_taking_a_rate_limit_slot_costs_that_slot(
    starts: Starts, start_worker: Any, tmp_path: Path
) -> None:
    rate, tasks = "2/s", 8
    variables = {
        "TASKQ_BROKER": f"sqlite:///{tmp_path}/broker.db",
        "TASKQ_RESULTS": f"sqlite:///{tmp_path}/results.db",
        "TASKQ_VISIBILITY_TIMEOUT": "1",
        "RATE_LIMIT": rate,
        "RATE_STARTS": str(starts.path),
    }
    app = TaskQ("caller", broker=variables["TASKQ_BROKER"], results=variables["TASKQ_RESULTS"])
    limited = app.task(name="limited")(lambda number: None)
    results = limited.map_async([(number,) for number in range(tasks)])

    killed = start_worker({**variables, "RATE_DIES": "1"}, "-c", "1")
    assert killed.wait(TIMEOUT_SECONDS) == -signal.SIGKILL
    before = len(starts.of("limited"))
    assert 0 < before < tasks

    start_worker(variables, "-c", "4")
    until(lambda: all(each.ready() for each in results), "the tasks have not ended", TIMEOUT_SECONDS)
    app.close()
    starts.check(rate, tasks)
