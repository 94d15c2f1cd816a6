"""Measure cold starts of Lambda functions, and write their table in docs/benchmarks.md.

Each function runs under AWS's own runtime client, on a local Runtime API and a local AWS stack. As in Lambda, it
initialises with a full CPU. Its first invocation then gets a share: 29 % is what 512 MB buy, and 7 % what 128 MB do. A
quota of CPU time for each 20 ms is kept by stopping the process, as Linux does it for a control group.

    python benchmarks/cold_starts.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from common import ROOT, batch, client, conditions, create_table, write_table
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from emulators.aws import Ministack, environment
from emulators.aws.programs.runtime_api import RuntimeApi
from taskq_cloud.deploy.packaging.contents import Requirements, left_out

FUNCTIONS: Final = ROOT / "benchmarks" / "functions"
SHARES: Final = (1.0, 0.29, 0.07)
PERIOD_SECONDS: Final = 0.02
IN_THE_RUNTIME: Final = frozenset({"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"})
"""Packages of Lambda's runtime, which no archive has to contain."""


@dataclass(frozen=True)
class Function:
    """A function, with the distributions in its archive; taskq_cloud's archive has a part of the library only."""

    name: str
    handler: str
    packages: tuple[str, ...] = ()
    left_out: frozenset[str] | None = None

    @property
    def sends(self) -> bool:
        """Whether the function sends a message. Each other function runs a message."""
        return self.handler.endswith(":producer")

    def unzipped_bytes(self) -> int:
        """Return the size of what its archive contains beside the code of the user."""
        library = sum(_size(each) for each in _library(self.left_out)) if self.left_out is not None else 0
        return library + sum(
            _size(Path(str(each.locate()))) for name in _closure(self.packages) for each in _files(name)
        )


PRODUCER: Final = Requirements(producer=True)
FULL = ("pydantic", "pydantic-settings", "tzdata")
CONTENDERS: Final = (
    Function("send: bare boto3", "boto3_functions:producer"),
    Function("send: taskq_cloud, `--producer`", "taskq_functions:producer", (), left_out(FUNCTIONS, PRODUCER)),
    Function("send: taskq_cloud", "taskq_functions:producer", FULL, left_out(FUNCTIONS, Requirements())),
    Function("send: Celery", "celery_functions:producer", ("celery", "kombu")),
    Function("run: bare boto3", "boto3_functions:consumer"),
    Function("run: Powertools, batch", "powertools_functions:consumer", ("aws-lambda-powertools",)),
    Function("run: taskq_cloud", "taskq_functions:consumer", FULL, left_out(FUNCTIONS, Requirements())),
)


def _library(left_out: frozenset[str]) -> Iterator[Path]:
    package = ROOT / "taskq_cloud"
    files = ((path, path.relative_to(package)) for path in package.rglob("*.py"))
    return (path for path, part in files if part.parts[0] not in left_out and str(part) not in left_out)


def _closure(names: tuple[str, ...]) -> set[str]:
    """Return distributions with everything that they require, without the packages of the runtime."""
    waiting, met = [canonicalize_name(name) for name in names], set[str]()
    while waiting:
        name = waiting.pop()
        if name in met or name in IN_THE_RUNTIME:
            continue
        met.add(name)
        for text in metadata.requires(name) or ():
            required = Requirement(text)
            if required.marker is None or required.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(required.name))
    return met


def _files(name: str) -> list[metadata.PackagePath]:
    return [each for each in metadata.files(name) or () if each.suffix != ".pyc" and ".." not in each.parts]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class Quota:
    """Lets a process have a share of one CPU while the context lasts.

    Args:
        process_id: the process.
        share: the share; with 1, the process is left alone.
    """

    def __init__(self, process_id: int, share: float) -> None:
        self._id, self._share = process_id, share
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep)

    def __enter__(self) -> None:
        if self._share < 1:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._share < 1:
            self._thread.join()

    def _keep(self) -> None:
        quota = self._share * PERIOD_SECONDS
        while not self._over.is_set():
            ends_at, used = time.monotonic() + PERIOD_SECONDS, _scheduled_seconds(self._id)
            while time.monotonic() < ends_at and _scheduled_seconds(self._id) - used < quota:
                time.sleep(0.000_2)
            left = ends_at - time.monotonic()
            if left > 0:
                os.kill(self._id, signal.SIGSTOP)
                time.sleep(left)
                os.kill(self._id, signal.SIGCONT)


def _scheduled_seconds(process_id: int) -> float:
    threads = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


@contextmanager
def started(function: Function, env: dict[str, str], log: Path) -> Iterator[tuple[RuntimeApi, int, float]]:
    """Start a function. Yield its Runtime API, its process id, and the milliseconds of its initialisation."""
    env = {**env, "BENCH_FUNCTION": function.handler, "PYTHONPATH": os.pathsep.join([str(ROOT), str(FUNCTIONS)])}
    if "pydantic" not in function.packages:
        env["BENCH_WITHOUT_PYDANTIC"] = "1"
    command = [sys.executable, "-m", "awslambdaric", "handlers.handler"]
    with RuntimeApi() as api, log.open("ab") as output:
        began = time.perf_counter()
        env["AWS_LAMBDA_RUNTIME_API"] = api.address
        process = subprocess.Popen(command, cwd=FUNCTIONS, env=env, stdout=output, stderr=output)
        try:
            if not api.asked.wait(60):
                raise RuntimeError(f"{function.name} does not start; see {log}")
            yield api, process.pid, 1000 * (time.perf_counter() - began)
        finally:
            process.kill()
            process.wait()


def measure(function: Function, env: dict[str, str], log: Path, rows: dict[str, list[float]]) -> None:
    """Start a function once for each share of the CPU, and invoke it once."""
    event = {} if function.sends else batch("bench.noop", 1, 1)
    for share in SHARES:
        with started(function, env, log) as (api, process_id, ready_ms):
            with Quota(process_id, share):
                began = time.perf_counter()
                kind, answer = api.invoke(event, seconds=60)
                answered_ms = 1000 * (time.perf_counter() - began)
            if kind != "response":
                raise RuntimeError(f"{function.name}: {answer}; see {log}")
            rows[f"first answer at {share:.0%} CPU, ms"].append(answered_ms)
            if share == 1:
                rows["initialisation, ms"].append(ready_ms)
                rows["CPU s, both"].append(_scheduled_seconds(process_id))
                rows["modules"].append(float(Path(env["BENCH_MODULES"]).read_text()))


@contextmanager
def resources(directory: Path) -> Iterator[dict[str, str]]:
    """Start a stack with a queue and a table. Yield the environment of the functions."""
    with Ministack() as stack:
        client("sqs", stack.endpoint_url).create_queue(QueueName="bench")
        create_table(stack.endpoint_url)
        yield {
            **os.environ,
            **environment(stack.endpoint_url),
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "BENCH_QUEUE": "bench",
            "BENCH_TABLE": "bench",
            "BENCH_MODULES": str(directory / "modules"),
        }


def render(table: dict[str, dict[str, list[float]]], rounds: int) -> str:
    """Return the table as Markdown."""
    shares = [f"first answer at {share:.0%} CPU, ms" for share in SHARES]
    measures = ["initialisation, ms", *shares, "CPU s, both", "modules"]
    lines = [
        conditions(rounds),
        "",
        f"| function | archive, unzipped MB | {' | '.join(measures)} |",
        f"|---|---:|{'---:|' * len(measures)}",
    ]
    for function in CONTENDERS:
        medians = {name: statistics.median(values) for name, values in table[function.name].items()}
        cells = [f"{medians[name]:.2f}" if "CPU s" in name else f"{medians[name]:,.0f}" for name in measures]
        lines.append(f"| {function.name} | {function.unzipped_bytes() / 1e6:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and write it into the page unless ``--dry-run`` is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="leave the page as it is")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="taskq-benchmark-"))
    table: dict[str, dict[str, list[float]]] = {each.name: defaultdict(list) for each in CONTENDERS}
    with resources(directory) as env:
        for _ in range(arguments.rounds):
            for function in CONTENDERS:
                measure(function, env, directory / "functions.log", table[function.name])
    text = render(table, arguments.rounds)
    print(text)
    if not arguments.dry_run:
        write_table("cold starts", text)


if __name__ == "__main__":
    main()
