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
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import QueueNotFound

_COLUMNS: Final = ("queue", "waiting", "delayed", "in flight", "dead letters")


@dataclass(frozen=True, slots=True)
class Row:
    """The message counts of one queue.

    Args:
        queue: the queue's name.
        depth: the queue's counts; None if the queue doesn't exist or its provider doesn't count messages.
        dead: the counts of the queue's dead-letter queue; None for the same reasons.
        dead_letters_exist: whether the queue has a dead-letter queue.
        missing: the error that says that the queue doesn't exist; None if it does.
    """

    queue: str
    depth: Depth | None = None
    dead: Depth | None = None
    dead_letters_exist: bool = False
    missing: QueueNotFound | None = None

    @property
    def counts(self) -> tuple[int | None, ...]:
        """The counts, in the order of the columns."""
        depth = self.depth
        own = (depth.waiting, depth.delayed, depth.in_flight) if depth else (None, None, None)
        return (*own, self.dead.total if self.dead else None)

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
        depth = app.run(app.broker.depth(queue))
    except QueueNotFound as error:
        return Row(queue, missing=error)
    try:
        dead = app.run(app.broker.depth(dead_letter_queue(queue)))
    except QueueNotFound:
        return Row(queue, depth)
    return Row(queue, depth, dead, dead_letters_exist=True)


def _as_json(rows: Sequence[Row]) -> str:
    names = [column.replace(" ", "_") for column in _COLUMNS]
    return json_text([dict(zip(names, (row.queue, *row.counts), strict=True)) for row in rows])
