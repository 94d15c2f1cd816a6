"""Each row of docs/celery.md's table of differences is shown by a test: one of this module, or another that is named.

tests/docs/test_celery_page.py compares the table with ``SHOWN``.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from taskq_cloud.celery.native.settings import native_settings
from taskq_cloud.errors import ImproperlyConfigured as NativeImproperlyConfigured
from taskq_cloud.pools import hubs
from tests.celery.documentation.sides import Side, get

ROOT = Path(__file__).parents[3]
_HERE: Final = "celery/documentation/test_differences.py"
_BEAT: Final = "celery/beat"
_CALLS: Final = "celery/documentation/test_differences_of_calls.py"
_WORKER: Final = "celery/worker/test_work_controllers.py"
_SETTINGS: Final = "celery/configuration/test_native_settings.py"

SHOWN: Final = {
    "brokers and result backends": f"{_SETTINGS}::test_setting_that_would_lose_messages_or_results_is_refused",
    "failover": f"{_SETTINGS}::test_setting_that_would_lose_messages_or_results_is_refused",
    "user's backend classes": "celery/results/test_native_store.py::test_backend_derived_from_celerys_is_refused",
    "result_backend unset": f"{_SETTINGS}::test_store_of_the_environment_replaces_the_disabled_backend",
    "queues and tables": f"{_HERE}::test_native_application_declares_its_queues",
    "task_protocol=1": f"{_HERE}::test_first_protocol_is_refused",
    "task_acks_late unset": f"{_HERE}::test_message_is_acknowledged_late_unless_the_setting_is_false",
    "task_reject_on_worker_lost unset": f"{_HERE}::test_message_of_a_lost_worker_is_delivered_again_by_default",
    "final states": "celery/results/test_native_store.py::test_final_state_stays_whatever_it_is",
    "unregistered task": f"{_HERE}::test_unregistered_task_has_no_result",
    "eta and countdown": "celery/documentation/test_calling.py::test_countdown_and_eta_delay_a_task",
    "rate_limit": "worker/test_rate_limits.py",
    "revoke()": f"{_HERE}::test_revocation_is_a_record",
    "retry(throw=False)": f"{_HERE}::test_retry_that_does_not_raise_is_sent_after_the_task",
    "handlers and signals": f"{_HERE}::test_handler_runs_before_the_result_is_stored",
    "overridden apply_async": f"{_CALLS}::test_overridden_call_of_a_follower_changes_headers_only",
    "before_task_publish": f"{_CALLS}::test_property_that_a_receiver_changes_is_not_sent_unless_it_is_the_priority",
    "ids of tasks": f"{_CALLS}::test_id_that_is_a_number_is_refused",
    "options with wrong values, such as max_retries=-1": f"{_CALLS}::test_option_with_a_wrong_value_is_refused",
    "settings with wrong values": f"{_CALLS}::test_setting_with_a_wrong_value_is_refused_by_calls",
    "result of a rejected task": f"{_CALLS}::test_result_of_a_rejected_task_raises_an_error_with_its_name",
    "message that has expired": f"{_CALLS}::test_expired_message_is_received_and_revoked",
    "self.request.chain, callbacks, errbacks and chord, changed by the task": "celery/scenarios/test_scenarios.py",
    "sys.exit() in a task": f"{_CALLS}::test_task_that_leaves_the_process_runs_again",
    "failed header of a chord": "celery/documentation/test_canvas.py::test_failed_member_fails_the_body_of_a_chord",
    "children of a task with several callbacks": f"{_HERE}::test_each_callback_is_a_child",
    "a chord that is frozen twice": (
        "celery/canvas/test_changing.py::test_frozen_workflow_keeps_all_ids_when_frozen_again"
    ),
    "result_extended, task_track_started and other settings of results": (
        f"{_HERE}::test_changed_setting_makes_another_native_application"
    ),
    "result_serializer": f"{_HERE}::test_serializer_of_results_is_warned_of",
    "events, Flower": f"{_HERE}::test_settings_of_events_are_warned_of",
    "remote control": f"{_HERE}::test_remote_control_says_what_shows_it_instead",
    "pools eventlet and gevent": f"{_HERE}::test_program_that_is_patched_for_greenlets_is_refused",
    "custom Request and Strategy classes": f"{_HERE}::test_strategy_is_refused",
    "--autoscale MAX,MIN": f"{_WORKER}::test_autoscaling_worker_grows_from_its_least_to_its_largest_concurrency",
    "SIGHUP": "celery/bin/test_worker_command.py::test_hangup_stops_the_worker",
    "ConsumerStep": "celery/worker/test_bootsteps.py::test_consumer_step_says_that_there_is_no_channel",
    "worker.reload()": f"{_WORKER}::test_reloading_worker_imports_modules_and_keeps_its_processes",
    "errors of kombu": (
        "celery/sweep/test_errors_of_brokers.py::test_broker_that_cannot_be_used_raises_operational_error"
    ),
    "app.connection(), app.pool, app.producer_pool": (
        "celery/documentation/test_calling.py::test_connection_and_producer_can_be_given"
    ),
    "beat": f"{_BEAT}/test_tickers.py::test_ticker_sends_what_a_scheduler_sends",
    "intervals of beat": f"{_BEAT}/test_tickers.py::test_entry_of_a_scheduler_becomes_a_native_one",
    "beat_cron_starting_deadline": f"{_HERE}::test_deadline_of_crontabs_is_no_native_setting",
    "celery.backend_cleanup": (
        f"{_BEAT}/test_schedulers.py::test_cleanup_is_scheduled_where_results_do_not_expire_by_themselves"
    ),
    "remote control of beat": f"{_HERE}::test_remote_control_of_beat_warns",
    "EmbeddedService": f"{_BEAT}/test_services.py::test_embedded_service_is_a_process_by_default",
    "commands amqp, events, graph, logtool, migrate, multi": (
        "celery/bin/test_worker_command.py::test_refusal_is_one_line_with_exit_code"
    ),
}
"""The first cell of a row -> the file, and mostly the test, that shows the difference."""


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_named_test_exists(shown: str) -> None:
    path, _, name = shown.partition("::")
    source = (ROOT / "tests" / path).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(" if name else r"^(async )?def test_", source, re.MULTILINE)


def test_native_application_declares_its_queues(ours: Side) -> None:
    app = ours.app()
    app.conf.task_routes = {"shop.resize": "images"}

    @app.task(name="shop.resize")
    def resize() -> None:
        return None

    app.finalize()
    assert set(app.native.queues()) >= {"images"}


def test_first_protocol_is_refused(ours: Side) -> None:
    app = ours.app()
    app.conf.task_protocol = 1
    with pytest.raises(ours.module("exceptions").ImproperlyConfigured, match="task_protocol"):
        native_settings(app.conf)


def test_message_is_acknowledged_late_unless_the_setting_is_false(ours: Side) -> None:
    assert ours.app().native.conf.task_acks_late is not False
    app = ours.app()
    app.conf.task_acks_late = False
    assert app.native.conf.task_acks_late is False


def test_message_of_a_lost_worker_is_delivered_again_by_default(ours: Side) -> None:
    app = ours.app()

    @app.task
    def unset() -> None:
        return None

    @app.task(reject_on_worker_lost=False)
    def fails() -> None:
        return None

    app.finalize()
    assert app.native.options_of(unset.name).reject_on_worker_lost is not False
    assert app.native.options_of(fails.name).reject_on_worker_lost is False


def test_unregistered_task_has_no_result(ours: Side) -> None:
    app = ours.app()
    with ours.worker(app):
        result = app.send_task("not.registered")
        with pytest.raises(ours.module("exceptions").TimeoutError):
            result.get(timeout=0.5, interval=0.02)
    assert result.state == "PENDING"


@pytest.mark.slow
def test_unregistered_task_is_dropped_by_celery() -> None:
    side = Side("celery")
    app = side.app()
    with side.worker(app):
        result = app.send_task("not.registered")
        with pytest.raises(side.module("exceptions").NotRegistered):
            get(result)
    side.close()


def test_revocation_is_a_record(ours: Side) -> None:
    app = ours.app()
    ran = []

    @app.task
    def note() -> None:
        ran.append(1)

    result = note.apply_async(countdown=0.2)
    result.revoke()
    with ours.worker(app), pytest.raises(ours.module("exceptions").TaskRevokedError):
        get(result)
    with pytest.raises(NotImplementedError, match="time limits"):
        result.revoke(terminate=True)
    assert ran == []


def test_retry_that_does_not_raise_is_sent_after_the_task(ours: Side) -> None:
    app = ours.app()
    events: list[str] = []

    @app.task(bind=True, max_retries=1)
    def again(self: Any) -> Any:
        events.append(f"run {self.request.retries}")
        if self.request.retries == 0:
            self.retry(countdown=0, throw=False)
            time.sleep(0.2)  # long enough for a second worker thread to run a message that was sent
            events.append("end")
        return self.request.retries

    with ours.worker(app, pool="threads", concurrency=2):
        assert get(again.delay()) == 1
    assert events == ["run 0", "end", "run 1"]


@pytest.mark.parametrize("package", [pytest.param("celery", marks=pytest.mark.slow), "taskq_cloud.celery"])
def test_handler_runs_before_the_result_is_stored(package: str) -> None:
    side = Side(package)
    app = side.app()
    seen: list[str] = []

    class Looks(side.Task):  # type: ignore[name-defined]
        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            seen.append(self.AsyncResult(task_id).state)

    @app.task(base=Looks)
    def done() -> None:
        return None

    with side.worker(app):
        get(done.delay())
        get(done.delay())
    side.close()
    assert seen[0] == ("PENDING" if side.is_ours else "SUCCESS")


@pytest.mark.parametrize("package", [pytest.param("celery", marks=pytest.mark.slow), "taskq_cloud.celery"])
def test_each_callback_is_a_child(package: str) -> None:
    side = Side(package)
    app = side.app()

    @app.task
    def same(value: int) -> int:
        return value

    with side.worker(app):
        result = same.apply_async((1,), link=[same.s(), same.s()])
        get(result)
    assert len(result.children) == (2 if side.is_ours else 1)
    side.close()


def test_changed_setting_makes_another_native_application(ours: Side) -> None:
    app = ours.app()
    before = app.native.conf
    app.conf.result_extended = True
    assert before.result_extended is False
    assert app.native.conf.result_extended is True


def test_serializer_of_results_is_warned_of(ours: Side, caplog: pytest.LogCaptureFixture) -> None:
    assert_warned(ours, caplog, "result_serializer", "pickle")


def test_settings_of_events_are_warned_of(ours: Side, caplog: pytest.LogCaptureFixture) -> None:
    assert_warned(ours, caplog, "worker_send_task_events", True)


def assert_warned(ours: Side, caplog: pytest.LogCaptureFixture, setting: str, value: Any) -> None:
    from taskq_cloud.celery.native import settings

    settings._warned.discard(setting)
    app = ours.app()
    app.conf[setting] = value
    with caplog.at_level(logging.WARNING, "taskq_cloud.celery"):
        native_settings(app.conf)
    assert f"The setting {setting} has no effect" in caplog.text


def test_remote_control_says_what_shows_it_instead(ours: Side) -> None:
    app = ours.app()
    with pytest.raises(NotImplementedError, match="`taskq queues`"):
        app.control.inspect().active()
    with pytest.raises(NotImplementedError, match="set rate_limit of the task"):
        app.control.rate_limit("shop.resize", "10/m")


@pytest.mark.parametrize(
    ("pool", "module", "function"),
    [("eventlet", "eventlet.patcher", "is_monkey_patched"), ("gevent", "gevent.monkey", "is_module_patched")],
)
def test_program_that_is_patched_for_greenlets_is_refused(
    ours: Side, pool: str, module: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{function: lambda name: name == "select"}))
    app = ours.app()
    app.conf.worker_pool = pool
    assert native_settings(app.conf)["worker_pool"] == pool
    with pytest.raises(NativeImproperlyConfigured, match=rf"{pool} has patched .* --pool {pool} patches the process"):
        hubs.check_unpatched()


def test_strategy_is_refused(ours: Side) -> None:
    with pytest.raises(ours.module("exceptions").ImproperlyConfigured, match="native pipeline"):
        ours.module("worker.strategy").default(None, ours.app(), None)


def test_deadline_of_crontabs_is_no_native_setting(ours: Side) -> None:
    app = ours.app()
    app.conf.beat_cron_starting_deadline = 60
    assert "beat_cron_starting_deadline" not in native_settings(app.conf)


def test_remote_control_of_beat_warns(ours: Side, caplog: pytest.LogCaptureFixture) -> None:
    beat = ours.module("beat")
    with caplog.at_level(logging.WARNING):
        beat.BeatPidbox(beat.Service(ours.app())).start()
    assert "remote control is unavailable" in caplog.text
