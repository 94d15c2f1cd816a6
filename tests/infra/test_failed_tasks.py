"""The metric filter of the module ``observability`` matches the log lines of failed tasks, and no others."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.bootstrap.logs import JsonFormatter
from taskq_cloud.deploy.doctor.expected_alarms import FAILED_TASKS
from tests.infra.terraform import INFRA

FILTER = INFRA / "modules" / "observability" / "failed_tasks.tf"


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = TaskQ("shop", broker="memory://", results="memory://")

    @app.task(name="shop.succeed")
    def succeed() -> None: ...

    @app.task(name="shop.fail")
    def fail() -> None:
        raise ValueError("no price")

    @app.task(name="shop.refuse", throws=(LookupError,))
    def refuse() -> None:
        raise LookupError("sold out")

    yield app
    app.close()


def function_formatter() -> logging.Formatter:
    """Return the formatter of Lambda's own runtime for the log format JSON."""
    runtime = pytest.importorskip("awslambdaric.lambda_runtime_log_utils")
    formatter: logging.Formatter = runtime.JsonFormatter()
    return formatter


def pattern() -> str:
    """Return the filter's pattern."""
    (quoted,) = re.findall(r'pattern = (".*")', FILTER.read_text(encoding="utf-8"))
    unquoted: str = json.loads(quoted)
    return unquoted


def matches(line: str) -> bool:
    """Whether the filter's pattern, a conjunction of an action and of one of several levels, matches a line."""
    wanted: dict[str, set[str]] = {}
    for name, value in re.findall(r'\$\.(\w+) = "([\w.]+)"', pattern()):
        wanted.setdefault(name, set()).add(value)
    assert wanted.keys() == {"action", "level"}
    record = json.loads(line)
    return all(record.get(name) in values for name, values in wanted.items())


def test_doctor_expects_the_pattern_of_the_module() -> None:
    assert pattern() == FAILED_TASKS


@pytest.mark.parametrize(("task", "counted"), [("shop.succeed", 0), ("shop.fail", 1), ("shop.refuse", 0)])
@pytest.mark.parametrize("make_formatter", [JsonFormatter, function_formatter], ids=["container", "function"])
def test_each_failed_task_is_counted_once_in_the_logs(
    app: TaskQ,
    caplog: pytest.LogCaptureFixture,
    task: str,
    counted: int,
    make_formatter: type[logging.Formatter],
) -> None:
    caplog.set_level(logging.INFO, "taskq_cloud")
    app.lambda_handler()({"task": task}, None)
    lines = [make_formatter().format(record) for record in caplog.records]
    assert len(lines) >= 1
    assert sum(map(matches, lines)) == counted
