"""Workers as objects: they run the native worker in a thread, with the steps of the project around it."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.celery import Celery, bootsteps, signals
from taskq_cloud.celery.concurrency import get_available_pool_names, get_implementation
from taskq_cloud.celery.concurrency.base import BasePool
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.worker.timer import Timer
from taskq_cloud.worker.autoscale import AutoscaleLimits

WAIT = 20


@pytest.fixture
def app() -> Iterator[Any]:
    """An application on a broker in memory."""
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield app
    app.close()


class Running:
    """A worker in a thread, until the context ends."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.ready = threading.Event()
        self.worker = app.WorkController(
            pool="threads", concurrency=2, ready_callback=lambda consumer: self.ready.set(), **options
        )
        self.thread = threading.Thread(target=self.worker.start)

    def __enter__(self) -> Any:
        self.thread.start()
        assert self.ready.wait(WAIT)
        return self.worker

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        self.thread.join(WAIT)
        assert not self.thread.is_alive()


def test_worker_in_a_thread_runs_tasks_until_it_is_stopped(app: Any) -> None:
    def plus(x: int, y: int) -> int:
        return x + y

    add = app.task(name="add", shared=False)(plus)
    with Running(app, hostname="w@h") as worker:
        assert add.delay(2, 3).get(timeout=WAIT) == 5
        assert repr(worker) == "<Worker: w@h (running)>"
        assert str(worker) == "w@h"
        assert worker.info()["pid"] > 0
        assert worker.stats()["rusage"]["maxrss"] > 0
    assert repr(worker) == "<Worker: w@h (terminating)>"
    assert worker.exitcode == 0


def test_steps_of_the_project_run_around_the_native_worker(app: Any) -> None:
    log: list[str] = []
    ticked = threading.Event()

    class Probe(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Timer",)

        def __init__(self, parent: Any, probe_file: str = "", **options: Any) -> None:
            log.append(f"made {probe_file} {parent.hostname}")
            super().__init__(parent, **options)

        def start(self, parent: Any) -> None:
            log.append("started")
            self.tref = parent.timer.call_repeatedly(0.01, ticked.set, priority=10)

        def stop(self, parent: Any) -> None:
            self.tref.cancel()
            log.append("stopped")

    class OfConsumer(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer:Connection",)

        def start(self, c: Any) -> None:
            log.append(f"consumer {c.connection.as_uri()} {c.controller.hostname}")

        def shutdown(self, c: Any) -> None:
            log.append("consumer shut down")

    app.steps["worker"].add(Probe)
    app.steps["consumer"].add(OfConsumer)
    with Running(app, hostname="w@h", probe_file="/tmp/alive"):
        assert ticked.wait(WAIT)
    assert log[:3] == ["made /tmp/alive w@h", "started", "consumer memory:// w@h"]
    assert set(log[3:]) == {"stopped", "consumer shut down"}


def test_step_that_fails_to_start_ends_the_worker_with_exit_code_1(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Bad(bootsteps.StartStopStep):
        def start(self, parent: Any) -> None:
            raise ValueError("no disk")

    app.steps["worker"].add(Bad)
    worker = app.WorkController(pool="threads")
    worker.start()
    assert worker.exitcode == 1
    assert "Unrecoverable error: ValueError('no disk')" in caplog.text


def test_signals_of_a_worker_are_sent_once(app: Any) -> None:
    sent: list[str] = []

    def note(name: str) -> Any:
        return lambda sender=None, **_: sent.append(name)

    names = ("worker_init", "worker_shutting_down", "worker_shutdown")
    receivers = {name: note(name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False)
    try:
        with Running(app):
            pass
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)
    assert sorted(sent) == sorted(names)


def test_queues_are_chosen_and_left_out(app: Any) -> None:
    assert app.WorkController(pool="solo", queues="a,b,c", exclude_queues="b").queue_names == ("a", "c")


def test_unknown_queue_is_refused_if_queues_must_be_declared(app: Any) -> None:
    app.conf.task_create_missing_queues = False
    with pytest.raises(ImproperlyConfigured, match="Trying to select queue subset of"):
        app.WorkController(pool="solo", queues=["nowhere"])


def test_options_come_before_settings(app: Any) -> None:
    app.conf.update(worker_concurrency=3, worker_prefetch_multiplier=7, task_time_limit=9)
    worker = app.WorkController(pool="threads", time_limit=5, prefetch_multiplier=2)
    assert (worker.concurrency, worker.prefetch_multiplier, worker.time_limit) == (3, 2, 5)
    assert worker.pool_cls is get_implementation("threads")


@pytest.mark.parametrize("name", ["gevent", "eventlet"])
def test_pools_of_greenlets_are_native_ones(app: Any, name: str) -> None:
    worker = app.WorkController(pool=name, concurrency=100)
    assert (worker.pool_cls.is_green, worker.worker_options().pool) == (True, name)


def test_pool_without_a_native_one_is_refused_with_the_way_out(app: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="choose one of -P prefork, eventlet, gevent, threads"):
        app.WorkController(pool=BasePool)


def test_names_of_pools_stand_for_native_ones() -> None:
    native = {name: get_implementation(name).native_name for name in get_available_pool_names() if name != "custom"}
    assert native == {
        "prefork": "processes",
        "processes": "processes",
        "threads": "threads",
        "solo": "solo",
        "asyncio": "asyncio",
        "gevent": "gevent",
        "eventlet": "eventlet",
    }


def test_banner_shows_application_and_queues(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    worker = app.Worker(hostname="w@h", pool="threads", concurrency=2, queues="a", loglevel="INFO", autoscale=(4, 1))
    shown = worker.startup_info(artlines=False)
    assert "w@h v5.7.0" in shown
    assert ".> transport:   memory://" in shown
    assert "{min=1, max=4} (thread)" in shown
    assert ".> a " in shown
    assert "[tasks]" in (worker.extra_info() or "")


@pytest.mark.parametrize(("autoscale", "least"), [((4, 2), 2), ("4,2", 2), ("4", 1), ((4, 0), 1)])
def test_autoscaling_worker_grows_from_its_least_to_its_largest_concurrency(
    app: Any, autoscale: Any, least: int
) -> None:
    worker = app.WorkController(pool="threads", concurrency=3, autoscale=autoscale)
    assert worker.max_concurrency == 4
    options = worker.worker_options()
    assert (options.autoscale, options.concurrency) == (AutoscaleLimits(4, least), least)


def test_reloading_worker_imports_modules_and_keeps_its_processes(
    app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    module = f"reloaded_{tmp_path.name}"
    file = tmp_path / f"{module}.py"
    file.write_text("value = 1\n")
    worker = app.WorkController(pool="threads", concurrency=1)
    caplog.set_level("DEBUG", "celery.worker")
    worker.reload([module])
    loaded = sys.modules[module]
    file.write_text("value = 22\n")
    worker.reload([module])
    assert loaded.value == 1
    worker.reload([module], reload=True)
    assert loaded.value == 22
    worker.reload([module], reload=True, reloader=lambda given: setattr(given, "value", 3))
    assert loaded.value == 3
    assert "the pool is not started anew" in caplog.text


# -- the timer


def test_timer_calls_in_order_until_it_is_stopped() -> None:
    timer, ready, done = Timer(), threading.Event(), threading.Event()
    called: list[str] = []
    timer.call_after(0.0, ready.wait)  # until all are there, whatever their order
    now = datetime.now(UTC)
    timer.call_at(now - timedelta(seconds=1), called.append, ("second",))
    canceled = timer.call_after(0.0, called.append, ("canceled",))
    canceled.cancel()
    timer.call_at(now - timedelta(seconds=2), called.append, ("first",))
    timer.call_after(0.0, done.set)
    ready.set()
    assert done.wait(WAIT)
    timer.stop()
    timer.call_after(0.0, called.append, ("late",))
    assert called == ["first", "second"]


def test_timer_goes_on_after_an_error() -> None:
    errors: list[BaseException] = []
    timer, done = Timer(on_error=errors.append), threading.Event()
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        if len(calls) == 2:
            done.set()
        raise ValueError("no")

    timer.call_repeatedly(0.01, fail)
    assert done.wait(WAIT)
    timer.stop()
    assert isinstance(errors[0], ValueError)


def test_requests_of_a_projects_own_are_named_as_without_effect(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    from taskq_cloud.celery.worker.request import Request

    class OwnRequest(Request):
        pass

    def plain() -> None: ...

    def special() -> None: ...

    app.task(name="plain", shared=False)(plain)
    app.task(name="special", shared=False, Request=OwnRequest)(special)
    with Running(app):
        pass
    named = [record.message for record in caplog.records if "has no effect" in record.message]
    assert [text.partition(" has")[0] for text in named] == ["Request of the task special"]


@pytest.mark.parametrize(
    "path",
    [
        "consumer:Consumer",
        "consumer.consumer:Consumer",
        "consumer.consumer:Evloop",
        *(f"consumer:{name}" for name in ("Agent", "Connection", "Control", "Events", "Gossip", "Heart", "Mingle")),
        *(
            f"consumer.{name.lower()}:{name}"
            for name in ("Agent", "Connection", "Control", "Events", "Gossip", "Tasks")
        ),
        "consumer.delayed_delivery:DelayedDelivery",
    ],
)
def test_steps_of_the_consumer_have_celerys_paths(path: str) -> None:
    module, _, name = path.partition(":")
    for package in ("celery", "taskq_cloud.celery"):
        assert hasattr(importlib.import_module(f"{package}.worker.{module}"), name)
