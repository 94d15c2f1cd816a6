"""The text and JSON formats of log records."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.bootstrap.logs import JsonFormatter, TextFormatter, logging_to_stderr, printable


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "shop", "levelname": "INFO", "msg": message, "args": args, "created": 1_893_456_000.5, **extra}
    )


@pytest.mark.parametrize("store", ["azure", "gcs", "s3"])
def test_requests_of_a_store_are_not_logged_at_a_workers_level(
    store: str, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    fixture, url = {
        "azure": ("make_container", "azureblob://{}"),
        "gcs": ("make_gcs_bucket", "gs://{}"),
        "s3": ("make_bucket", "s3://{}"),
    }[store]
    app = TaskQ("quiet", broker="memory://", results=url.format(request.getfixturevalue(fixture)()))
    with logging_to_stderr("info", "text"):
        logging.getLogger("shop").info("a line of the application")
        app.AsyncResult("t-1").forget()
        assert app.AsyncResult("t-1").state == "PENDING"
    app.close()
    [line] = capfd.readouterr().err.splitlines()
    assert line.endswith("INFO    shop: a line of the application")


def test_levels_of_loggers_are_put_back_after_the_context(capfd: pytest.CaptureFixture[str]) -> None:
    names = (None, "azure", "botocore", "google")
    before = [logging.getLogger(name).level for name in names]
    with logging_to_stderr("debug", "text"):
        pass
    assert [logging.getLogger(name).level for name in names] == before


def test_text_line_ends_with_ids_that_its_message_lacks() -> None:
    line = TextFormatter().format(record("task %s is done", "abc", task_id="abc", queue="mail", message_id=None))
    assert line == "2030-01-01T00:00:00.500Z INFO    shop: task abc is done [queue=mail]"


def test_ids_are_on_the_first_line_of_a_message() -> None:
    first, second = TextFormatter().format(record("failed: no\npaper", queue="mail")).splitlines()
    assert first.endswith("failed: no [queue=mail]")
    assert second == "paper"


def test_control_characters_are_escaped() -> None:
    hostile = "\x1b[2J\r\x07\x9b1m \u202egnp.exe \u2028 \ud800"
    text = TextFormatter().format(record("task %s\tfailed", hostile, task_id="a\x1b]0;\nb"))
    assert text.endswith(
        r"task \x1b[2J\r\x07\x9b1m \u202egnp.exe \u2028 \ud800" + "\t" + r"failed [task_id=a\x1b]0;\nb]"
    )
    try:
        raise ValueError(hostile)
    except ValueError:
        text = TextFormatter().format(record("failed", exc_info=sys.exc_info()))
    assert "\x1b" not in text and "\r" not in text and text.endswith(r"\ud800")


def test_line_of_a_message_cannot_pass_for_a_record() -> None:
    genuine = TextFormatter().format(record("a genuine record"))
    first, second, third = TextFormatter().format(record("task %s", f"x\n{genuine}\nfailed")).split("\n")
    assert first.endswith("task x") and second == f"  {genuine}" and third == "failed"
    try:
        raise ValueError(f"x\n{genuine}")
    except ValueError:
        text = TextFormatter().format(record("failed", exc_info=sys.exc_info()))
    assert genuine not in text.split("\n")


def test_ordinary_text_is_not_escaped() -> None:
    words = "Zoë 北京 🎉 naïve\u00a0½\tend"
    assert printable(words) == words


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
