"""The settings of a producer without pydantic: they are those of ``taskq_cloud.settings``."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from taskq_cloud import settings
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime import plain_settings

GIVEN: dict[str, Any] = {
    "broker": "sqs://eu-west-1/shop-",
    "results": "dynamodb://shop",
    "broker_transport_options": {"region": "eu-west-1"},
    "visibility_timeout": timedelta(minutes=2),
    "wait_time_seconds": 0,
    "payload_sources": ["a", "b/c"],
    "payload_threshold": 1000,
    "task_routes": {"shop.*": "work", "a": {"queue": "b"}},
    "task_default_rate_limit": 5,
    "task_track_started": True,
    "result_expires": 60,
    "timezone": "Europe/Paris",
    "worker_concurrency": 3,
}
TEXTS = {
    "broker_url": "sqs://eu-west-1/shop-",
    "result_backend": "dynamodb://shop",
    "broker_transport_options": '{"region": "eu-west-1"}',
    "visibility_timeout": "2.5",
    "payload_sources": '["a", "b/c"]',
    "payload_threshold": "1000",
    "payload_pointers": "true",
    "task_track_workflows": "0",
    "task_fan_out_members": "0",
    "task_routes": '{"shop.*": "work"}',
    "accept_content": '["json", "yaml"]',
    "result_expires": "0",
}
WRONG: list[tuple[str, Any]] = [
    ("visibility_timeout", 0),
    ("wait_time_seconds", -1),
    ("task_max_receives", 1.5),
    ("task_max_receives", "many"),
    ("payload_threshold", 0),
    ("task_track_started", "perhaps"),
    ("broker", 5),
    ("task_routes", ["a"]),
    ("imports", "shop"),
]


def same(plain: Any, full: Any) -> bool:
    return all(getattr(plain, name) == getattr(full, name) for name in settings.Settings.model_fields)


def test_names_and_defaults_are_those_of_the_settings() -> None:
    assert {*plain_settings.SETTINGS, "broker_url", "result_backend"} == settings.Settings.model_fields.keys()
    plain, full = plain_settings.load_settings({}), settings.load_settings({})
    assert same(plain, full)
    assert (plain.results_url(), plain.policy(0)) == (full.results_url(), full.policy(0))


@pytest.mark.parametrize("name", GIVEN)
def test_keyword_is_read_as_by_the_settings(name: str) -> None:
    given = {name: GIVEN[name]}
    assert same(plain_settings.load_settings(given), settings.load_settings(given))


@pytest.mark.parametrize("name", TEXTS)
def test_variable_is_read_as_by_the_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TASKQ_{name.upper()}", TEXTS[name])
    assert same(plain_settings.load_settings({}), settings.load_settings({}))


@pytest.mark.parametrize("first", ["0", "1"])
@pytest.mark.parametrize(
    "variables",
    [
        {"TASKQ_BROKER": "memory://"},
        {"TASKQ_BROKER_URL": "memory://"},
        {"TASKQ_BROKER_URL": "memory://", "TASKQ_COMMAND_LINE": '{"broker": "sqs:///line-"}'},
        {"TASKQ_TASK_ROUTES": '{"shop.*": {"queue": "mail"}, "b": "other"}'},
        {"TASKQ_TASK_ROUTES": '{"b": "other"}', "TASKQ_COMMAND_LINE": '{"task_routes": {"shop.*": "line"}}'},
        {"TASKQ_TASK_TIME_LIMIT": "60"},
    ],
)
def test_same_source_of_a_setting_wins_in_both(
    variables: dict[str, str], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TASKQ_ENVIRONMENT_FIRST": first, **variables}.items():
        monkeypatch.setenv(name, value)
    given = {"broker": "sqs:///shop-", "task_routes": {"shop.*": {"queue": "work", "x": 1}, "a": "work"}}
    assert same(plain_settings.load_settings(given), settings.load_settings(given))


def test_file_of_a_deployment_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_ENV_FILE", "staging.env")
    with pytest.raises(ImproperlyConfigured, match=r"'staging.env', which can't be read without pydantic-settings"):
        plain_settings.load_settings({})


def test_signing_keys_are_read_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_MESSAGE_SIGNING_KEYS", "one,two")
    for load in (plain_settings.load_settings, settings.load_settings):
        loaded: Any = load({})
        assert [key.get_secret_value() for key in loaded.message_signing_keys] == ["one", "two"]
        assert "one" not in repr(loaded.message_signing_keys)


@pytest.mark.parametrize("load", [plain_settings.load_settings, settings.load_settings])
@pytest.mark.parametrize(("name", "value"), [*WRONG, ("brokre", "memory://"), ("timezone", "Europe/Atlantis")])
def test_wrong_value_is_refused_by_both(load: Callable[[dict[str, Any]], Any], name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=name if name != "timezone" else "Atlantis"):
        load({name: value})


PRODUCER = textwrap.dedent(
    """
    import importlib.abc
    import sys

    class Block(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("pydantic", "pydantic_settings", "aiobotocore", "boto3", "click"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Block())
    from taskq_cloud import TaskQ

    app = TaskQ("shop", broker="sqs://eu-west-1/", results="disabled://")
    app.send_task("add", [1, 2], queue=sys.argv[1])
    """
)


@pytest.mark.slow
def test_producer_sends_without_pydantic(
    aws_environment: dict[str, str], sqs_client: Any, make_queue: Callable[..., str]
) -> None:
    queue = make_queue("work")
    environment = {**os.environ, **aws_environment}
    done = subprocess.run(
        [sys.executable, "-c", PRODUCER, queue], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    url = sqs_client.get_queue_url(QueueName=queue)["QueueUrl"]
    assert len(sqs_client.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]) == 1
