"""Log records in a function: the handlers of Lambda and of Powertools get the id and name of the running task."""

from __future__ import annotations

import io
import json
import logging

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

from taskq_cloud import TaskQ
from taskq_cloud.bootstrap import logs


@pytest.fixture
def app() -> TaskQ:
    app = TaskQ("shop", broker="memory://", results="memory://")

    @app.task(name="greet")
    def greet(name: str) -> None:
        logging.getLogger("shop").warning("hello %s", name)

    return app


def test_library_logs_in_the_json_format_of_powertools(app: TaskQ, library_loggers: None) -> None:
    stream = io.StringIO()
    powertools = Logger(service="shop", stream=stream, level="INFO", logger_handler=logging.StreamHandler(stream))
    copy_config_to_registered_loggers(source_logger=powertools, include={"taskq_cloud"})
    app.lambda_handler()({"task": "greet", "id": "4711", "args": ["you"]}, None)
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines() if "succeeded" in text]
    assert (line["action"], line["task_id"], line["service"]) == ("task.succeeded", "4711", "shop")


def test_handlers_set_up_by_lambda_get_the_running_task(
    app: TaskQ, monkeypatch: pytest.MonkeyPatch, library_loggers: None
) -> None:
    records = []

    class Runtime(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Runtime()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setenv("TASKQ_LOG_LEVEL", "info")
    logs.set_up_in_function()
    app.lambda_handler()({"task": "greet", "id": "4711", "args": ["you"]}, None)
    assert [(record.name, vars(record)["task_id"]) for record in records] == [
        ("shop", "4711"),
        ("taskq_cloud.execution", "4711"),
    ]
