"""Log records on standard error, as lines for people or as JSON: set up by ``taskq``, and by its pools' processes.

A library sets up no logging: nothing here runs unless the command line, or the environment it passes on, says so.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.core.execution.runner import current_invocation

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
FORMATS: Final = ("text", "json")
LEVEL_VARIABLE: Final = "TASKQ_LOG_LEVEL"
FORMAT_VARIABLE: Final = "TASKQ_LOG_FORMAT"

IDS: Final = ("queue", "task_id", "message_id")
"""What a line for people ends with, as far as its text does not say it."""

_CHATTY: Final = ("aiobotocore", "asyncio", "boto3", "botocore", "urllib3")
"""Loggers that stay at warnings: botocore's debug records hold whole requests, with their signatures."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def logging_to_stderr(level: str, form: str) -> Iterator[None]:
    """Send log records of ``level`` (of ``LEVELS``) and above to standard error, in one of the ``FORMATS``."""
    root = logging.getLogger()
    level_before = root.level
    handler = _set_up(level, form)
    try:
        yield
    finally:
        root.setLevel(level_before)
        root.removeHandler(handler)


def set_up_from_environment() -> None:
    """Log as the process does that started this one; without its variables, not at all."""
    level = os.environ.get(LEVEL_VARIABLE)
    if level in LEVELS:
        _set_up(level, os.environ.get(FORMAT_VARIABLE, "text"))


def set_up_in_function() -> None:
    """Add the running task to what a provider's runtime logs, whose handlers are there already, and set the level."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(add_running_task)
    level = os.environ.get(LEVEL_VARIABLE)
    if level in LEVELS:
        logging.getLogger("taskq_cloud").setLevel(level.upper())


def _set_up(level: str, form: str) -> logging.Handler:
    handler = _handler(form)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _CHATTY:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    return handler


def _handler(form: str) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(add_running_task)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    return handler


def add_running_task(record: logging.LogRecord) -> bool:
    """A filter of a handler: say which task a record comes from that a task's own code has logged."""
    invocation = current_invocation.get()
    if invocation is not None and not hasattr(record, "task_id"):
        record.task_id = invocation.message.id
        record.task = invocation.message.task
    return True


class TextFormatter(logging.Formatter):
    """``2030-01-31T12:00:00.000Z INFO    taskq_cloud.worker: text [queue=... task_id=...]``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; a traceback, in it or beside it, follows on lines of its own."""
        text = record.getMessage()
        missing = [(name, value) for name in IDS if (value := getattr(record, name, None)) and str(value) not in text]
        ids = f" [{' '.join(f'{name}={value}' for name, value in missing)}]" if missing else ""
        first, newline, rest = text.partition("\n")
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {first}{ids}{newline}{rest}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and whatever the record has beside."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
