"""Helpers for tests: applications, workers and messages."""

import importlib
import io
import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import celery
import pytest

import taskq_cloud.celery
from taskq_cloud.celery.contrib.testing import worker as workers
from taskq_cloud.celery.contrib.testing.app import TestApp, setup_default_app
from taskq_cloud.celery.worker import WorkController
from taskq_cloud.errors import ImproperlyConfigured
from tests.celery.utils.loggers import loggers_as_before

BOTH = pytest.mark.parametrize("package", [celery, taskq_cloud.celery], ids=["celery", "ours"])


def _testing(package: ModuleType, name: str) -> Any:
    return importlib.import_module(f"{package.__name__}.contrib.testing.{name}")


@pytest.fixture
def app() -> Iterator[Any]:
    made = TestApp()
    with setup_default_app(made), loggers_as_before():
        yield made


def test_default_configuration_is_celerys() -> None:
    theirs, ours = (_testing(package, "app").DEFAULT_TEST_CONFIG for package in (celery, taskq_cloud.celery))
    assert ours == theirs


@BOTH
def test_application_for_tests_has_given_settings(package: ModuleType) -> None:
    testing = _testing(package, "app")
    app = testing.TestApp("mine", config={"timezone": "Asia/Tokyo"}, backend="cache+memory://", broker="memory://b")
    assert (app.main, app.conf.timezone, app.conf.broker_url) == ("mine", "Asia/Tokyo", "memory://b")
    assert isinstance(app.log, testing.UnitLogging)
    assert app.log.already_setup
    assert "celery.ping" in app.tasks
    assert not isinstance(testing.TestApp(enable_logging=True).log, testing.UnitLogging)


@BOTH
def test_state_is_restored_after_a_test(package: ModuleType) -> None:
    testing, state = _testing(package, "app"), package._state
    before = state.get_current_app()
    app = testing.TestApp()
    with testing.setup_default_app(app):
        app.set_current()
        app.set_default()

        def task() -> None:
            """A task of this test only."""

        package.shared_task(name="made.within")(task)
        finalizers = set(state._on_app_finalizers)
        assert state.get_current_app() is app
    assert state.get_current_app() is before
    assert len(state._on_app_finalizers) == len(finalizers) - 1


@BOTH
def test_trap_refuses_to_be_used(package: ModuleType) -> None:
    testing, state = _testing(package, "app"), package._state
    app = testing.TestApp()
    with testing.setup_default_app(app, use_trap=True):
        with pytest.raises(RuntimeError, match="Test depends on current_app"):
            _ = state.get_current_app().conf
        with pytest.raises(RuntimeError, match="Test depends on current_app"):
            _ = package.current_app.conf
    assert testing.Trap().__func__ is None
    assert not isinstance(state.get_current_app(), testing.Trap)


def test_worker_runs_tasks_of_its_application(app: Any) -> None:
    seen: list[tuple[str, list[str]]] = []

    def receiver(signal: Any, sender: Any, **kwargs: Any) -> None:
        seen.append((signal.name, sorted(kwargs)))

    signals = (workers.test_worker_starting, workers.test_worker_started, workers.test_worker_stopped)
    for signal in signals:
        signal.connect(receiver, sender=app)

    def add(x: int, y: int) -> int:
        return x + y

    task = app.task(add)
    with workers.start_worker(app, hostname="w1@host") as worker:
        assert worker.hostname == "w1@host"
        assert task.delay(2, 3).get(timeout=10) == 5
    assert seen == [
        ("test_worker_starting", []),
        ("test_worker_started", ["consumer", "worker"]),
        ("test_worker_stopped", ["worker"]),
    ]


@pytest.mark.parametrize(
    ("options", "queues"),
    [
        ({}, ("celery", "one", "two")),
        ({"exclude_queues": "one"}, ("celery", "two")),
        ({"queues": "one,new"}, ("new", "one")),
        ({"queues": ["two"]}, ("two",)),
    ],
)
def test_worker_consumes_from_chosen_queues(app: Any, options: dict[str, Any], queues: tuple[str, ...]) -> None:
    app.conf.task_queues = {"celery": {}, "one": {}, "two": {}}
    assert workers.TestWorkController(app, **options).queue_names == queues


def test_worker_of_tests_is_a_work_controller(app: Any) -> None:
    worker = workers.TestWorkController(app)
    assert isinstance(worker, WorkController)
    assert (worker.app, worker.exitcode, worker.logger_queue) == (app, None, None)
    assert worker.blueprint.human_state() == "initializing"
    with workers.start_worker(app) as running:
        assert running.state.total_count is not None
        assert running.stats()["pid"] == os.getpid()


def test_handler_of_a_queue_marks_records() -> None:
    queued: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = workers.TestWorkController.QueueHandler(queued)
    handler.handle(logging.makeLogRecord({"msg": "a %s", "args": ("task",)}))
    record = queued.get(timeout=1)
    assert (record.msg, record.args, record.__dict__["from_queue"]) == ("a %s", ("task",), True)


@pytest.mark.parametrize("pool", ["solo", "threads", "asyncio"])
def test_worker_has_the_chosen_pool(app: Any, pool: str) -> None:
    with workers.start_worker(app, pool=pool, concurrency=2):
        pass  # the worker has run the task celery.ping


def test_error_of_start_is_raised_in_the_test(app: Any) -> None:
    with (
        pytest.raises(ImproperlyConfigured, match="the processes of the pool can't find the application"),
        workers.start_worker(app, pool="gevent"),
    ):
        pytest.fail("a worker without a pool has started")


def test_second_worker_of_an_application_runs_tasks(app: Any) -> None:
    for _ in range(2):
        with workers.start_worker(app):
            pass  # the worker has run the task celery.ping


CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "links": {"link": {"task": "next"}, "link_error": {"task": "failed"}},
    "times": {"eta": datetime(2026, 1, 1, tzinfo=UTC), "expires": datetime(2026, 1, 2, tzinfo=UTC)},
    "options": {"queue": "q", "priority": 3},
}


@pytest.mark.parametrize("options", CALLS.values(), ids=CALLS)
def test_message_of_signature_is_celerys(options: dict[str, Any]) -> None:
    outcomes = []
    for package in (celery, taskq_cloud.celery):
        app, mocks = _testing(package, "app").TestApp(), _testing(package, "mocks")
        linked = {
            name: [package.signature(value["task"], app=app)] if name.startswith("link") else value
            for name, value in options.items()
        }
        sig = package.signature("proj.add", args=(1, 2), kwargs={"k": 3}, app=app, options={"task_id": "i", **linked})
        message = mocks.task_message_from_sig(app, sig)
        assert message.headers.pop("reply_to") == app.thread_oid
        outcomes.append((message.headers, json.loads(message.body), message.content_type, message.content_encoding))
    assert outcomes[0] == outcomes[1]


@BOTH
def test_messages_have_the_form_of_their_protocol(package: ModuleType) -> None:
    mocks = _testing(package, "mocks")
    message = mocks.TaskMessage("proj.add", id="i", args=(1,), shadow="s", eta="later")
    assert message.headers == {"id": "i", "task": "proj.add", "shadow": "s", "eta": "later"}
    assert json.loads(message.body) == [[1], {}, {"callbacks": None, "errbacks": None, "chain": None}]
    assert message.payload[0] == (1,)
    old = mocks.TaskMessage1("proj.add", id="i", args=[1], kwargs={"k": 2}, retries=3)
    assert old.headers == {}
    assert json.loads(old.body) == old.payload
    assert (old.payload["id"], old.payload["retries"]) == ("i", 3)
    assert len(mocks.TaskMessage("proj.add").headers["id"]) == 36


@BOTH
def test_mock_is_a_context_manager(package: ModuleType) -> None:
    mock = _testing(package, "mocks").ContextMock(name="m")
    with pytest.raises(KeyError), mock as given:
        given.used(dict[str, int]()["absent"])
    mock.used.assert_not_called()
    mock.__enter__.assert_called_once_with()
    assert mock.__exit__.call_args.args[0] is KeyError


def test_manager_joins_results(app: Any) -> None:
    manager = _testing(taskq_cloud.celery, "manager").Manager(app, stdout=io.StringIO())

    def add(x: int, y: int) -> int:
        return x + y

    task = app.task(add)
    with workers.start_worker(app):
        one, two = task.delay(1, 2), app.ResultSet([task.delay(1, 2), task.delay(3, 4)])
        for each in (one, two):
            manager.join(each, timeout=10)
            assert each.successful()
    late = task.delay(5, 6)
    with pytest.raises(AssertionError, match="Missing task results"):
        manager.join(late, timeout=0.05, max_retries=2)
    assert manager.stdout.getvalue().count("Still waiting for 1/1") == 2
    _testing(taskq_cloud.celery, "manager").Manager(app, no_join=True).join(late)
    assert not late.ready()


@BOTH
def test_manager_waits_for_conditions(package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _testing(package, "manager")

    class Manager(module.ManagerMixin):  # type: ignore[misc, name-defined]
        """The helpers without an application."""

    manager, answers, errors = Manager(), iter([0, "", "yes"]), []
    manager.stderr = io.StringIO()
    value = manager.wait_for(
        lambda: manager.true_or_raise(lambda: next(answers)),
        (module.Sentinel,),
        errback=lambda *args: errors.append(args[1:]),
        interval_start=0.01,
        interval_step=0.01,
        emit_warning=True,
    )
    assert value == "yes"
    assert errors == [(0.01, 0), (0.02, 1)]
    assert manager.stderr.getvalue().startswith("Still waiting for thing.  Trying again in 0.01 seconds: Sentinel()\n")
    manager.ensure_not_for_a_while(
        lambda: manager.true_or_raise(lambda: False), module.Sentinel, max_retries=2, interval_start=0, interval_step=0
    )


def test_manager_fails_if_a_condition_is_met() -> None:
    manager = _testing(taskq_cloud.celery, "manager").Manager(None)
    with pytest.raises(AssertionError, match="Should not have happened: a success"):
        manager.ensure_not_for_a_while(lambda: 1, KeyError, desc="a success")
