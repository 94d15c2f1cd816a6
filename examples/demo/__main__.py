"""The demo from start to end. Its exit code is 0 if every call is accounted for and has the expected outcome."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from shop import app, orders

from demo import infrastructure, workload
from demo.infrastructure import Machine, RunningBroker, RunningStore, Unavailable
from demo.monitor import Monitor, Snapshot
from demo.progress import progress
from demo.report import report
from demo.workers import ContainerWorkers, WorkerEndedError
from emulators.aws import STACKS
from taskq_cloud import TaskQ
from taskq_cloud.adapters import Outgoing, Refused

FOLDER = Path(".demo")
OTHER_SETTINGS = ("AWS_", "AZURE_", "CLOUD_TASKS_", "GOOGLE_", "PUBSUB_", "STORAGE_EMULATOR_", "TASKQ_")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, and return its exit code."""
    options = _options(arguments)
    # A pipe has no width; with this one the tables fit.
    console = Console(width=None if sys.stdout.isatty() else 110)
    signal.signal(signal.SIGTERM, _exit_with_cleanup)
    _forget_settings()
    deadline = time.monotonic() + options.deadline
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.log"):
        old.unlink()
    logging.basicConfig(filename=FOLDER / "demo.log", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        broker, store = infrastructure.broker_named(options.broker), infrastructure.store_named(options.results)
        with ExitStack() as cleanup:
            machine = Machine(FOLDER, cleanup, lambda text: _say(console, text), options.stack)
            running_broker, running_store = broker.start(machine), store.start(machine)
            snapshot = _run(console, running_broker, running_store, options, deadline)
    except Unavailable as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        return 2
    except WorkerEndedError as error:
        console.print(f"The demo had to stop: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped, with all processes that the demo had started")
        return 130
    report(console, snapshot, running_broker, running_store, FOLDER)
    return _verdict(console, snapshot)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="Run the example shop on this machine.")
    brokers, stores = ", ".join(infrastructure.BROKERS), ", ".join(infrastructure.STORES)
    parser.add_argument("--broker", default="sqs", help=f"the broker: {brokers} (default: %(default)s)")
    parser.add_argument("--results", default="dynamodb", help=f"the result store: {stores} (default: %(default)s)")
    parser.add_argument(
        "--stack", choices=sorted(STACKS), default="ministack", help="the local AWS stack (default: %(default)s)"
    )
    parser.add_argument("--pool", default="processes", help="the pool of the container workers (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=300, help="the approximate number of calls (default: %(default)s)")
    parser.add_argument(
        "--deadline", type=float, default=120, help="give up after this many seconds (default: %(default)s)"
    )
    parser.add_argument(
        "--lose-a-task", action="store_true", help="remove a message from its queue, to see that the loss is reported"
    )
    return parser.parse_args(arguments)


def _forget_settings() -> None:
    """Remove environment variables of other applications and of cloud accounts, so that the shop doesn't use them."""
    for name in [name for name in os.environ if name.startswith(OTHER_SETTINGS)]:
        del os.environ[name]


def _exit_with_cleanup(signal_number: int, _frame: object) -> NoReturn:
    """Exit with an exception, so that all processes that the demo has started are stopped."""
    sys.exit(128 + signal_number)


def _run(
    console: Console, broker: RunningBroker, store: RunningStore, options: argparse.Namespace, deadline: float
) -> Snapshot:
    settings = {"TASKQ_BROKER": broker.url, "TASKQ_RESULTS": store.url}
    worker_environment = {**settings, **broker.environment, **store.environment}
    if broker.start_function is not None:
        broker.start_function(worker_environment)
    os.environ.update({**settings, **broker.environment, **store.uncounted})
    observer = TaskQ("observer", broker=broker.url, broker_transport_options=broker.uncounted, results=store.url)
    with closing(observer), ContainerWorkers(broker.workers, worker_environment, FOLDER, options.pool) as workers:
        for queue in broker.workers.values():
            _say(console, f"A container worker serves the queue {broker.prefix}{queue}")
        broker.meter.reset()
        store.meter.reset()
        monitor = _send_all(console, observer, broker.prefix, options)
        with progress(console) as show:
            for snapshot in monitor.snapshots(deadline):
                show(snapshot)
                workers.check()
    return snapshot


def _send_all(console: Console, observer: TaskQ, prefix: str, options: argparse.Namespace) -> Monitor:
    # The task to lose goes first: its queue is then purged while it holds no other message.
    lost = [_lose_a_task(observer)] if options.lose_a_task else []
    sent = workload.send(workload.plan(options.tasks)) + lost
    for queue, body in workload.UNREADABLE_MESSAGES.items():
        for answer in observer.run(observer.broker.send(queue, [Outgoing(body=body)])):
            if isinstance(answer, Refused):
                raise answer.error
    unreadable = f"{len(workload.UNREADABLE_MESSAGES)} malformed messages, which no worker can read"
    _say(console, f"Sent {len(sent)} calls of the shop's {len(app.tasks)} tasks, and {unreadable}\n")
    return Monitor(observer, sent, list(workload.UNREADABLE_MESSAGES.values()), prefix)


def _lose_a_task(observer: TaskQ) -> workload.SentCall:
    call = workload.Call(orders.send_receipt, (0, "nobody@shop.example"))
    result = orders.send_receipt.apply_async(call.args, countdown=600)
    observer.run(observer.broker.purge("orders"))
    return workload.SentCall(call, result.id, time.time())


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _verdict(console: Console, snapshot: Snapshot) -> int:
    missing = snapshot.missing(list(workload.UNREADABLE_MESSAGES.values()))
    unexpected = snapshot.unexpected()
    word = "LOST" if snapshot.idle else "NOT FINISHED IN TIME"
    for line in (*(f"{word}: {each}" for each in missing), *(f"UNEXPECTED: {each}" for each in unexpected)):
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    accounted = len(snapshot.sent) + len(workload.UNREADABLE_MESSAGES) - len(missing)
    console.print(
        f"\n{accounted} of {accounted + len(missing)} messages accounted for, {len(unexpected)} unexpected outcomes, "
        f"in {snapshot.seconds:.1f} s",
        style="bold red" if missing or unexpected else "bold green",
        highlight=False,
    )
    return 1 if missing or unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
