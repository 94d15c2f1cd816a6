"""Deployments for the fault tests to break: queues, results and worker processes; the first is on a local AWS stack."""

import json
import os
import random
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import botocore.session
from botocore.config import Config

from emulators.aws import Ministack, environment
from emulators.call_counter import CallCounter
from emulators.process import wait_or_kill
from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import until

REGION = "eu-west-1"


class Deployment(ABC):
    """A queue with its dead-letter queue, a result store, and the workers that serve the queue.

    Args:
        directory: the folder for logs and for the file of runs.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runs_path = directory / "runs"
        self.workers: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the environment variables with the application's settings."""

    def app(self) -> TaskQ:
        """Return the producer's application."""
        settings = self.environment()
        return TaskQ("producer", broker=settings["TASKQ_BROKER"], results=settings["TASKQ_RESULTS"])

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start `taskq worker`."""
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, **self.environment(), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "fault_app", "-l", "WARNING", *options]
        with (self.directory / f"worker-{len(self.workers)}.log").open("wb") as log:
            worker = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=self.directory)
        self.workers.append(worker)
        return worker

    def stop(self) -> list[int]:
        """Stop all workers by SIGTERM, and return their exit codes."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        return [wait_or_kill(worker, 40) for worker in self.workers]

    def logs(self) -> str:
        """Return the last lines of the workers' logs."""
        return "\n".join(
            f"== {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.directory.glob("worker-*.log"))
        )

    # -- reading the state

    @abstractmethod
    def documents(self) -> dict[str, dict[str, Any]]:
        """Return every result document, by task id."""

    @abstractmethod
    def final(self) -> int:
        """Return how many tasks have ended."""

    @abstractmethod
    def left(self) -> int:
        """Return how many messages are in the queue, including the messages in flight."""

    def states(self) -> Counter[str]:
        """Return how many tasks are in each state."""
        return Counter(document["status"] for document in self.documents().values())

    def runs(self) -> Counter[int]:
        """Return how often the task of each number has run."""
        lines = self.runs_path.read_text().split() if self.runs_path.exists() else []
        return Counter(int(line) for line in lines)

    def wait_until_ended(self, count: int, timeout_seconds: float = 60) -> None:
        """Wait until so many tasks have ended."""
        until(lambda: self.final() >= count, lambda: f"{self.final()} ended\n{self.logs()}", timeout_seconds)

    def wait_until_run(self, number: int, times: int) -> None:
        """Wait until the task of a number has begun so often."""
        until(lambda: self.runs()[number] == times, self.logs, 30)

    def wait_until_settled(self) -> None:
        """Wait until no message is left in the queue."""
        until(lambda: self.left() == 0, lambda: f"{self.left()} messages left\n{self.logs()}", 30)

    def check_accounts(self, sent: dict[str, int], timeout_seconds: float = 60) -> None:
        """Check that exactly the sent tasks have results, each with its own value, and that no message is left."""
        self.wait_until_ended(len(sent), timeout_seconds)
        documents = self.documents()
        assert documents.keys() == sent.keys()
        wrong = {i: doc for i, doc in documents.items() if (doc["status"], doc["result"]) != ("SUCCESS", sent[i] ** 2)}
        assert not wrong
        assert set(self.runs()) == set(sent.values())
        self.wait_until_settled()


class AWSDeployment(Deployment):
    """A queue and a table on a local AWS stack.

    Args:
        stack: the AWS stack.
        counter: a proxy in front of the stack. Workers and the producer use it; the test's own calls go past it.
        directory: the folder for logs and for the file of runs.
    """

    def __init__(self, stack: Ministack, counter: CallCounter, directory: Path) -> None:
        super().__init__(directory)
        self.stack = stack
        self.counter = counter
        self.prefix = f"faults-{uuid4().hex[:8]}-"
        session = botocore.session.get_session()
        options: dict[str, Any] = {
            "region_name": REGION,
            "endpoint_url": stack.endpoint_url,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            # The test reads while it restarts the stack, which takes many seconds on a busy machine.
            "config": Config(retries={"mode": "standard", "total_max_attempts": 15}),
        }
        self.sqs: Any = session.create_client("sqs", **options)
        self.dynamodb: Any = session.create_client("dynamodb", **options)
        self.queue_url = self._create()

    def _create(self) -> str:
        self.sqs.create_queue(QueueName=f"{self.prefix}celery-dead")
        url: str = self.sqs.create_queue(QueueName=f"{self.prefix}celery")["QueueUrl"]
        self.create_table()
        return url

    def create_table(self) -> None:
        """Create the results table. A test may call this again after it has deleted the table."""
        self.dynamodb.create_table(
            TableName=f"{self.prefix}results",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def environment(self) -> dict[str, str]:
        return {
            **environment(self.counter.endpoint_url),
            "TASKQ_BROKER": f"sqs://{REGION}/{self.prefix}",
            "TASKQ_RESULTS": f"dynamodb://{self.prefix}results",
            "TASKQ_VISIBILITY_TIMEOUT": "4",
            "TASKQ_WAIT_TIME_SECONDS": "1",
            "TASKQ_TASK_MAX_RECEIVES": "50",
            "FAULT_RUNS": str(self.runs_path),
        }

    def send_copies(self, count: int) -> int:
        """Send up to ``count`` messages of the queue again, like a broker that delivers twice. Return their number."""
        sent = 0
        while sent < count:
            found = self.sqs.receive_message(
                QueueUrl=self.queue_url, MaxNumberOfMessages=min(10, count - sent), VisibilityTimeout=0
            ).get("Messages", [])
            if not found:
                break
            entries = [{"Id": str(i), "MessageBody": message["Body"]} for i, message in enumerate(found)]
            self.sqs.send_message_batch(QueueUrl=self.queue_url, Entries=entries)
            sent += len(found)
        return sent

    def documents(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for page in self.dynamodb.get_paginator("scan").paginate(TableName=f"{self.prefix}results"):
            for item in page["Items"]:
                document = json.loads(item["result"]["B"])
                if "task_id" in document:  # notes of runs that have begun have none
                    found[document["task_id"]] = document
        return found

    def final(self) -> int:
        """Return how many tasks have ended, counted in the table without reading the documents."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=f"{self.prefix}results",
            Select="COUNT",
            FilterExpression="#v = :final",
            ExpressionAttributeNames={"#v": "version"},
            ExpressionAttributeValues={":final": {"N": str(2**31 - 1)}},
        )
        return sum(page["Count"] for page in pages)

    def left(self) -> int:
        names = ("", "NotVisible", "Delayed")
        keys = [f"ApproximateNumberOfMessages{name}" for name in names]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=keys)
        return sum(int(answer["Attributes"][key]) for key in keys)


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


@contextmanager
def deployed(stack: Ministack, directory: Path) -> Iterator[AWSDeployment]:
    """Make a deployment on a stack, and stop its workers at the end of the block."""
    with CallCounter(stack.endpoint_url) as counter:
        deployment = AWSDeployment(stack, counter, directory)
        try:
            yield deployment
        finally:
            deployment.stop()


def kill_something(deployment: Deployment, rng: random.Random, options: tuple[str, ...]) -> None:
    """Kill one of a worker's children with SIGKILL, or kill a worker and start another in its place."""
    alive = [worker for worker in deployment.workers if worker.poll() is None]
    victim = rng.choice(alive)
    children = children_of(victim.pid)
    if children and rng.random() < 0.6:
        os.kill(rng.choice(children), signal.SIGKILL)
        return
    victim.kill()
    victim.wait()
    deployment.start_worker(*options)
