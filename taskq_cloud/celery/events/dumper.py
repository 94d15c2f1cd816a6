"""Prints events: ``Dumper``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.celery._state import app_or_default
from taskq_cloud.celery.utils.functional import LRUCache

__all__ = ("Dumper", "evdump")

TASK_NAMES: Final = LRUCache(limit=0xFFF)
"""The texts for tasks, by id: only the first events of a task have its name and its arguments."""

HUMAN_TYPES: Final = {
    "worker-offline": "shutdown",
    "worker-online": "started",
    "worker-heartbeat": "heartbeat",
}


def humanize_type(type: str) -> str:
    """Return the words for an event's type."""
    lower = type.lower()
    return HUMAN_TYPES.get(lower, lower.replace("-", " "))


class Dumper:
    """Prints each event as one line.

    Args:
        out: the file to print to.
    """

    def __init__(self, out: Any = sys.stdout) -> None:
        self.out = out

    def say(self, msg: str) -> None:
        """Print a line at once."""
        self.out.write(f"{msg}\n")
        flush = getattr(self.out, "flush", None)
        if flush is not None:
            flush()

    def on_event(self, ev: dict[str, Any]) -> None:
        """Print an event, which is taken apart."""
        timestamp = datetime.fromtimestamp(ev.pop("timestamp"), UTC)
        kind, hostname = ev.pop("type").lower(), ev.pop("hostname")
        if kind.startswith("task-"):
            self.format_task_event(hostname, timestamp, kind, _task_of(kind, ev), ev)
            return
        fields = _fields(ev)
        self.say(f"{hostname} [{timestamp}] {humanize_type(kind)}{fields and ':'} {fields}")

    def format_task_event(self, hostname: str, timestamp: datetime, type: str, task: str, event: Any) -> None:
        """Print an event of a task.

        Args:
            hostname: the worker's name.
            timestamp: the event's time.
            type: its type.
            task: the text for the task.
            event: the other fields.
        """
        fields = _fields(event)
        self.say(f"{hostname} [{timestamp}] {humanize_type(type)}{fields and ':'} {task} {fields}")


def _fields(event: dict[str, Any]) -> str:
    return ", ".join(f"{name}={event[name]}" for name in sorted(event))


def _task_of(type: str, event: dict[str, Any]) -> Any:
    uuid = event.pop("uuid")
    if type in ("task-received", "task-sent"):
        name, args, kwargs = event.pop("name"), event.pop("args"), event.pop("kwargs")
        TASK_NAMES[uuid] = f"{name}({uuid}) args={args} kwargs={kwargs}"
    return TASK_NAMES.get(uuid, "")


def evdump(app: Any = None, out: Any = sys.stdout) -> None:
    """Receive events, and print them until the program is interrupted.

    Args:
        app: the application.
        out: the file to print to.

    Raises:
        NotImplementedError: there is no transport for events yet.
    """
    app = app_or_default(app)
    dumper = Dumper(out=out)
    dumper.say("-> evdump: starting capture...")
    connection = app.connection_for_read().clone()
    try:
        connection.ensure_connection()
        app.events.Receiver(connection, handlers={"*": dumper.on_event}).capture()
    except (KeyboardInterrupt, SystemExit):
        return
    finally:
        connection.close()
