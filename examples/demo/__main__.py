"""The demo from start to end: ``make demo``. Exits with 0 if every call is accounted for and came to what it must."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from shop import app, orders

from demo import infrastructure, workload
from demo.processes import WorkerEndedError, aws_stack, check, container_worker
from demo.progress import progress
from demo.report import report
from demo.watching import View, Watch
from taskq_cloud.testing.call_counter import CallCounter
from taskq_cloud.testing.local_stack import LocalStack, environment

LOGS = Path(".demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    options = _options(arguments)
    # A pipe has no width of its own; this one shows the tables whole.
    console = Console(width=None if sys.stdout.isatty() else 110)
    signal.signal(signal.SIGTERM, _end_in_order)
    _forget_settings()
    deadline = time.monotonic() + options.deadline
    LOGS.mkdir(exist_ok=True)
    for old in LOGS.glob("*.log"):
        old.unlink()
    try:
        with aws_stack(LOGS) as stack, CallCounter(stack.endpoint_url) as counter:
            view, calls = _run(console, stack, counter, options, deadline)
    except WorkerEndedError as error:
        console.print(f"The demo can't go on: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; everything that was started is ended")
        return 130
    report(console, view, calls, LOGS)
    return _verdict(console, view)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="Run the shop on a local AWS stack.")
    parser.add_argument("--tasks", type=int, default=300, help="about how many calls to make (%(default)s)")
    parser.add_argument("--deadline", type=float, default=120, help="seconds after which to give up (%(default)s)")
    parser.add_argument(
        "--lose-a-task", action="store_true", help="remove a message behind the workers' backs, to see that it shows"
    )
    return parser.parse_args(arguments)


def _forget_settings() -> None:
    """Keep the settings of another application, and of an account, away from the shop."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "TASKQ_"))]:
        del os.environ[name]


def _end_in_order(signal_number: int, _frame: object) -> NoReturn:
    """Leave by an exception, so that everything that was started is ended."""
    sys.exit(128 + signal_number)


def _run(
    console: Console, stack: LocalStack, counter: CallCounter, options: argparse.Namespace, deadline: float
) -> tuple[View, dict[str, int]]:
    _say(console, f"The local AWS stack answers at {stack.endpoint_url}")
    aws = environment(counter.endpoint_url)
    infrastructure.provision(stack.endpoint_url, {"AWS_ENDPOINT_URL": counter.endpoint_url})
    _say(console, "It has the queues shop-orders and shop-images, their dead-letter queues, and the table shop-results")
    _say(console, "The Lambda function shop-images serves the queue shop-images")
    os.environ.update(aws | infrastructure.SHOP_SETTINGS)
    log_path = LOGS / "worker.log"
    with container_worker(os.environ, log_path) as worker:
        _say(console, "The container worker serves the queue shop-orders")
        counter.reset()
        watch = _send_all(console, stack, options)
        with progress(console) as show:
            for view in watch.looks(deadline):
                show(view)
                check(worker, log_path)
    # Counted once the worker has ended: its last acknowledgements belong to the tasks, too.
    return view, dict(counter.counts())


def _send_all(console: Console, stack: LocalStack, options: argparse.Namespace) -> Watch:
    sent = workload.send(workload.plan(options.tasks))
    sqs = infrastructure.client("sqs", stack.endpoint_url)
    for queue, body in workload.UNREADABLE_MESSAGES.items():
        sqs.send_message(QueueUrl=infrastructure.queue_url(sqs, queue), MessageBody=body)
    by_hand = f"{len(workload.UNREADABLE_MESSAGES)} messages, put there by hand, that nobody can read"
    _say(console, f"Sent: {len(sent)} calls of the shop's {len(app.tasks)} tasks, and {by_hand}\n")
    if options.lose_a_task:
        call = workload.Call(orders.send_receipt, (0, "nobody@shop.example"))
        result = orders.send_receipt.apply_async(call.args, countdown=600)
        sent.append(workload.SentCall(call, result.id, time.time()))
        sqs.purge_queue(QueueUrl=infrastructure.queue_url(sqs, "orders"))
    return Watch(stack.endpoint_url, sent, list(workload.UNREADABLE_MESSAGES.values()))


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
