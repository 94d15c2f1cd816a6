"""Measurements of a contender: producers and workers in processes of their own, on servers that are running."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from common import client
from contenders import Contender

from emulators.aws import environment
from emulators.call_counter import CallCounter
from emulators.process import wait_or_kill

APPS = Path(__file__).parent / "apps"
BIN = Path(sys.executable).parent
TIMEOUT_SECONDS = 240
_LEAST_MEASURED_CPU = 0.01
"""Seconds: a clock tick of Linux."""


@dataclass(frozen=True)
class Servers:
    """The addresses of the servers; an empty one is of a server that is missing."""

    sqs: str
    dynamodb: str = ""
    redis: str = ""
    rabbitmq: str = ""


class Bench:
    """A contender with a queue of its own."""

    def __init__(self, contender: Contender, servers: Servers, folder: Path) -> None:
        self.contender = contender
        self.servers = servers
        self.folder = folder
        self.counts = folder / "counts"
        self.counts.mkdir(exist_ok=True)
        self.queue = f"bench-{uuid4().hex}"
        self._sqs = client("sqs", servers.sqs) if contender.broker == "sqs" else None
        self._url = self._sqs.create_queue(QueueName=self.queue)["QueueUrl"] if self._sqs else None

    def environment(self) -> dict[str, str]:
        """Return the variables of the contender's processes."""
        sqs, redis = self.servers.sqs, self.servers.redis.replace("http://", "redis://")
        celery = self.contender.package == "celery"
        host = sqs.removeprefix("http://")
        brokers = {
            "sqs": f"sqs://test:test@{host}//" if celery else "sqs://eu-west-1/",
            "redis": f"{redis}/0",
            "rabbitmq": f"{self.servers.rabbitmq}//",
            "sqlite": f"sqlite:///{self.folder}/broker.db",
            "memory": "memory://",
        }
        results = {
            "redis": f"{redis}/1",
            "dynamodb": "dynamodb://bench",
            "sqlite": f"sqlite:///{self.folder}/results.db",
            "memory": "memory://",
        }
        query = f"?{self.contender.query}" if self.contender.query else ""
        stores = {"BENCH_RESULTS": results[self.contender.results]} if self.contender.results else {}
        # Installed packages are compiled, and so is this one after its first import.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {
            **inherited,
            **environment(sqs),
            "AWS_ENDPOINT_URL_DYNAMODB": self.servers.dynamodb or sqs,
            "BENCH_QUEUE": self.queue,
            "BENCH_COUNTS": str(self.counts),
            "BENCH_FILE": str(self.folder / "huey.db"),
            "BENCH_BROKER": brokers[self.contender.broker] + query,
            "PYTHONPATH": f"{APPS}{os.pathsep}{APPS.parents[1]}",
            **stores,
            **self.contender.environment,
        }

    def produce(self, *arguments: object) -> dict[str, Any]:
        """Run the producer to its end, and return what it found."""
        command = [sys.executable, str(APPS / self.contender.app), *map(str, arguments)]
        ran = subprocess.run(
            command, env=self.environment(), cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )
        if ran.returncode:
            raise RuntimeError(f"{self.contender.name}: {' '.join(command)}: {ran.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        return found

    @contextmanager
    def worker(self) -> Iterator[psutil.Process]:
        """Run a worker."""
        command = [str(BIN / self.contender.worker[0]), *self.contender.worker[1:]]
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(command, env=self.environment(), cwd=APPS, stdout=log, stderr=log)
            children: list[psutil.Process] = []
            try:
                yield psutil.Process(process.pid)
                children = psutil.Process(process.pid).children(recursive=True)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    wait_or_kill(process, 0)
                for child in children:
                    if child.is_running():
                        child.kill()

    def ran(self) -> int:
        """Return how many tasks have run, in all processes together."""
        return sum(struct.unpack("q", path.read_bytes())[0] for path in self.counts.iterdir() if path.stat().st_size)

    def wait_for(self, count: int) -> None:
        """Wait until a number of tasks has run."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self.ran() < count:
            if time.monotonic() > deadline:
                log = (self.folder / "worker.log").read_text()[-3000:]
                raise RuntimeError(f"{self.contender.name}: {self.ran()} of {count} tasks ran: {log}")
            time.sleep(0.002)

    def wait_until_settled(self, worker: psutil.Process) -> None:
        """Wait until SQS holds no message, acknowledged ones included, or until another broker's worker rests."""
        if self._sqs is None:
            _wait_until_at_rest(worker)
            return
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
            if not any(int(value) for value in found.values()):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.contender.name}: messages were left after all tasks had run: {found}")


def cpu_of(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of its children, ended ones included."""
    whole = process.cpu_times()
    total: float = whole.user + whole.system + whole.children_user + whole.children_system
    for child in process.children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _wait_until_at_rest(worker: psutil.Process) -> None:
    deadline = time.monotonic() + 5
    used, before = cpu_of(worker), -1.0
    while used - before >= _LEAST_MEASURED_CPU and time.monotonic() < deadline:
        time.sleep(0.1)
        used, before = cpu_of(worker), used


@contextmanager
def bench(contender: Contender, servers: Servers) -> Iterator[Bench]:
    """Make a bench in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="taskq-benchmark-", ignore_cleanup_errors=True) as folder:
        yield Bench(contender, servers, Path(folder))


def drain(contender: Contender, servers: Servers, tasks: int) -> dict[str, float]:
    """Send calls, and then let a worker run them; leave its start and its first tenth out."""
    warm = tasks // 10
    with bench(contender, servers) as each:
        sent = each.produce(contender.sends, warm, tasks)
        with each.worker() as process:
            each.wait_for(warm)
            first, start, began_at = each.ran(), cpu_of(process), time.perf_counter()
            each.wait_for(warm + tasks)
            took = time.perf_counter() - began_at
            each.wait_until_settled(process)
            used = cpu_of(process) - start
            counted = each.ran() - first
        if each.ran() != warm + tasks:
            raise RuntimeError(f"{contender.name}: {each.ran()} runs of {warm + tasks} tasks")
    return {
        "producer, CPU s per 1,000": sent["cpu"] * 1000 / tasks,
        "worker, CPU s per 1,000": used * 1000 / counted,
        "tasks/s": counted / took,
        "worker's start, CPU s": start,
    }


def requests(contender: Contender, servers: Servers, tasks: int) -> dict[str, float]:
    """Count the requests and bytes of calls that are sent and then run, start-up included."""
    with CallCounter(servers.sqs) as sqs, CallCounter(servers.dynamodb or servers.sqs) as dynamodb:
        counted = Servers(sqs.endpoint_url, dynamodb.endpoint_url, servers.redis)
        with bench(contender, counted) as each:
            sqs.reset()
            each.produce(contender.sends, 0, tasks)
            producer = sqs.total()
            with each.worker():
                each.wait_for(tasks)
                total, size, stored = sqs.total(), sqs.bytes_in, dynamodb.total()
    found = {
        "requests per 1,000, producer": producer * 1000 / tasks,
        "requests per 1,000, in all": total * 1000 / tasks,
        "bytes a task": size / tasks,
    }
    return {**found, "requests to DynamoDB a task": stored / tasks} if contender.results == "dynamodb" else found


def at_rest(contender: Contender, servers: Servers, seconds: float) -> dict[str, float]:
    """Look at a worker that has run one task and waits for the next."""
    with CallCounter(servers.sqs) as sqs, bench(contender, Servers(sqs.endpoint_url, servers.dynamodb)) as each:
        each.produce("one", 0, 1)
        with each.worker() as process:
            each.wait_for(1)
            each.wait_until_settled(process)
            time.sleep(1)
            sqs.reset()
            before = cpu_of(process)
            time.sleep(seconds)
            counts = dict(sqs.counts())
            family = [process, *process.children(recursive=True)]
            polls = counts.pop("ReceiveMessage", 0)
            return {
                "at rest, RSS, MB": sum(one.memory_info().rss for one in family) / 1e6,
                "at rest, CPU ms/s": 1000 * (cpu_of(process) - before) / seconds,
                "at rest, long polls a minute": polls * 60 / seconds,
                "at rest, other requests a minute": sum(counts.values()) * 60 / seconds,
            }


def first_call(contender: Contender, servers: Servers) -> dict[str, float]:
    """Look at a process that imports the application, and at one that sends a call as well."""
    with bench(contender, servers) as each:
        each.produce("first")
        imported, sent = each.produce("import"), each.produce("first")
    return {
        "modules at import": imported["modules"],
        "modules after a call": sent["modules"],
        "import, CPU s": imported["cpu"],
        "first call, CPU s": sent["cpu"],
    }


def round_trips(contender: Contender, servers: Servers, trips: int) -> dict[str, float]:
    """Call a task and wait for its result, again and again, with nothing else to do."""
    with bench(contender, servers) as each:
        if contender.broker == "memory":
            found = each.produce("trips", 5, trips)
        else:
            with each.worker():
                found = each.produce("trips", 5, trips)
    took = sorted(found["milliseconds"])
    return {"p50, ms": took[len(took) // 2], "p99, ms": took[int(len(took) * 0.99)]}
