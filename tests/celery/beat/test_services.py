"""Services: they run a scheduler until they are told to stop."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.celery import beat, signals
from tests.celery.beat.apps import App, make_app


class Turns(beat.Scheduler):
    """A scheduler that ends its service after some turns."""

    turns = 0
    closed = 0
    waits: tuple[float | None, ...] = (0.0, None, 0.0)
    service: Any = None

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        self.turns += 1
        if self.turns == len(self.waits):
            self.end()
        return self.waits[self.turns - 1]

    def end(self) -> None:
        self.service.stop()

    def close(self) -> None:
        self.closed += 1


class Leaving(Turns):
    """A scheduler in which the program is told to end."""

    def end(self) -> None:
        raise SystemExit


class Failing(Turns):
    """A scheduler that fails."""

    def end(self) -> None:
        raise ZeroDivisionError


def service_of(kind: Any, app: App | None = None, **more: Any) -> Any:
    service = beat.Service(app or make_app(), scheduler_cls=kind, **more)
    service.scheduler.service = service
    return service


@pytest.mark.parametrize("kind", [Turns, Leaving])
def test_service_runs_until_it_is_stopped_and_closes_its_scheduler(kind: Any) -> None:
    service = service_of(kind)
    service.start()
    assert (service.scheduler.turns, service.scheduler.closed) == (3, 1)
    service.stop(wait=True)


def test_failing_scheduler_is_closed_too() -> None:
    service = service_of(Failing)
    with pytest.raises(ZeroDivisionError):
        service.start()
    assert service.scheduler.closed == 1


def test_stop_ends_a_wait_at_once() -> None:
    class Waiting(Turns):
        waits = (3600.0, 0.0)

        def should_sync(self) -> bool:
            return False

    service = service_of(Waiting)
    thread = threading.Thread(target=service.start)
    thread.start()
    service.stop(wait=True)
    thread.join(30)
    assert not thread.is_alive()


def test_schedule_is_saved_between_the_turns() -> None:
    class Saving(Turns):
        waits = (0.001, 0.0)
        saved = 0

        def sync(self) -> None:
            self.saved += 1

    service = service_of(Saving)
    service.start()
    assert service.scheduler.saved == 1


def test_signals_tell_of_the_start() -> None:
    heard: list[Any] = []

    def on_init(sender: Any, **_: Any) -> None:
        heard.append(("init", sender))

    def on_embedded(sender: Any, **_: Any) -> None:
        heard.append(("embedded", sender))

    signals.beat_init.connect(on_init)
    signals.beat_embedded_init.connect(on_embedded)
    try:
        services = [service_of(Turns), service_of(Turns)]
        services[0].start()
        services[1].start(embedded_process=True)
    finally:
        signals.beat_init.disconnect(on_init)
        signals.beat_embedded_init.disconnect(on_embedded)
    assert heard == [("init", services[0]), ("init", services[1]), ("embedded", services[1])]


def test_arguments_come_before_the_settings() -> None:
    app = make_app(beat_max_loop_interval=7, beat_schedule_filename="of-settings", beat_enable_remote_control=True)
    service = beat.Service(app)
    assert (service.max_interval, service.schedule_filename, service.remote_control) == (7, "of-settings", True)
    assert service.scheduler_cls is beat.PersistentScheduler
    service = beat.Service(app, 3, "given", Turns, remote_control=False, hostname="h")
    found = (service.max_interval, service.schedule_filename, service.scheduler_cls, service.remote_control)
    assert (*found, service.hostname) == (3, "given", Turns, False, "h")


def test_pickled_service_has_its_arguments() -> None:
    service = beat.Service(SettingsOnly(), 3, "given", "celery.beat:Scheduler", False, "h")
    copy = pickle.loads(pickle.dumps(service))
    assert copy.__reduce__()[1][1:] == (3, "given", "celery.beat:Scheduler", False, "h")


class SettingsOnly:
    """An application that can be pickled."""

    @property
    def conf(self) -> Any:
        return make_app().conf


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("celery.beat:PersistentScheduler", beat.PersistentScheduler),
        ("celery.beat.Scheduler", beat.Scheduler),
        ("taskq_cloud.celery.beat:Scheduler", beat.Scheduler),
        ("tests.celery.beat.test_services:Turns", Turns),
        (Turns, Turns),
    ],
)
def test_scheduler_is_found_by_its_name(name: Any, kind: Any) -> None:
    scheduler = beat.Service(make_app(), scheduler_cls=name).get_scheduler(lazy=True)
    assert [each.__name__ for each in type(scheduler).__mro__] == [each.__name__ for each in kind.__mro__]


def test_scheduler_gets_the_services_file_and_interval(tmp_path: Path) -> None:
    service = beat.Service(make_app(), max_interval=9, schedule_filename=str(tmp_path / "s"))
    assert service.scheduler is service.scheduler
    assert (service.scheduler.schedule_filename, service.scheduler.max_interval) == (str(tmp_path / "s"), 9)
    service.sync()


class TestRemoteControl:
    """Beat's remote control, which our brokers don't have."""

    def test_service_warns_and_runs_without_it(self, caplog: pytest.LogCaptureFixture) -> None:
        service = service_of(Turns, remote_control=True)
        with caplog.at_level(logging.WARNING):
            service.start()
        assert "remote control is unavailable" in caplog.text
        assert service.scheduler.turns == 3

    def test_node_has_celerys_name(self) -> None:
        import celery.beat

        for hostname in (None, "h", "name@h", "x@%h"):
            assert beat.beat_nodename(hostname) == celery.beat.beat_nodename(hostname)

    @pytest.mark.parametrize(
        ("setting", "interval", "expected"), [(None, 300, 600), (None, 5, 60), (7, 300, 7), (0, 300, 0)]
    )
    def test_scheduler_counts_as_stalled_after_a_while(
        self, setting: float | None, interval: float, expected: float
    ) -> None:
        app = make_app(beat_remote_control_max_tick_age=setting)
        service = service_of(Turns, app, max_interval=interval)
        pidbox = beat.BeatPidbox(service)
        assert pidbox.max_tick_age == expected
        assert pidbox.tick_age() is None
        assert not pidbox.is_stale()
        service.start()
        assert pidbox.tick_age() is not None
        service.last_tick -= 10_000
        assert pidbox.is_stale() is (expected > 0)


class Embedding(App):
    """An application that notes the threads in which it becomes the current one."""

    def set_current(self) -> None:
        self.sent.append(threading.current_thread().name)

    def set_default(self) -> None:
        """Nothing to note."""


def test_embedded_service_runs_in_a_thread_until_it_is_stopped() -> None:
    app = Embedding(make_app().conf)
    embedded = beat.EmbeddedService(app, thread=True, scheduler_cls=Turns)
    assert (embedded.name, embedded.daemon, embedded.service.max_interval) == ("Beat", True, 1)
    embedded.service.scheduler.service = embedded.service
    embedded.start()
    embedded.join(30)
    embedded.stop()
    assert app.sent == ["Beat"]
    assert embedded.service.scheduler.closed == 1


EMBEDDING = """
import sys
from taskq_cloud.celery import Celery, beat, signals

class Telling(beat.Scheduler):
    def tick(self, *args, **kwargs):
        print("ticks as", self.app.current_name, flush=True)
        return 60

    def close(self):
        print("closed", flush=True)

def on_embedded(sender, **_):
    print("embedded", flush=True)

signals.beat_embedded_init.connect(on_embedded)
app = Celery("shop", broker="memory://", backend="memory://", set_as_current=False)
app.current_name = "shop"
embedded = beat.EmbeddedService(app, scheduler_cls=Telling)
embedded.start()
sys.stdin.readline()
embedded.stop()
embedded.join(30)
print("ended with", embedded.exitcode)
"""


def test_embedded_process_runs_until_it_is_stopped() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", EMBEDDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["embedded\n", "ticks as shop\n"]
        process.stdin.write("stop\n")
        process.stdin.flush()
        assert process.stdout.read() == "closed\nended with 0\n"


def test_embedded_service_is_a_process_by_default() -> None:
    import multiprocessing

    embedded: Any = beat.EmbeddedService(make_app(), max_interval=9, schedule_filename="s")
    assert issubclass(type(embedded), multiprocessing.Process)
    assert (embedded.name, embedded.service.max_interval, embedded.service.remote_control) == ("Beat", 9, False)
