"""``taskq scheduled``: the tasks that wait in one-off schedules or in the broker's queues, and taking them back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.cli.common import common_options, open_app, say
from taskq_cloud.core.messages import late_delivery, protocol
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import HeldMessage, KnowsPhysicalNames, ListsHeld, ScheduleStore
from taskq_cloud.errors import DecodeError, ImproperlyConfigured

DEFAULT_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One scheduled task; None for what its message doesn't say without its payload, and where it has no schedule."""

    eta: str | None
    task: str | None
    id: str | None
    attempt: int | None
    queue: str
    sent_at: str
    schedule: str | None


_COLUMNS: Final = ("eta", "task", "id", "attempt", "queue")


@click.command("scheduled", short_help="List the tasks that wait until they are due.")
@click.option("--limit", type=click.IntRange(1), default=DEFAULT_LIMIT, show_default=True, help="How many, at most.")
@click.option("--after", metavar="CURSOR", help="Go on where an earlier list ended.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.option("--cancel", "cancelled", multiple=True, metavar="ID", help="Revoke the task of that id; may be repeated.")
@common_options
@click.pass_context
def command(
    context: click.Context, /, limit: int, after: str | None, as_json: bool, cancelled: tuple[str, ...]
) -> None:
    """List the tasks that wait until they are due: in schedules, or without a scheduler in the broker's queues.

    SQS and Pub/Sub don't show what they delay or park themselves, for minutes; `taskq queues` counts what SQS delays.
    With --cancel, nothing is listed.
    """
    app = open_app(context)
    scheduler, broker = late_delivery.keeper(app.scheduler), app.broker
    if scheduler is None and not isinstance(broker, ListsHeld):
        raise ImproperlyConfigured(
            "the application has no scheduler that holds late tasks, and its broker shows nobody what it holds back: "
            "set TASKQ_SCHEDULER, for example to "
            "eventbridge://my-group?role=arn:aws:iam::123456789012:role/my-scheduler (Cloud Scheduler has periodic "
            "tasks alone, which taskq beat list shows; what is due late waits in Cloud Tasks)"
        )
    if cancelled:
        _cancel(app, cancelled)
        return
    if scheduler is not None:
        rows, cursor = _rows(app, scheduler, limit, after)
    else:
        assert isinstance(broker, ListsHeld)  # for the type checker; it was looked at above
        page = app.run(broker.held(app.queues(), limit=limit, cursor=after))
        rows, cursor = [_held_row(each) for each in page.messages], page.cursor
    click.echo(json.dumps([asdict(row) for row in rows]) if as_json else _as_table(rows))
    if cursor is not None:
        say(context, f"There are more: --after {cursor}")


def _cancel(app: TaskQ, ids: Sequence[str]) -> None:
    for task_id in ids:
        revoked = app.AsyncResult(task_id).revoke()
        click.echo(f"{task_id}: {'revoked' if revoked else 'nothing to revoke'}")


def _rows(app: TaskQ, scheduler: ScheduleStore, limit: int, cursor: str | None) -> tuple[list[Row], str | None]:
    rows: list[Row] = []
    while True:
        page = app.run(scheduler.names(late_delivery.PREFIX, limit=limit - len(rows), cursor=cursor))
        found = app.run(scheduler.load(page.names))
        rows += [_row(app, found[name]) for name in page.names if name in found]
        cursor = page.cursor
        if cursor is None or len(rows) >= limit:
            return rows, cursor


def _row(app: TaskQ, schedule: PlatformSchedule) -> Row:
    queue = schedule.target.rpartition(":")[2]
    broker = app.broker
    headers = _headers(schedule.body)
    return Row(
        eta=headers.get("eta"),
        task=headers.get("task"),
        id=headers.get("id"),
        attempt=headers.get("retries"),
        queue=broker.queue_named(queue) if isinstance(broker, KnowsPhysicalNames) else queue,
        sent_at=schedule.when.astimezone(UTC).isoformat() if isinstance(schedule.when, datetime) else schedule.when,
        schedule=schedule.name,
    )


def _held_row(held: HeldMessage) -> Row:
    headers, due = _headers(held.body), datetime.fromtimestamp(held.due_at, UTC).isoformat()
    return Row(
        eta=headers.get("eta") or due,
        task=headers.get("task"),
        id=headers.get("id"),
        attempt=headers.get("retries"),
        queue=held.queue,
        sent_at=due,
        schedule=None,
    )


def _headers(body: str) -> dict[str, Any]:
    try:
        headers = protocol.read_envelope(body).get("headers")
    except DecodeError:  # a pointer: the message is in a bucket
        return {}
    return headers if isinstance(headers, dict) else {}


def _as_table(rows: Sequence[Row]) -> str:
    cells = [("?" if value is None else str(value) for value in map(asdict(row).get, _COLUMNS)) for row in rows]
    table = [_COLUMNS, *map(tuple, cells)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )
