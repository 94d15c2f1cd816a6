"""Measure the embedded brokers and stores, SQLite and memory: round trips, a long backlog, many producers, CPU time.

Each part runs in processes of its own. With ``--before``, the parts run in turn with the package in another folder, such
as a work tree of an earlier commit, so that both have the machine's drift in common.

    python benchmarks/embedded.py [round-trips] [backlog] [crowd] [cpu] [--before FOLDER] [--rounds 3]

``backlog`` fills a file with a million messages (``--messages``), about 500 MB, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
APP = """
from taskq_cloud import TaskQ
app = TaskQ("bench", broker={broker!r}, results={results!r})

@app.task(name="noop")
def noop(number): return number

@app.task(name="quiet", ignore_result=True)
def quiet(number): pass

@app.task(name="aquiet", ignore_result=True)
async def aquiet(number): pass

@app.task(name="anoop")
async def anoop(number): return number
"""


def percentile(values: list[float], part: float) -> float:
    """Return the value below which a part of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def app_in(folder: Path, broker: str = "sqlite:///broker.db", results: str = "sqlite:///results.db") -> Any:
    """Write an application into a folder, make it the working directory, and import the application."""
    (folder / "bench_app.py").write_text(APP.format(broker=broker, results=results))
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    import bench_app

    return bench_app


class WorkerProcess:
    """A worker of the application in the working directory.

    Args:
        options: the options of ``taskq worker``.
    """

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "bench_app", *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ["PYTHONPATH"]])}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self) -> None:
        """Stop the worker in order."""
        self.process.terminate()
        self.process.wait(30)


def round_trips(folder: Path, *, memory: bool, pool: str, count: int = 400) -> dict[str, float]:
    """Call a task and wait for its value, again and again, with nothing else to do."""
    places = ("memory://", "memory://") if memory else ("sqlite:///broker.db", "sqlite:///results.db")
    module = app_in(folder, *places)
    task = module.anoop if pool == "asyncio" else module.noop
    if memory:
        import asyncio

        from taskq_cloud.worker.options import WorkerOptions
        from taskq_cloud.worker.supervisor import Worker

        options = WorkerOptions.from_settings(module.app.conf, module.app.queues(), pool=pool, concurrency=2)
        worker = Worker(module.app.runtime(), options)
        thread = threading.Thread(target=lambda: asyncio.run(worker.serve()), daemon=True)
        thread.start()
        stop: Callable[[], object] = worker.stop
    else:
        stop = WorkerProcess("-P", pool, "-c", "2").end
    task.delay(0).get(timeout=60)
    took = []
    for number in range(count):
        time.sleep(0.004)  # the worker is idle again
        began_at = time.perf_counter()
        assert task.delay(number).get(timeout=60) == number
        took.append(1000 * (time.perf_counter() - began_at))
    stop()
    return {"p50, ms": percentile(took, 0.5), "p99, ms": percentile(took, 0.99)}


PARTS: dict[str, dict[str, Callable[[Path], dict[str, float]]]] = {
    "round-trips": {
        "memory, threads": lambda folder: round_trips(folder, memory=True, pool="threads"),
        "SQLite, asyncio": lambda folder: round_trips(folder, memory=False, pool="asyncio"),
        "SQLite, threads": lambda folder: round_trips(folder, memory=False, pool="threads"),
        "SQLite, processes": lambda folder: round_trips(folder, memory=False, pool="processes"),
    },
}


def run_one(part: str, name: str, package: Path) -> dict[str, float]:
    """Measure one row in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(package)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE), "--one", part, name, folder]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    if ran.returncode:
        raise SystemExit(f"{name}: {ran.stderr}")
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the parts that the command line names, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"the parts: {', '.join(PARTS)}; by default all")
    parser.add_argument("--before", type=Path, help="the folder of an earlier version of the package")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        part, name, folder = given.one
        print(json.dumps(PARTS[part][name](Path(folder))))
        return
    packages = {"now": HERE.parent.parent, **({"before": given.before} if given.before else {})}
    for part in given.parts or PARTS:
        for name in PARTS[part]:
            found: dict[tuple[str, str], list[float]] = defaultdict(list)
            for _ in range(given.rounds):
                for version, package in packages.items():
                    for measure, value in run_one(part, name, package).items():
                        found[measure, version].append(value)
            for (measure, version), values in sorted(found.items()):
                print(f"{part} | {name} | {measure} | {version} | {statistics.median(values):.3f}", flush=True)


if __name__ == "__main__":
    main()
