"""Logging of ``taskq`` commands and of the processes of their pools: text or JSON lines on standard error.

Names, ids and errors in log records may come from whoever can send a message. Control characters in them are escaped,
as they would move a terminal's cursor, and a further line of a record is indented if it looks like a record.

A library doesn't configure logging, so an application that only imports ``taskq_cloud`` gets none of this.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.bootstrap.log_output import PatientOutput, log_output
from taskq_cloud.core import serializers
from taskq_cloud.core.execution.run_context import current_invocation

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
FORMATS: Final = ("text", "json")
LEVEL_VARIABLE: Final = "TASKQ_LOG_LEVEL"
FORMAT_VARIABLE: Final = "TASKQ_LOG_FORMAT"

IDS: Final = ("queue", "task_id", "message_id")
"""The ids that a line of text ends with, unless its message contains them already."""

_VERBOSE_LOGGERS: Final = ("aiobotocore", "asyncio", "azure", "boto3", "botocore", "google", "grpc", "msal", "urllib3")
"""Loggers that log warnings and errors only. At level info, Azure's SDK logs each request and answer, some forty lines.
At level debug, botocore's records hold whole requests, with their signatures."""

_CONTROL: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and line feed, line separators, changes of the direction of writing, and surrogates."""

_LIKE_A_RECORD: Final = re.compile(r"^(?=\d{4}-\d\d-\d\dT)", re.MULTILINE)

_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def logging_to_stderr(level: str, output_format: str) -> Iterator[None]:
    """Log to standard error while the context lasts.

    Args:
        level: the lowest level that is logged, one of ``LEVELS``.
        output_format: the format of a line, one of ``FORMATS``.
    """
    loggers = [logging.getLogger(name) for name in (None, *_VERBOSE_LOGGERS)]
    levels_before = [each.level for each in loggers]
    handler = _set_up(level, output_format)
    try:
        yield
    finally:
        for changed, level_before in zip(loggers, levels_before, strict=True):
            changed.setLevel(level_before)
        logging.getLogger().removeHandler(handler)
        _close(handler)


def set_up_from_environment() -> None:
    """Log like the process that started this one, which passes level and format on in environment variables.

    Without these variables, logging isn't set up.
    """
    level = os.environ.get(LEVEL_VARIABLE)
    if level in LEVELS:
        atexit.register(_close, _set_up(level, os.environ.get(FORMAT_VARIABLE, "text")))


def keep_handlers_from_waiting() -> None:
    """Let the handlers that the application has made for standard output and error write without waiting, too."""
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    for handler in {handler for logger in loggers for handler in getattr(logger, "handlers", ())}:
        if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr):
            output = log_output(handler.stream)
            if isinstance(output, PatientOutput):
                handler.setStream(output)
                atexit.register(output.close)


def set_up_in_function() -> None:
    """Add the running task's id and name to the log records of a function, and set the log level.

    The provider's runtime (Lambda) has set up the handlers already. The level is changed only if ``TASKQ_LOG_LEVEL`` is
    set.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(add_running_task)
    level = os.environ.get(LEVEL_VARIABLE)
    if level in LEVELS:
        logging.getLogger("taskq_cloud").setLevel(level.upper())


def _set_up(level: str, output_format: str) -> logging.StreamHandler[Any]:
    handler = _handler(output_format)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _VERBOSE_LOGGERS:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    return handler


def _close(handler: logging.StreamHandler[Any]) -> None:
    if isinstance(handler.stream, PatientOutput):
        handler.stream.close()


def _handler(output_format: str) -> logging.StreamHandler[Any]:
    handler: logging.StreamHandler[Any] = logging.StreamHandler(log_output())
    handler.addFilter(add_running_task)
    handler.setFormatter(JsonFormatter() if output_format == "json" else TextFormatter())
    return handler


def add_running_task(record: logging.LogRecord) -> bool:
    """Add ``task_id`` and ``task`` to a record that a running task has logged: a filter for handlers."""
    invocation = current_invocation.get()
    if invocation is not None and not hasattr(record, "task_id"):
        record.task_id = invocation.message.id
        record.task = invocation.message.task
    return True


def printable(text: str) -> str:
    """Escape the characters of a text that a terminal would act upon, except tabs and line feeds."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class TextFormatter(logging.Formatter):
    """Formats a record as ``2030-01-31T12:00:00.000Z INFO    taskq_cloud.worker: text [queue=... task_id=...]``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's text; the ids come at the end of its first line, and a traceback on further lines."""
        text = record.getMessage()
        missing = [(name, value) for name in IDS if (value := getattr(record, name, None)) and str(value) not in text]
        ids = " ".join(f"{name}={value}" for name, value in missing).replace("\n", "\\n")
        first, newline, rest = text.partition("\n")
        line = f"{record.levelname:<7} {record.name}: {first}{f' [{ids}]' if ids else ''}{newline}{rest}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return f"{_time(record)} {_LIKE_A_RECORD.sub('  ', printable(line))}"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, and all extra fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a JSON object; ``exception`` holds the traceback."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return serializers.strict(json.dumps(line, default=str))


def _time(record: logging.LogRecord) -> str:
    created = datetime.fromtimestamp(record.created, UTC)
    return created.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
