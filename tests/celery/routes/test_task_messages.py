"""Task messages: Celery's and ours must be equal for the same arguments."""

from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import celery
import pytest

import taskq_cloud.celery

BOTH = pytest.mark.parametrize("package", [celery, taskq_cloud.celery], ids=["celery", "ours"])
NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def _app(package: ModuleType, **settings: Any) -> Any:
    return package.Celery("messages", set_as_current=False, changes=settings)


CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "arguments": {"args": [1, "two"], "kwargs": {"three": [4]}},
    "long arguments": {"args": ("x" * 5000, list(range(500))), "kwargs": {"deep": {"a": {"b": {"c": {"d": 1}}}}}},
    "times": {"eta": NOW, "expires": NOW + timedelta(hours=1)},
    "texts of times": {"eta": NOW.isoformat(), "expires": "2026-05-01T13:30:00+00:00"},
    "seconds": {"countdown": 10, "expires": 20.5, "now": NOW},
    "seconds in a zone": {"countdown": 10, "expires": 30, "now": NOW, "timezone": ZoneInfo("Europe/Berlin")},
    "limits": {"time_limit": 30, "soft_time_limit": 10, "retries": 3},
    "workflow": {
        "group_id": "g",
        "group_index": 2,
        "chord": {"task": "c"},
        "callbacks": [{"task": "cb"}],
        "errbacks": [{"task": "eb"}],
        "chain": [{"task": "n"}],
        "root_id": "r",
        "parent_id": "p",
        "replaced_task_nesting": 1,
    },
    "names": {"reply_to": "me", "shadow": "s", "origin": "o", "argsrepr": "(...)", "kwargsrepr": "{...}"},
    "stamps": {"stamped_headers": ["a", "b"], "a": 1, "b": [2], "ignore_result": True},
    "event": {"create_sent_event": True, "args": (1,), "root_id": "r", "parent_id": "p", "expires": NOW},
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("version", [1, 2])
def test_messages_are_celerys(version: int, call: dict[str, Any]) -> None:
    theirs, ours = (
        _app(package, task_protocol=version, enable_utc=True).amqp.create_task_message("the id", "proj.add", **call)
        for package in (celery, taskq_cloud.celery)
    )
    assert tuple(ours) == tuple(theirs)
    assert ours._fields == theirs._fields
    assert list(ours.headers) == list(theirs.headers)


@BOTH
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"args": "abc"}, TypeError("task args must be a list or tuple")),
        ({"kwargs": [(1, 2)]}, TypeError("task keyword arguments must be a mapping")),
        ({"countdown": -2147483649}, ValueError("countdown is out of range: -2147483649")),
        ({"expires": -2147483649}, ValueError("expires is out of range: -2147483649")),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(package: ModuleType, version: int, call: Any, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        _app(package).amqp.task_protocols[version]("the id", "proj.add", **call)
    assert str(raised.value) == str(error)
