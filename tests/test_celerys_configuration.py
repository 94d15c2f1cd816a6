"""An application that is configured as for Celery: nothing of the configuration is dropped or misread in silence."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.settings import Settings, load_settings
from taskq_cloud.stores.results.dynamodb import DynamoDBResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.stores.schedules.registry import scheduler_from_url
from taskq_cloud.testing.bench import Bench

# -- routes


def sent(app: TaskQ, queue: str) -> dict[str, Any]:
    (delivery,) = app.run(app.broker.receive(queue, 10, 0, 30))
    message: dict[str, Any] = json.loads(delivery.body)
    return message


@pytest.fixture
def routed() -> TaskQ:
    route = {
        "queue": "money",
        "priority": 5,
        "serializer": "yaml",
        "compression": "gzip",
        "time_limit": timedelta(minutes=1),
        "soft_time_limit": 50,
        "expires": 3600,
        "ignore_result": True,
    }
    app = TaskQ("shop", broker="memory://", results="memory://", task_routes={"pay": route, "mail.*": {"priority": 9}})
    app.task(name="pay")(lambda amount: amount)
    app.task(name="charge", priority=7, serializer="json", queue="money")(lambda amount: amount)
    app.task(name="mail.send", priority=2)(lambda value: value)
    return app


@pytest.mark.parametrize("how", ["delay", "send_task", "workflow"])
def test_options_of_a_route_are_those_of_its_calls(routed: TaskQ, how: str) -> None:
    result: Any
    match how:
        case "delay":
            result = routed.tasks["pay"].delay(1)
        case "send_task":
            result = routed.send_task("pay", (1,))
        case _:
            result = chain(routed.tasks["pay"].s(1), routed.tasks["mail.send"].s()).apply_async().parent
    message = sent(routed, "money")
    assert (message["properties"]["priority"], message["content-type"]) == (5, "application/x-yaml")
    assert (message["headers"]["timelimit"], message["headers"]["compression"]) == ([60, 50], "application/x-gzip")
    assert message["headers"]["expires"] is not None
    assert result.ignored


@pytest.mark.parametrize("workflow", [False, True])
def test_options_of_a_route_are_those_of_linked_tasks_too(routed: TaskQ, workflow: bool) -> None:
    bench, callback = Bench.of(routed), routed.tasks["pay"].s()
    if workflow:
        routed.tasks["mail.send"].s(1).set(link=callback).apply_async()
    else:
        routed.tasks["mail.send"].apply_async((1,), link=callback)
    bench.work()
    message = sent(routed, "money")
    assert (message["properties"]["priority"], message["content-type"]) == (5, "application/x-yaml")
    assert message["headers"]["timelimit"] == [60, 50]


def test_options_of_calls_and_declarations_come_before_those_of_routes(routed: TaskQ) -> None:
    routed.tasks["pay"].apply_async((1,), priority=1, serializer="json", time_limit=9, soft_time_limit=8)
    called = sent(routed, "money")
    assert (called["properties"]["priority"], called["content-type"]) == (1, "application/json")
    assert called["headers"]["timelimit"] == [9, 8]
    routed.tasks["mail.send"].delay(1)
    assert sent(routed, "celery")["properties"]["priority"] == 2


def test_route_without_an_effect_is_refused_before_anything_is_sent() -> None:
    app = TaskQ("shop", broker="memory://", task_routes={"pay": {"queue": "money", "routing_key": "money.pay"}})
    with pytest.raises(ImproperlyConfigured, match="'routing_key', which has no effect here"):
        app.send_task("pay")


# -- names of settings


def test_documented_recipe_keeps_the_urls_of_celerys_configuration() -> None:
    celery_settings = {
        "broker_url": "memory://",
        "result_backend": "dynamodb://@eu-west-1/table",
        "task_time_limit": 300,
    }
    known = {name: value for name, value in celery_settings.items() if name in Settings.model_fields}
    conf = TaskQ("shop", **known).conf
    assert (conf.broker, conf.results, conf.task_time_limit) == ("memory://", "dynamodb://@eu-west-1/table", 300)
    assert (conf.broker_url, conf.result_backend) == (conf.broker, conf.results)


def test_celerys_names_are_read_wherever_settings_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(broker_url="memory://").broker == "memory://"
    Path(".env").write_text("TASKQ_BROKER_URL=sqlite:///file.db\nTASKQ_RESULT_BACKEND=disabled://\n")
    assert (TaskQ().conf.broker, TaskQ().conf.results) == ("sqlite:///file.db", "disabled://")
    assert TaskQ(broker="memory://").conf.broker_url == "memory://"
    monkeypatch.setenv("TASKQ_BROKER", "memory://")
    assert TaskQ().conf.broker == "memory://"


def test_two_names_of_one_setting_with_two_values_are_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="broker_url is another name of the setting broker"):
        load_settings({"broker": "memory://", "broker_url": "sqs://"})
    assert load_settings({"broker": "memory://", "broker_url": "memory://"}).broker == "memory://"


def test_durations_of_settings_are_finite_seconds_or_timedeltas() -> None:
    conf = load_settings({"task_time_limit": timedelta(minutes=5), "worker_patience": timedelta(0)})
    assert (conf.task_time_limit, conf.worker_patience) == (300, 0)
    for wrong in (float("inf"), float("nan"), timedelta(0), -1):
        with pytest.raises(ImproperlyConfigured, match="task_time_limit"):
            load_settings({"task_time_limit": wrong})


# -- URLs


@pytest.mark.parametrize(
    "url", ["sqs://;sqs://eu-west-1/", "sqs://eu-west-1/a;sqs://eu-west-2/a", "memory://,memory://"]
)
@pytest.mark.parametrize("opened", [broker_from_url, store_from_url, scheduler_from_url])
def test_several_urls_are_refused(url: str, opened: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"holds several URLs, but the .* has one, without a failover"):
        opened(url, {})


@pytest.mark.parametrize(
    ("url", "table", "region", "endpoint_url"),
    [
        ("dynamodb://@eu-west-1/table", "table", "eu-west-1", None),
        ("dynamodb://@eu-west-1/table?read=5&write=5", "table", "eu-west-1", None),
        ("dynamodb://@eu-west-1", "celery", "eu-west-1", None),
        ("dynamodb://@localhost:8000/table", "table", "us-east-1", "http://localhost:8000"),
        ("dynamodb://@127.0.0.1:8000", "celery", "us-east-1", "http://127.0.0.1:8000"),
        ("dynamodb://eu-west-1/table", "table", "eu-west-1", None),
        ("dynamodb://table", "table", None, None),
    ],
)
def test_celerys_forms_of_dynamodbs_url_are_read(
    url: str, table: str, region: str | None, endpoint_url: str | None
) -> None:
    store = store_from_url(url, {})
    assert isinstance(store, DynamoDBResults)
    options = dict(store.services["dynamodb"].options)
    assert (store.table_name, options.get("region"), options.get("endpoint_url")) == (table, region, endpoint_url)


@pytest.mark.parametrize(
    "url", ["dynamodb://key:secret@eu-west-1/table", "dynamodb://key@eu-west-1/table", "dynamodb://"]
)
def test_credentials_and_missing_tables_are_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"doesn't name a table: .* without credentials") as caught:
        store_from_url(url, {})
    assert "secret" not in str(caught.value)


def test_option_of_celerys_url_with_another_meaning_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="unknown option 'ttl_seconds'"):
        store_from_url("dynamodb://@eu-west-1/table?ttl_seconds=60", {})


def test_empty_credentials_in_sqs_url_are_none() -> None:
    assert broker_from_url("sqs://@eu-west-1/shop-", {}).services == broker_from_url("sqs://eu-west-1/", {}).services
    with pytest.raises(ImproperlyConfigured, match="credentials don't belong in the URL"):
        broker_from_url("sqs://key:secret@eu-west-1/", {})
