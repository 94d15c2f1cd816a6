"""Measure taskq_cloud, Celery and taskiq on a local AWS stack, and write the table in docs/benchmarks.md.

Counts (API calls, bytes, modules) are exact and repeat. Times depend on the machine, and mean something only in
comparison. Because a machine's speed drifts, rounds alternate between the contenders and the table shows medians.

    python benchmarks/run.py [--tasks 500] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import fill

from common import client, write_table

from emulators.aws import Ministack, environment
from emulators.call_counter import CallCounter
from emulators.process import wait_or_kill

HERE = Path(__file__).parent
APPS = HERE / "apps"
BIN = Path(sys.executable).parent
CONCURRENCY = 2
DRAIN_TIMEOUT_SECONDS = 180


@dataclass(frozen=True)
class Contender:
    """A task queue, with its package, its application and the command of its worker."""

    name: str
    package: str
    app: str
    worker: tuple[str, ...]
    module: str


CONTENDERS = (
    Contender(
        "taskq_cloud",
        "taskq-cloud",
        "taskq_app.py",
        (
            "taskq",
            "worker",
            "-A",
            "taskq_app",
            "-P",
            "processes",
            "-c",
            str(CONCURRENCY),
            "--prefetch-multiplier",
            "10",
        ),
        "taskq_cloud",
    ),
    Contender(
        "Celery, kombu SQS",
        "celery",
        "celery_app.py",
        (
            "celery",
            "-A",
            "celery_app",
            "worker",
            "-P",
            "prefork",
            "-c",
            str(CONCURRENCY),
            "--prefetch-multiplier",
            "10",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "-l",
            "WARNING",
        ),
        "celery",
    ),
    Contender(
        "taskiq-aio-sqs",
        "taskiq-aio-sqs",
        "taskiq_app.py",
        ("taskiq", "worker", "taskiq_app:broker", "--workers", str(CONCURRENCY), "--log-level", "WARNING"),
        "taskiq_aio_sqs",
    ),
)


class Bench:
    """A contender on a stack; it takes one measurement at a time."""

    def __init__(self, contender: Contender, stack: Ministack, directory: Path) -> None:
        self.contender = contender
        self.stack = stack
        self.directory = directory
        self.client = client("sqs", stack.endpoint_url)

    @contextmanager
    def queue(self, counter: CallCounter) -> Iterator[dict[str, str]]:
        """Create a queue, and return the environment of the processes that use it through the counter."""
        name = f"bench-{self.contender.module}-{time.time_ns()}"
        url = self.client.create_queue(QueueName=name)["QueueUrl"]
        done = self.directory / f"{name}.done"
        env = {**os.environ, **environment(counter.endpoint_url), "BENCH_QUEUE": name, "BENCH_DONE": str(done)}
        env["PYTHONPATH"] = str(APPS)
        try:
            yield env
        finally:
            self.client.delete_queue(QueueUrl=url)

    def produce(self, env: dict[str, str], mode: str, count: int) -> tuple[str, float]:
        """Run the producer to its end; return its output and the CPU seconds that it used."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, str(APPS / self.contender.app), mode, str(count)]
        printed = subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=300).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return printed, _cpu(before, after)

    @contextmanager
    def worker(self, env: dict[str, str]) -> Iterator[list[float]]:
        """Run a worker; at the end, the list contains the CPU seconds of the worker and its child processes."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [str(BIN / self.contender.worker[0]), *self.contender.worker[1:]]
        cpu: list[float] = []
        with (self.directory / f"{self.contender.module}.log").open("ab") as log:
            process = subprocess.Popen(command, env=env, cwd=APPS, stdout=log, stderr=log)
            try:
                yield cpu
            finally:
                process.send_signal(signal.SIGTERM)
                wait_or_kill(process, 60)
                cpu.append(_cpu(before, resource.getrusage(resource.RUSAGE_CHILDREN)))


def _cpu(before: resource.struct_rusage, after: resource.struct_rusage) -> float:
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _done(env: dict[str, str]) -> list[tuple[int, float]]:
    path = Path(env["BENCH_DONE"])
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(number), float(moment)) for number, moment in (line.split() for line in lines)]


def throughput(bench: Bench, tasks: int, rows: dict[str, list[float]]) -> None:
    """Measure a worker that runs ``tasks`` no-op tasks, which were sent in bulk before it started."""
    with CallCounter(bench.stack.endpoint_url) as counter, bench.queue(counter) as env:
        _, producer_cpu = bench.produce(env, "bulk", tasks)
        sent = counter.total()
        with bench.worker(env) as cpu:
            deadline = time.monotonic() + DRAIN_TIMEOUT_SECONDS
            while len(_done(env)) < tasks and time.monotonic() < deadline:
                time.sleep(0.05)
        moments = sorted(moment for _, moment in _done(env))
        if len({number for number, _ in _done(env)}) < tasks:
            raise RuntimeError(f"{bench.contender.name}: {len(moments)} of {tasks} tasks ran; see {bench.directory}")
        rows["tasks/s, draining"].append((tasks - 1) / max(1e-9, moments[-1] - moments[0]))
        rows["API calls per 1,000 tasks, producer"].append(sent * 1000 / tasks)
        rows["API calls per 1,000 tasks, in all"].append(counter.total() * 1000 / tasks)
        rows["bytes sent per task"].append((counter.bytes_in) / tasks)
        rows["CPU s per 1,000 tasks, producer"].append(producer_cpu * 1000 / tasks)
        rows["CPU s per 1,000 tasks, worker"].append(cpu[0] * 1000 / tasks)


def round_trips(bench: Bench, trips: int, rows: dict[str, list[float]]) -> None:
    """Measure the time from a call to the task's first line, for calls that are sent one by one to an idle worker."""
    with CallCounter(bench.stack.endpoint_url) as counter, bench.queue(counter) as env, bench.worker(env):
        printed, _ = bench.produce(env, "trips", trips)
        sent = [float(line) for line in printed.split()]
        milliseconds = sorted(1000 * (moment - sent[number]) for number, moment in _done(env)[5:])
        rows["round trip p50, ms"].append(statistics.median(milliseconds))
        rows["round trip p99, ms"].append(milliseconds[int(len(milliseconds) * 0.99)])


def first_call(bench: Bench, rows: dict[str, list[float]]) -> None:
    """Measure a process that starts, sends one call and ends, such as a script or the cold start of a function."""
    with CallCounter(bench.stack.endpoint_url) as counter, bench.queue(counter) as env:
        printed, cpu = bench.produce(env, "first", 1)
        rows["first call of a process, CPU s"].append(cpu)
        rows["first call of a process, modules"].append(float(printed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--trips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    known = {each.module: each for each in CONTENDERS}
    parser.add_argument("--only", choices=known, help="measure one contender, and leave the page as it is")
    arguments = parser.parse_args()
    contenders = (known[arguments.only],) if arguments.only else CONTENDERS
    directory = Path(tempfile.mkdtemp(prefix="taskq-benchmark-"))
    table: dict[str, dict[str, list[float]]] = {each.name: defaultdict(list) for each in contenders}
    for number in range(arguments.rounds):
        for contender in contenders:
            # Each contender gets a new stack: the data that an emulator keeps from one run must not slow the next one.
            with Ministack() as stack:
                bench = Bench(contender, stack, directory)
                rows = table[contender.name]
                first_call(bench, rows)
                throughput(bench, arguments.tasks, rows)
                round_trips(bench, arguments.trips, rows)
            print(f"round {number + 1}: {contender.name} done", flush=True)
    text = render(table, contenders, arguments)
    print(text)
    if not arguments.only:
        write_table("measured", text)


def render(
    table: dict[str, dict[str, list[float]]], contenders: Sequence[Contender], arguments: argparse.Namespace
) -> str:
    """Return the table as Markdown."""
    names = [each.name for each in contenders]
    heads = [f"{each.name} {version(each.package)}" for each in contenders]
    intro = (
        f"Medians, and ranges where they are wide, of {arguments.rounds} alternating rounds: {arguments.tasks} no-op "
        f"tasks without results, {CONCURRENCY} processes each, Python {platform.python_version()}, {os.cpu_count()} "
        "cores, a local AWS stack. Celery polls every 0.1 s here: its default of 1 s adds pauses."
    )
    lines = [
        fill(intro, 128),
        "",
        "| | " + " | ".join(heads) + " |",
        "|---|" + "---:|" * len(heads),
    ]
    for measure in table[names[0]]:
        cells = [_cell(table[name][measure], 2 if "CPU" in measure else 0) for name in names]
        lines.append(f"| {measure} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float], digits: int) -> str:
    """Return the median, and the range if the rounds differ by more than a third."""
    low, middle, high = min(values), statistics.median(values), max(values)
    spread = f" ({low:,.{digits}f} to {high:,.{digits}f})" if high > low * 4 / 3 else ""
    return f"{middle:,.{digits}f}{spread}"


if __name__ == "__main__":
    main()
