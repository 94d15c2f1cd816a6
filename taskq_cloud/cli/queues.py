"""``taskq queues``: count the messages in each queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import common_options, queues_option
from taskq_cloud.cli.output import as_table, echo, json_text
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.ports import CountsWaiting
from taskq_cloud.errors import QueueNotFound

_COLUMNS: Final = ("queue", "waiting", "delayed", "in flight", "dead letters")


@dataclass(frozen=True, slots=True)
class Row:
    """The message counts of one queue.

    Args:
        queue: the queue's name.
        counts: the messages that wait, are delayed and are in flight, and the dead letters; None: the queue doesn't
            exist, or its provider doesn't count such messages.
        dead_letters_exist: whether the queue has a dead-letter queue.
        missing: the error that says that the queue doesn't exist; None if it does.
    """

    queue: str
    counts: tuple[int | None, ...] = (None, None, None, None)
    dead_letters_exist: bool = False
    missing: QueueNotFound | None = None

    @property
    def cells(self) -> list[str]:
        """The row's texts: ``-`` for a queue that doesn't exist, ``?`` for a count that the provider doesn't give."""
        exists = self.missing is None
        existing = (exists, exists, exists, self.dead_letters_exist)
        return [
            self.queue,
            *(
                str(count) if count is not None else "?" if counted_queue_exists else "-"
                for count, counted_queue_exists in zip(self.counts, existing, strict=True)
            ),
        ]


@click.command("queues", short_help="Count the messages in each queue.")
@queues_option("The queues to count")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@common_options
@click.pass_context
def command(context: click.Context, /, queues: tuple[str, ...], as_json: bool) -> None:
    """Count the messages in each queue and in its dead-letter queue.

    The counts of SQS are approximate. "-" means that the queue doesn't exist or has no dead-letter queue, and "?" that
    the provider doesn't count messages.
    """
    app = open_app(context)
    app.check_queue_names(queues)
    rows = [_count(app, name) for name in app.priorities.expanded(queues) or app.queues()]
    echo(_as_json(rows) if as_json else as_table(_COLUMNS, [row.cells for row in rows], numbers=True))
    for row in rows:
        if row.missing is not None:
            raise row.missing


def _count(app: TaskQ, queue: str) -> Row:
    try:
        own = _counts(app, queue)
    except QueueNotFound as error:
        return Row(queue, missing=error)
    try:
        dead = _counts(app, dead_letter_queue(queue))
    except QueueNotFound:
        return Row(queue, (*own, None))
    counted = [count for count in dead if count is not None]
    return Row(queue, (*own, sum(counted) if counted else None), dead_letters_exist=True)


def _counts(app: TaskQ, queue: str) -> tuple[int | None, ...]:
    """Count the messages of a queue that wait, are delayed and are in flight; None: they are not counted."""
    depth = app.run(app.broker.depth(queue))
    if depth is not None:
        return depth.waiting, depth.delayed, depth.in_flight
    waiting = app.run(app.broker.waiting(queue)) if isinstance(app.broker, CountsWaiting) else None
    return waiting, None, None


def _as_json(rows: Sequence[Row]) -> str:
    names = [column.replace(" ", "_") for column in _COLUMNS]
    return json_text([dict(zip(names, (row.queue, *row.counts), strict=True)) for row in rows])
