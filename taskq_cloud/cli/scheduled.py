"""``taskq scheduled``: list or cancel tasks that wait for their due time, in one-off schedules or in queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import common_options
from taskq_cloud.cli.output import as_table, echo, json_text, say
from taskq_cloud.core.messages import events, late_delivery
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import HeldMessage, KnowsPhysicalNames, ListsHeld, ScheduleStore
from taskq_cloud.errors import DecodeError, ImproperlyConfigured

DEFAULT_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A task that waits for its due time.

    Values are None if the message doesn't hold them: the message of a large task is only a reference to a bucket.

    Args:
        eta: the due time, in ISO 8601.
        task: the task's name.
        id: the task's id.
        attempt: how many times the task has been retried.
        queue: the queue that the task goes to.
        sent_at: when the scheduler sends the message, or the broker delivers it, in ISO 8601.
        schedule: the name of the one-off schedule; None if the broker itself holds the message.
    """

    eta: str | None
    task: str | None
    id: str | None
    attempt: int | None
    queue: str
    sent_at: str
    schedule: str | None


_COLUMNS: Final = ("eta", "task", "id", "attempt", "queue")


@click.command("scheduled", short_help="List or cancel tasks that wait for their due time.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    default=DEFAULT_LIMIT,
    show_default=True,
    help="The maximum number of tasks to list.",
)
@click.option("--after", metavar="CURSOR", help="Continue an earlier list from the CURSOR that it printed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.option(
    "--cancel",
    "cancelled",
    multiple=True,
    metavar="ID",
    help="Revoke the task with this id, instead of listing tasks; can be repeated.",
)
@common_options
@click.pass_context
def command(
    context: click.Context, /, limit: int, after: str | None, as_json: bool, cancelled: tuple[str, ...]
) -> None:
    """List or cancel tasks that wait for their due time because of an eta, a countdown or a retry.

    The tasks are read from the scheduler or, if the application has none, from the broker's queues. Messages that SQS
    or Pub/Sub themselves hold back, for some minutes, are not listed; `taskq queues` counts the messages that SQS
    delays.
    """
    app = open_app(context)
    scheduler, broker = late_delivery.late_scheduler(app.scheduler), app.broker
    if scheduler is None and not isinstance(broker, ListsHeld):
        raise ImproperlyConfigured(
            "waiting tasks can't be listed: the application has no scheduler for late tasks, and its broker doesn't "
            "list delayed messages; set TASKQ_SCHEDULER, for example to "
            "eventbridge://my-group?role=arn:aws:iam::123456789012:role/my-scheduler. (Cloud Scheduler holds periodic "
            "tasks only, which taskq beat list prints; late tasks wait in Cloud Tasks.)"
        )
    if cancelled:
        _cancel(app, cancelled)
        return
    if scheduler is not None:
        rows, cursor = _rows(app, scheduler, limit, after)
    else:
        assert isinstance(broker, ListsHeld)  # for the type checker: checked above
        page = app.run(broker.held(app.queues(), limit=limit, cursor=after))
        rows, cursor = [_held_row(message) for message in page.messages], page.cursor
    echo(json_text([asdict(row) for row in rows]) if as_json else _as_table(rows))
    if cursor is not None:
        say(context, f"There are more tasks; to list them, add --after {cursor}")


def _cancel(app: TaskQ, ids: Sequence[str]) -> None:
    for task_id in ids:
        revoked = app.AsyncResult(task_id).revoke()
        echo(f"{task_id}: {'revoked' if revoked else 'nothing to revoke'}")


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
        headers = events.read_envelope(body).get("headers")
    except DecodeError:  # the body is a reference to a message in a bucket
        return {}
    return headers if isinstance(headers, dict) else {}


def _as_table(rows: Sequence[Row]) -> str:
    values = [map(asdict(row).get, _COLUMNS) for row in rows]
    return as_table(_COLUMNS, [["?" if value is None else str(value) for value in each] for each in values])
