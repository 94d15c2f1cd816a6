"""An application for schedulers: its clock stands still until it is moved, and it keeps the calls that were sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@dataclass
class Task:
    """A registered task."""

    app: App
    name: str

    def apply_async(self, args: Any, kwargs: Any, **options: Any) -> Any:
        return self.app.send_task(self.name, args, kwargs, **options)


class Connection:
    """A connection that counts how often it is closed."""

    connection_errors: tuple[type[Exception], ...] = (ConnectionError,)
    channel_errors: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self.released = 0
        self.error: Exception | None = None

    def ensure_connection(self, *_: Any) -> Connection:
        return self

    def release(self) -> None:
        self.released += 1
        if self.error:
            raise self.error


@dataclass
class App:
    """The application."""

    conf: SimpleNamespace
    time: datetime = START
    timezone: tzinfo = field(default_factory=lambda: ZoneInfo("UTC"))
    sent: list[Any] = field(default_factory=list)
    error: Exception | None = None
    supports_autoexpire: bool = True

    def __post_init__(self) -> None:
        self.tasks = {"known": Task(self, "known")}
        self.amqp = SimpleNamespace(Producer=lambda connection, **options: (connection, options))
        self.backend = SimpleNamespace(supports_autoexpire=self.supports_autoexpire)
        self.connections: list[Connection] = []

    def now(self) -> datetime:
        return self.time

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def connection_for_write(self) -> Connection:
        self.connections.append(Connection())
        return self.connections[-1]

    def send_task(self, name: str, args: Any, kwargs: Any, **options: Any) -> Any:
        if self.error:
            raise self.error
        options.pop("producer", None)
        self.sent.append((name, list(args), dict(kwargs), options))
        return SimpleNamespace(id=f"call-{len(self.sent)}")


def make_app(schedule: dict[str, Any] | None = None, **more: Any) -> App:
    settings: dict[str, Any] = {
        "beat_schedule": schedule or {},
        "beat_max_loop_interval": 0,
        "beat_sync_every": 0,
        "beat_cron_starting_deadline": None,
        "beat_schedule_filename": "celerybeat-schedule",
        "beat_enable_remote_control": False,
        "beat_remote_control_max_tick_age": None,
        "broker_connection_max_retries": 3,
        "result_expires": 3600,
        "enable_utc": True,
        "timezone": None,
    }
    given = {name: more.pop(name) for name in list(more) if name in settings}
    return App(SimpleNamespace(**{**settings, **given}), **more)
