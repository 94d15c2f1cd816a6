"""The native ticker with the periodic tasks of a Celery application, and the program that chooses it."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import schedules as native
from taskq_cloud.beat.ticker import Ticker
from taskq_cloud.celery import Celery, beat, signals
from taskq_cloud.celery.apps.beat import Beat
from taskq_cloud.celery.beat.native import make_native_ticker
from taskq_cloud.celery.schedules import BaseSchedule, crontab, schedule
from taskq_cloud.errors import ImproperlyConfigured, ScheduleError

START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


class Never(BaseSchedule):
    """A schedule that a user has derived."""

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        return False, 60


@pytest.fixture
def app() -> Iterator[Any]:
    made = Celery("shop", broker="memory://", backend="memory://", set_as_current=False)

    @made.task(name="report", shared=False)  # type: ignore[untyped-decorator,unused-ignore]
    def report(*_: Any, **__: Any) -> None: ...

    yield made
    made.close()


def entry(name: str = "report", when: Any = 30, **more: Any) -> dict[str, Any]:
    return {"task": name, "schedule": when, **more}


def test_setting_becomes_the_native_one() -> None:
    lazy = native.crontab(0, 4)
    given = {
        "a": entry(when=crontab(0, 4), args=(1,), options={"queue": "q", "headers": {"h": 1}}),
        "b": entry(when=schedule(3600, relative=True), relative=True),
        "c": entry(when=60, relative=True, kwargs={"x": 1}),
    }
    marked = {"headers": {"celery_beat_task": True}}
    assert beat.native_beat_schedule(given) == {
        "a": entry(when=lazy, args=(1,), options={"queue": "q", "headers": {"h": 1, "celery_beat_task": True}}),
        "b": entry(when=native.schedule(3600, relative=True), options=marked),
        "c": entry(when=60, relative=True, kwargs={"x": 1}, options=marked),
    }


def test_entry_of_a_scheduler_becomes_a_native_one(app: Any) -> None:
    made = beat.ScheduleEntry("a", "report", schedule=crontab(0, 4), args=(1,), app=app)
    found = beat.native_beat_schedule({"a": made})["a"]
    assert (found["task"], found["schedule"], found["args"]) == ("report", native.crontab(0, 4), (1,))


@pytest.mark.parametrize(
    "given", [entry(when=Never()), entry(args=(beat.BeatLazyFunc(int),)), entry(kwargs={"x": beat.BeatLazyFunc(int)})]
)
def test_entry_that_needs_a_scheduler_of_celerys_kind_is_refused_with_the_way_out(given: Any) -> None:
    with pytest.raises(ScheduleError, match="beat -S"):
        beat.native_beat_schedule({"a": given})


def test_ticker_sends_what_a_scheduler_sends(app: Any) -> None:
    """Both run for four days on a moved clock, in a zone whose clock is changed meanwhile."""
    app.conf.timezone = "Europe/Paris"
    begin = datetime(2024, 3, 29, tzinfo=UTC)
    end = begin + timedelta(days=4)
    app.conf.beat_schedule = {"a": entry(when=crontab(30, "*/2"), args=(1,)), "b": entry(when=crontab(15, 4))}
    now = [begin]
    for made in app.conf.beat_schedule.values():
        made["schedule"].nowfun = lambda: now[0]

    sent: list[tuple[str, datetime]] = []

    class Scheduler(beat.Scheduler):
        def apply_entry(self, entry: Any, producer: Any = None) -> None:
            sent.append((entry.name, now[0].replace(second=0, microsecond=0)))

    scheduler = Scheduler(app)
    while now[0] < end:
        now[0] += timedelta(seconds=scheduler.tick() + 0.02)
    entries = app.native.schedule_entries()
    expected = [(each.name, due) for each in entries for due in each.timing.between(begin + timedelta(seconds=1), end)]
    assert sorted(sent) == sorted(expected)
    assert len(sent) > 50


def test_ticker_of_an_application_sends_its_task(app: Any) -> None:
    app.conf.beat_schedule = {"a": entry(args=(1,), kwargs={"x": 2}, options={"queue": "q"})}
    now = START.timestamp()
    ticker = Ticker(app=app.native, entries=app.native.schedule_entries(), owner="a", clock=lambda: now)
    assert app.native.run(ticker.turn()) <= 30
    now += 40
    app.native.run(ticker.turn())
    (delivery,) = app.native.run(app.native.broker.receive("q", 10, 0, 30))
    message = json.loads(delivery.body)
    assert json.loads(message["body"])[:2] == [[1], {"x": 2}]
    assert (message["headers"]["task"], message["headers"]["celery_beat_task"]) == ("report", True)


def test_derived_schedule_runs_with_a_scheduler_only(app: Any) -> None:
    app.conf.beat_schedule = {"a": entry(when=Never())}
    with pytest.raises(ScheduleError, match="Never"):
        make_native_ticker(app)


def test_application_without_a_name_has_no_ticker() -> None:
    with pytest.raises(ImproperlyConfigured, match="name"):
        make_native_ticker(Celery(broker="memory://", backend="memory://", set_as_current=False))


class Once(beat.Service):
    """A service that only notes that it runs."""

    started: list[Any] = []

    def start(self, embedded_process: bool = False) -> None:
        self.started.append(self)


class Program(Beat):
    """The program, without handlers of signals."""

    synced: Any = None

    def install_sync_handler(self, service: Any) -> None:
        self.synced = service


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(Once, "started", found)
    return found


def program(app: Any, tmp_path: Path, kind: Any = Program, **more: Any) -> Any:
    given = {"app": app, "quiet": True, "redirect_stdouts": False, "schedule": str(tmp_path / "schedule"), **more}
    return kind(**given)


class TestProgram:
    """The program behind the command ``beat``."""

    @pytest.fixture(autouse=True)
    def _logging_stays_as_it_is(self) -> Iterator[None]:
        import socket

        root, timeout = logging.getLogger(), socket.getdefaulttimeout()
        handlers, level = list(root.handlers), root.level
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        yield
        root.handlers[:], root.level = handlers, level
        socket.setdefaulttimeout(timeout)
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)

    def test_own_service_runs(self, app: Any, tmp_path: Path, started: list[Any]) -> None:
        class Own(Program):
            Service = Once

        made = program(app, tmp_path, Own, max_interval=9, hostname="h")
        made.start_scheduler()
        (service,) = started
        assert made.synced is service
        assert (service.max_interval, service.hostname, service.schedule_filename) == (
            9,
            "h",
            str(tmp_path / "schedule"),
        )

    def test_own_scheduler_runs(self, app: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        class Own(beat.Scheduler):
            @property
            def info(self) -> str:
                return "    . of my own"

            def tick(self, *_: Any, **__: Any) -> float:
                raise SystemExit

        made = program(app, tmp_path, scheduler=Own, quiet=False)
        made.start_scheduler()
        printed = capsys.readouterr().out
        assert "    . of my own\n" in printed
        assert "    . broker -> memory://\n" in printed
        assert "    . maxinterval -> 5.00 minutes (300s)" in printed
        assert "remote control" not in printed

    def test_ticker_runs_by_default_and_ends_at_a_signal(
        self, app: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        app.conf.beat_schedule = {"a": entry()}
        made = program(app, tmp_path, quiet=False)
        heard: list[Any] = []

        class EndsAtOnce(logging.Handler):
            """Sends the signal once the ticker says that it is ready."""

            def emit(self, record: logging.LogRecord) -> None:
                if getattr(record, "action", None) == "beat.ready":
                    os.kill(os.getpid(), signal.SIGTERM)

        handler = EndsAtOnce()
        ticking = logging.getLogger("taskq_cloud.beat")
        level = ticking.level
        ticking.addHandler(handler)
        ticking.setLevel(logging.INFO)

        def on_init(sender: Any, **_: Any) -> None:
            heard.append(sender)

        signals.beat_init.connect(on_init)
        try:
            made.start_scheduler()
        finally:
            signals.beat_init.disconnect(on_init)
            ticking.removeHandler(handler)
            ticking.setLevel(level)
        assert heard == [made]
        assert "    . scheduler -> taskq_cloud.beat.ticker.Ticker\n" in capsys.readouterr().out
        assert list(tmp_path.iterdir()) == []

    def test_file_is_used_where_no_ticker_can_run(
        self,
        app: Any,
        tmp_path: Path,
        started: list[Any],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        app.conf.beat_schedule = {"a": entry(args=(beat.BeatLazyFunc(int),))}

        def start(service: Any) -> None:
            started.append(service)

        monkeypatch.setattr(beat.Service, "start", start)
        monkeypatch.setattr(Program, "setup_logging", lambda self: None)
        program(app, tmp_path).start_scheduler()
        assert isinstance(started[0].get_scheduler(lazy=True), beat.PersistentScheduler)
        assert "no ticker can run: periodic task 'a': a BeatLazyFunc" in caplog.text

    def test_handlers_save_the_schedule_and_end_the_program(self, app: Any, tmp_path: Path) -> None:
        service = beat.Service(app, schedule_filename=str(tmp_path / "schedule"))
        program(app, tmp_path, Beat).install_sync_handler(service)
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
        assert service._is_stopped.is_set()

    def test_failing_service_is_logged_and_raised(
        self, app: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Failing(Once):
            def start(self, embedded_process: bool = False) -> None:
                raise ZeroDivisionError("broken")

        class Own(Program):
            Service = Failing

            def setup_logging(self, colorize: bool | None = None) -> None:
                """The test reads the log."""

        with pytest.raises(ZeroDivisionError):
            program(app, tmp_path, Own).start_scheduler()
        assert "beat raised exception" in caplog.text

    def test_options_come_before_the_settings(self, app: Any) -> None:
        app.conf.beat_schedule_filename, app.conf.beat_scheduler = "of-settings", "proj:Scheduler"
        made = Beat(app=app)
        assert (made.schedule, made.scheduler_cls, made.loglevel) == ("of-settings", "proj:Scheduler", logging.WARNING)
        made = Beat(app=app, schedule="given", scheduler_cls="other:Scheduler", loglevel="debug")
        assert (made.schedule, made.scheduler_cls, made.loglevel) == ("given", "other:Scheduler", logging.DEBUG)
        assert Beat(app=app, scheduler="first", scheduler_cls="second").scheduler_cls == "first"

    def test_class_of_an_application_has_it(self, app: Any) -> None:
        assert app.Beat(quiet=True).app is app
        assert issubclass(app.Beat, Beat)

    def test_second_program_with_one_pid_file_ends(
        self, app: Any, tmp_path: Path, started: list[Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Own(Program):
            Service = Once

        file = tmp_path / "beat.pid"
        file.write_text(f"{os.getppid()}\n")
        with pytest.raises(SystemExit) as caught:
            program(app, tmp_path, Own, pidfile=str(file)).start_scheduler()
        assert caught.value.code == 73
        assert f"already running? (pid: {os.getppid()})" in capsys.readouterr().err
        file.write_text("not a number")
        program(app, tmp_path, Own, pidfile=str(file)).start_scheduler()
        assert len(started) == 1
        assert not file.exists()
