"""The text and JSON formats of log records."""

from __future__ import annotations

import json
import logging
import sys

from taskq_cloud.bootstrap.logs import JsonFormatter, TextFormatter


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "shop", "levelname": "INFO", "msg": message, "args": args, "created": 1_893_456_000.5, **extra}
    )


def test_text_line_ends_with_ids_that_its_message_lacks() -> None:
    line = TextFormatter().format(record("task %s is done", "abc", task_id="abc", queue="mail", message_id=None))
    assert line == "2030-01-01T00:00:00.500Z INFO    shop: task abc is done [queue=mail]"


def test_ids_are_on_the_first_line_of_a_message() -> None:
    first, second = TextFormatter().format(record("failed: no\npaper", queue="mail")).splitlines()
    assert first.endswith("failed: no [queue=mail]")
    assert second == "paper"


def test_json_line_holds_extra_fields_of_the_record() -> None:
    line = json.loads(JsonFormatter().format(record("%d left", 3, action="poll.failed", thing=object, pause_seconds=2)))
    assert line == {
        "time": "2030-01-01T00:00:00.500Z",
        "level": "info",
        "logger": "shop",
        "message": "3 left",
        "action": "poll.failed",
        "thing": "<class 'object'>",
        "pause_seconds": 2,
    }


def test_exception_is_part_of_its_record() -> None:
    try:
        raise ValueError("no\npaper")
    except ValueError:
        failed = record("failed", exc_info=sys.exc_info())
    assert TextFormatter().format(failed).endswith("ValueError: no\npaper")
    text = JsonFormatter().format(failed)
    assert "\n" not in text
    assert "Traceback" in json.loads(text)["exception"]
