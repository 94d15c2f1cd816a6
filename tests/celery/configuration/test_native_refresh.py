"""The native settings are made anew after a change of the configuration that they are made of, and only then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud.celery import Celery


@pytest.fixture
def app() -> Iterator[Any]:
    made = Celery("shop", set_as_current=False, broker="memory://", backend="cache+memory://")
    yield made
    made.close()


def _set(name: str, value: Any) -> Callable[[Any], None]:
    def change(app: Any) -> None:
        setattr(app.conf, name, value)

    change.__name__ = name
    return change


def _change_schedule_in_place(app: Any) -> None:
    app.conf.beat_schedule["report"] = {"task": "shop.report", "schedule": 60.0}


def _add_old_name(app: Any) -> None:
    app.conf["CELERY_DEFAULT_QUEUE"] = "other"


@pytest.mark.parametrize(
    "change",
    [
        _set("task_time_limit", 5),
        _set("task_default_queue", "other"),
        _set("timezone", "Europe/Berlin"),
        _set("broker_url", "sqs://"),
        _set("broker_transport_options", {"visibility_timeout": 30}),
        _set("result_backend", "dynamodb://@eu-west-1/results"),
        _set("imports", ["os"]),
        _set("task_fan_out_members", 5),
        _change_schedule_in_place,
        _add_old_name,
    ],
)
def test_change_of_a_setting_in_use_makes_new_native_settings(app: Any, change: Callable[[Any], None]) -> None:
    before = app.native.conf
    change(app)
    assert app.native.conf != before
    after = app.native.conf
    assert app.native.conf is after


@pytest.mark.parametrize(
    "change", [_set("shop_currency", "EUR"), _set("task_routes", {"shop.*": "mail"}), _set("beat_sync_every", 3)]
)
def test_change_of_another_setting_keeps_the_native_settings(app: Any, change: Callable[[Any], None]) -> None:
    before, broker = app.native.conf, app.native.broker
    change(app)
    assert app.native.conf is before
    assert app.native.broker is broker


def test_setting_without_effect_is_warned_of_when_it_is_set(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    from taskq_cloud.celery.native import settings

    settings._warned.discard("worker_direct")
    assert app.native.conf
    app.conf.worker_direct = True
    with caplog.at_level(logging.WARNING):
        assert app.native.conf
    assert "worker_direct has no effect" in caplog.text


@pytest.mark.parametrize(("is_running", "warnings"), [(True, 1), (False, 0)])
def test_change_of_the_store_is_warned_of_while_a_worker_runs(
    app: Any, caplog: pytest.LogCaptureFixture, is_running: bool, warnings: int
) -> None:
    assert app.native.conf
    app._controller = app if is_running else None
    app.conf.result_backend = "dynamodb://@eu-west-1/results"
    with caplog.at_level(logging.WARNING):
        assert app.native.conf.results.startswith("dynamodb")
    app._controller = None
    assert sum("results changed while a worker runs" in each for each in caplog.messages) == warnings
