"""``taskq drain``: empty a queue before it is dropped, renamed or made anew as a queue of the other kind."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import common_options
from taskq_cloud.cli.output import echo, say
from taskq_cloud.deploy.draining import Drain, Held
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, TaskQError

PAUSE_SECONDS: Final = 5.0
"""The time between two looks at a queue."""


@click.command("drain", short_help="Empty a queue before it is dropped or renamed.")
@click.option("-Q", "--queue", required=True, metavar="NAME", help="The queue, which need not be declared any more.")
@click.option("--to", metavar="NAME", help="The queue that takes over the messages, such as the renamed queue.")
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long to wait until the queue is empty; 0 looks once.  [default: without end]",
)
@common_options
@click.pass_context
def command(context: click.Context, /, queue: str, to: str | None, timeout: float | None) -> None:
    """Empty a queue before it is dropped, renamed or made anew as a queue of the other kind.

    The command waits until workers have run what the queue holds: its messages, and the late tasks that the scheduler
    will send to it. With --to, it moves all of this to another queue instead, and the dead letters to the dead-letter
    queue of that one. Nothing is removed. Deploy callers that no longer send to the queue first.

    \b
    Exit codes:
      0  the queue is empty, and nothing sends to it later
      1  something is left when the time is over, or the command failed (see standard error)
    """
    app = open_app(context)
    if to == queue:
        raise click.BadParameter(f"{queue!r} is the queue that is to be drained; name another one", param_hint="--to")
    counts = app.broker.capabilities.counts_messages
    if to is None and not counts:
        raise ImproperlyConfigured(
            f"queue {queue!r}: its provider doesn't count messages, so nothing shows when it is empty: move its "
            "messages with --to, or wait until num_undelivered_messages of its subscription is 0"
        )
    _name_callers(context, app, queue)
    drain = Drain(broker=app.broker, scheduler=app.scheduler, queue=queue, to=to)
    try:
        lag = app.broker.capabilities.counts_lag_seconds
        left = wait(lambda: app.run(drain.turn()), lag, timeout, lambda held: _show(context, queue, held))
    except TaskQError as error:
        error.add_note(f"moved before: {_words(drain.moved)}")
        raise
    if to is not None:
        echo(f"{queue}: {_words(drain.moved)} moved to {to}")
    if left:
        raise OperationalError(f"queue {queue!r} is not drained: {left}")
    if counts:
        echo(f"{queue}: empty")
    else:
        say(context, "The provider doesn't count messages: look at num_undelivered_messages before you drop the queue.")


def wait(
    turn: Callable[[], Held],
    lag_seconds: float,
    timeout: float | None,
    show: Callable[[Held], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Take turns until nothing is left.

    Args:
        turn: moves what can be moved, and returns what is left.
        lag_seconds: how long nothing must be left, because the counts may be as old as that.
        timeout: how long to wait, in seconds; None: without end.
        show: shows what is left, whenever it has changed.
        clock: returns a time that grows steadily, in seconds.
        sleep: waits for some seconds.

    Returns:
        What is left when the time is over, in words; empty: nothing is.
    """
    ends = clock() + (math.inf if timeout is None else timeout)
    empty_since: float | None = None
    shown: list[str] | None = None
    while True:
        held = turn()
        now = clock()
        if held.parts != shown:
            shown = held.parts
            show(held)
        empty_since = None if held.parts else now if empty_since is None else empty_since
        if empty_since is not None and now - empty_since >= lag_seconds:
            return ""
        if now >= ends:
            return ", ".join(held.parts) or (
                f"it looks empty, but its counts may be {lag_seconds:g} s old: allow a longer --timeout"
            )
        sleep(min(PAUSE_SECONDS, ends - now))


def _name_callers(context: click.Context, app: TaskQ, queue: str) -> None:
    """Say which tasks the application still routes to the queue: callers keep filling it."""
    routed = sorted(task for task in app.tasks if app.route(task) == app.priorities.base(queue))
    if queue == app.conf.task_default_queue:
        routed.append("every task without a route (task_default_queue)")
    if routed:
        say(context, f"queue {queue!r} is still the queue of {', '.join(routed)}: their callers keep sending to it")


def _show(context: click.Context, queue: str, held: Held) -> None:
    say(context, f"{queue}: {', '.join(held.parts) or 'nothing left'}")
    for schedule in held.periodic:
        say(
            context,
            f"the schedule {schedule.name} still sends to it: apply the schedules as they are declared now "
            "(taskq beat apply --prune, or Terraform)",
        )


def _words(moved: Mapping[str, int]) -> str:
    counts = [f"{count} {word}{'' if count == 1 else 's'}" for word, count in moved.items() if count]
    return ", ".join(counts) or "no messages"
