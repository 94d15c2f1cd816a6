"""Measure SQLite: a long backlog, and many producers. ``run.py`` measures CPU time and round trips, beside others.

Each part runs in processes of its own. With ``--before``, the parts run in turn with the package in another folder,
such as a work tree of an earlier commit, so that both have the machine's drift in common.

    python benchmarks/embedded.py [backlog] [crowd] [--before FOLDER] [--rounds 3]

``backlog`` fills a file with a million messages, about 500 MB, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
SCALE = float(os.environ.get("BENCH_SCALE", "1"))
"""The part of the usual numbers of messages and rounds that is measured; a test of this script measures few."""


def percentile(values: list[float], part: float) -> float:
    """Return the value below which a part of the values lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def backlog(folder: Path, waiting: Sequence[int], rounds: int = 400) -> dict[str, float]:
    """Send, receive and settle while many messages wait, which are never fewer, in turn on a file for each number."""
    from taskq_cloud.core.model.message import Acknowledge, Outgoing

    message = Outgoing(body="x" * 400)
    opened = {number: _opened(str(folder / f"{number}.db")) for number in waiting}
    for number, (connections, broker) in opened.items():
        for _ in range(0, int(number * SCALE), 1000):
            connections.run(broker.send("work", [message] * 1000))
    took: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))

    def timed(name: str, number: int, flow: Any) -> Any:
        began_at = time.process_time()
        answer = opened[number][0].run(flow)
        took[name][number].append(1e6 * (time.process_time() - began_at))
        return answer

    for _ in range(int(rounds * SCALE)):
        for number, (_, broker) in opened.items():
            timed("send one", number, broker.send("work", [message]))
            timed("send nine", number, broker.send("work", [message] * 9))
            deliveries = timed("receive ten", number, broker.receive("work", 10, 0, 60))
            timed("settle ten", number, broker.settle([Acknowledge(each) for each in deliveries]))
    for connections, _ in opened.values():
        connections.close()
    found: dict[str, float] = {}
    for name, of_number in took.items():
        medians = [statistics.median(of_number[number]) for number in waiting]
        found |= {f"{name}, CPU us, {number:,} wait": each for number, each in zip(waiting, medians, strict=True)}
        found[f"{name}, ratio"] = medians[-1] / medians[0]
    return found


def crowd(folder: Path, producers: int = 10, workers: int = 2, count: int = int(300 * SCALE)) -> dict[str, float]:
    """Let ten producers send one by one while two receivers take and settle, all in processes of their own."""
    from taskq_cloud.core.model.message import Acknowledge

    path = str(folder / "broker.db")
    connections, broker = _opened(path)
    connections.run(broker.depth("work"))
    context = multiprocessing.get_context("spawn")
    gate, waits = context.Barrier(producers + 1), context.Queue()
    senders = [context.Process(target=_send_one_by_one, args=(path, gate, count, waits)) for _ in range(producers)]
    receivers = [context.Process(target=_receive_all, args=(path,)) for _ in range(workers)]
    for each in (*senders, *receivers):
        each.start()
    gate.wait()
    began_at = time.perf_counter()
    took = [seconds for _ in senders for seconds in waits.get()]
    for each in senders:
        each.join()
    rate = len(took) / (time.perf_counter() - began_at)
    for each in receivers:
        each.join()
    rest = connections.run(broker.receive("work", 1000, 0, 60))
    connections.run(broker.settle([Acknowledge(each) for each in rest]))
    connections.close()
    milliseconds = [1000 * each for each in took]
    return {
        "send, p50 ms": percentile(milliseconds, 0.5),
        "send, p99 ms": percentile(milliseconds, 0.99),
        "send, longest ms": max(milliseconds),
        "sends/s": rate,
        "messages left": len(rest),
    }


def _opened(path: str) -> tuple[Any, Any]:
    from taskq_cloud.brokers.sqlite import SQLiteBroker
    from taskq_cloud.clients.connections import Connections

    broker = SQLiteBroker(path)
    return Connections(broker.services), broker


def _send_one_by_one(path: str, gate: Any, count: int, waits: Any) -> None:
    from taskq_cloud.core.model.message import Outgoing

    connections, broker = _opened(path)
    message, took = Outgoing(body="x" * 400), []
    gate.wait()
    for _ in range(count):
        began_at = time.perf_counter()
        connections.run(broker.send("work", [message]))
        took.append(time.perf_counter() - began_at)
    waits.put(took)


def _receive_all(path: str) -> None:
    from taskq_cloud.core.model.message import Acknowledge

    connections, broker = _opened(path)
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < 2:
        deliveries = connections.run(broker.receive("work", 10, 0.5, 60))
        if deliveries:
            connections.run(broker.settle([Acknowledge(each) for each in deliveries]))
            idle_since = time.monotonic()


PARTS: dict[str, dict[str, Callable[[Path], dict[str, float]]]] = {
    "backlog": {
        "a thousand and a million messages wait": lambda folder: backlog(folder, (1_000, 1_000_000)),
    },
    "crowd": {"ten producers, two receivers": crowd},
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
