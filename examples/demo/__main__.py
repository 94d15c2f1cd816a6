"""The demo from start to end: ``make demo``. Exits with 0 if every call is accounted for and came to what it must."""

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
from demo.infrastructure import BrokerPlace, Machine, StorePlace, Unavailable
from demo.processes import ContainerWorkers, WorkerEndedError
from demo.progress import progress
from demo.report import report
from demo.watching import View, Watch
from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import Outgoing, Refused
from taskq_cloud.testing.aws_stacks import STACKS

FOLDER = Path(".demo")
OTHER_SETTINGS = ("AWS_", "AZURE_", "CLOUD_TASKS_", "GOOGLE_", "PUBSUB_", "STORAGE_EMULATOR_", "TASKQ_")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    options = _options(arguments)
    # A pipe has no width of its own; this one shows the tables whole.
    console = Console(width=None if sys.stdout.isatty() else 110)
    signal.signal(signal.SIGTERM, _end_in_order)
    _forget_settings()
    deadline = time.monotonic() + options.deadline
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.log"):
        old.unlink()
    logging.basicConfig(filename=FOLDER / "demo.log", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        brokers, stores = infrastructure.broker_named(options.broker), infrastructure.store_named(options.results)
        with ExitStack() as ending:
            machine = Machine(FOLDER, ending, lambda text: _say(console, text), options.stack)
            broker, store = brokers.start(machine), stores.start(machine)
            view = _run(console, broker, store, options, deadline)
    except Unavailable as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        return 2
    except WorkerEndedError as error:
        console.print(f"The demo can't go on: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; everything that was started is ended")
        return 130
    report(console, view, broker, store, FOLDER)
    return _verdict(console, view)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="Run the shop on this machine.")
    brokers, stores = ", ".join(infrastructure.BROKERS), ", ".join(infrastructure.STORES)
    parser.add_argument("--broker", default="sqs", help=f"where the queues are: {brokers} (%(default)s)")
    parser.add_argument("--results", default="dynamodb", help=f"where the results are: {stores} (%(default)s)")
    parser.add_argument(
        "--stack", choices=sorted(STACKS), default="ministack", help="which local AWS stack there is (%(default)s)"
    )
    parser.add_argument("--tasks", type=int, default=300, help="about how many calls to make (%(default)s)")
    parser.add_argument("--deadline", type=float, default=120, help="seconds after which to give up (%(default)s)")
    parser.add_argument(
        "--lose-a-task", action="store_true", help="remove a message behind the workers' backs, to see that it shows"
    )
    return parser.parse_args(arguments)


def _forget_settings() -> None:
    """Keep the settings of another application, and of an account, away from the shop."""
    for name in [name for name in os.environ if name.startswith(OTHER_SETTINGS)]:
        del os.environ[name]


def _end_in_order(signal_number: int, _frame: object) -> NoReturn:
    """Leave by an exception, so that everything that was started is ended."""
    sys.exit(128 + signal_number)


def _run(
    console: Console, broker: BrokerPlace, store: StorePlace, options: argparse.Namespace, deadline: float
) -> View:
    settings = {"TASKQ_BROKER": broker.url, "TASKQ_RESULTS": store.url}
    of_runtimes = {**settings, **broker.environment, **store.environment}
    if broker.start_function is not None:
        broker.start_function(of_runtimes)
    os.environ.update({**settings, **broker.environment, **store.uncounted})
    watching = TaskQ("watch", broker=broker.url, broker_transport_options=broker.uncounted, results=store.url)
    with closing(watching), ContainerWorkers(broker.workers, of_runtimes, FOLDER) as workers:
        for queue in broker.workers.values():
            _say(console, f"A container worker serves the queue {broker.prefix}{queue}")
        broker.meter.reset()
        store.meter.reset()
        watch = _send_all(console, watching, broker.prefix, options)
        with progress(console) as show:
            for view in watch.looks(deadline):
                show(view)
                workers.check()
    return view


def _send_all(console: Console, watching: TaskQ, prefix: str, options: argparse.Namespace) -> Watch:
    # First, while it is the only message there.
    lost = [_lose_a_task(watching)] if options.lose_a_task else []
    sent = workload.send(workload.plan(options.tasks)) + lost
    for queue, body in workload.UNREADABLE_MESSAGES.items():
        for answer in watching.run(watching.broker.send(queue, [Outgoing(body=body)])):
            if isinstance(answer, Refused):
                raise answer.error
    by_hand = f"{len(workload.UNREADABLE_MESSAGES)} messages, put there by hand, that nobody can read"
    _say(console, f"Sent: {len(sent)} calls of the shop's {len(app.tasks)} tasks, and {by_hand}\n")
    return Watch(watching, sent, list(workload.UNREADABLE_MESSAGES.values()), prefix)


def _lose_a_task(watching: TaskQ) -> workload.SentCall:
    call = workload.Call(orders.send_receipt, (0, "nobody@shop.example"))
    result = orders.send_receipt.apply_async(call.args, countdown=600)
    watching.run(watching.broker.purge("orders"))
    return workload.SentCall(call, result.id, time.time())


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _verdict(console: Console, view: View) -> int:
    missing = view.missing(list(workload.UNREADABLE_MESSAGES.values()))
    surprises = view.surprises()
    word = "LOST" if view.idle else "NOT FINISHED IN TIME"
    for line in (*(f"{word}: {each}" for each in missing), *(f"UNEXPECTED: {each}" for each in surprises)):
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    accounted = len(view.sent) + len(workload.UNREADABLE_MESSAGES) - len(missing)
    console.print(
        f"\n{accounted} of {accounted + len(missing)} messages accounted for, {len(surprises)} not as expected, in "
        f"{view.seconds:.1f} s",
        style="bold red" if missing or surprises else "bold green",
        highlight=False,
    )
    return 1 if missing or surprises else 0


if __name__ == "__main__":
    sys.exit(main())
