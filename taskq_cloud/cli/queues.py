"""``taskq queues``: how many messages each queue holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.cli.common import common_options, open_app, queue_names
from taskq_cloud.core.ports import Depth, dead_letter_queue
from taskq_cloud.errors import QueueNotFound

_COLUMNS: Final = ("queue", "waiting", "delayed", "in flight", "dead letters")


@dataclass(frozen=True, slots=True)
class Row:
    """One queue's counts; None for those of a queue that does not exist, with the error that says so.

    Also None for those that the provider does not count.
    """

    queue: str
    depth: Depth | None = None
    dead: Depth | None = None
    dead_letters_exist: bool = False
    missing: QueueNotFound | None = None

    @property
    def values(self) -> tuple[Any, ...]:
        """In the order of the columns."""
        depth = self.depth
        counts = (depth.waiting, depth.delayed, depth.in_flight) if depth else (None, None, None)
        return (self.queue, *counts, self.dead.total if self.dead else None)

    @property
    def cells(self) -> tuple[str, ...]:
        """The same, to be read: ``-`` for what is not there, ``?`` for what is not counted."""
        there = self.missing is None
        exist = (there, there, there, there, self.dead_letters_exist)
        return tuple(
            str(value) if value is not None else "?" if exists else "-"
            for value, exists in zip(self.values, exist, strict=True)
        )


@click.command("queues", short_help="Count the messages of each queue.")
@click.option("-Q", "--queues", callback=queue_names, metavar="A,B", help="Which.  [default: the application's]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@common_options
@click.pass_context
def command(context: click.Context, /, queues: tuple[str, ...], as_json: bool) -> None:
    """Count the messages of each queue, approximately where its provider knows no better.

    A "-" stands for a queue that does not exist, or that has no dead-letter queue; a "?" for what its provider does not
    count.
    """
    app = open_app(context)
    rows = [_count(app, name) for name in queues or app.queues()]
    click.echo(_as_json(rows) if as_json else _as_table(rows))
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
    return json.dumps([dict(zip(names, row.values, strict=True)) for row in rows])


def _as_table(rows: Sequence[Row]) -> str:
    table = [_COLUMNS, *(row.cells for row in rows)]
    first, *others = (max(map(len, column)) for column in zip(*table, strict=True))
    return "\n".join(
        "  ".join([cells[0].ljust(first), *(cell.rjust(width) for cell, width in zip(cells[1:], others, strict=True))])
        for cells in table
    )
