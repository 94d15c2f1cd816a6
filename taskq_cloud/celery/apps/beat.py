"""``Beat``: the program behind the command ``beat``.

By default it runs the native ticker, which needs no file and can run in several processes. It runs a scheduler of
Celery's kind if the project has its own scheduler class, or something that only such a scheduler can do.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.celery import beat, signals
from taskq_cloud.celery.apps._pid_file import pid_file
from taskq_cloud.celery.beat.native import make_native_ticker, run_native_ticker
from taskq_cloud.celery.utils.imports import qualname
from taskq_cloud.celery.utils.log import LOG_LEVELS, get_logger
from taskq_cloud.celery.utils.time import humanize_seconds
from taskq_cloud.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from taskq_cloud.beat.ticker import Ticker

__all__ = ("Beat",)

logger: Final = get_logger("taskq_cloud.celery.beat")

_DEFAULT_SCHEDULERS: Final = frozenset(
    {None}
    | {
        f"{package}celery.beat{separator}PersistentScheduler"
        for package in ("", "taskq_cloud.")
        for separator in (":", ".")
    }
)
"""The values of the setting ``beat_scheduler`` that mean that the project has no scheduler class of its own."""


class Beat:
    """The program that sends periodic tasks when they are due.

    Args:
        max_interval: the longest time between two looks at the schedule, in seconds.
        app: the Celery application; None: the attribute of a derived class.
        socket_timeout: the timeout of sockets, in seconds; 0: none.
        pidfile: a file for the process id, so that the program isn't started twice.
        no_color: whether the output has no colours; None: by the terminal.
        loglevel: the level of the log, or its name.
        logfile: the file of the log; None: standard error.
        schedule: the file of a ``PersistentScheduler``.
        scheduler: the class of the scheduler, or its name.
        scheduler_cls: an older name of ``scheduler``.
        redirect_stdouts: whether the output of ``print`` goes to the log.
        redirect_stdouts_level: the level at which it goes there.
        quiet: whether nothing is printed at the start.
        remote_control: see ``Service``.
        hostname: see ``Service``.
        kwargs: further options of the command, which are not used.
    """

    Service: Any = beat.Service
    app: Any = None

    def __init__(
        self,
        max_interval: float | None = None,
        app: Any = None,
        socket_timeout: float = 30,
        pidfile: str | None = None,
        no_color: bool | None = None,
        loglevel: int | str = "WARN",
        logfile: Any = None,
        schedule: str | None = None,
        scheduler: Any = None,
        scheduler_cls: Any = None,
        redirect_stdouts: bool | None = None,
        redirect_stdouts_level: Any = None,
        quiet: bool = False,
        remote_control: bool | None = None,
        hostname: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app or self.app
        either = self.app.either
        self.max_interval, self.socket_timeout, self.pidfile = max_interval, socket_timeout, pidfile
        self.loglevel = LOG_LEVELS[loglevel.upper()] if isinstance(loglevel, str) else loglevel
        self.logfile, self.no_color, self.quiet = logfile, no_color, quiet
        self.schedule = either("beat_schedule_filename", schedule)
        self.scheduler_cls = either("beat_scheduler", scheduler, scheduler_cls)
        self.redirect_stdouts = either("worker_redirect_stdouts", redirect_stdouts)
        self.redirect_stdouts_level = either("worker_redirect_stdouts_level", redirect_stdouts_level)
        self.remote_control, self.hostname = remote_control, hostname
        self.colored = self.app.log.colored(self.logfile, enabled=None if no_color is None else not no_color)

    def run(self) -> None:
        """Import the tasks, and send periodic tasks until a signal ends the program."""
        if not self.quiet:
            self._print(self.colored.cyan("celery beat of taskq_cloud is starting."))
        self.init_loader()
        self.set_process_title()
        self.start_scheduler()

    def _print(self, text: Any) -> None:
        import click  # only the program prints

        click.echo(str(text))

    def init_loader(self) -> None:
        """Import the modules with tasks, and make the tasks."""
        self.app.loader.init_worker()
        self.app.finalize()

    def set_process_title(self) -> None:
        """Do nothing: the process keeps its name. Derived classes may set one."""

    def setup_logging(self, colorize: bool | None = None) -> None:
        """Set up the log by the application's settings and the options of the program."""
        if colorize is None and self.no_color is not None:
            colorize = not self.no_color
        self.app.log.setup(
            self.loglevel, self.logfile, self.redirect_stdouts, self.redirect_stdouts_level, colorize=colorize
        )

    def start_scheduler(self) -> None:
        """Run the native ticker or the scheduler until it ends."""
        has_own = self.Service is not beat.Service or self.scheduler_cls not in _DEFAULT_SCHEDULERS
        with pid_file(self.pidfile):
            if has_own:
                self._start_service()
                return
            try:
                ticker = make_native_ticker(self.app)
            except ImproperlyConfigured as error:
                self._start_service(why=error)
            else:
                self._start_ticker(ticker)

    def _start_ticker(self, ticker: Ticker) -> None:
        if not self.quiet:
            self._print(self._configuration("taskq_cloud.beat.ticker.Ticker", "", ticker.lease_seconds))
        self.setup_logging()
        with _logged():
            signals.beat_init.send(sender=self)
            run_native_ticker(self.app, ticker)

    def _start_service(self, why: Exception | None = None) -> None:
        service = self.Service(
            app=self.app,
            max_interval=self.max_interval,
            scheduler_cls=self.scheduler_cls,
            schedule_filename=self.schedule,
            remote_control=self.remote_control,
            hostname=self.hostname,
        )
        if not self.quiet:
            self._print(self.banner(service))
        self.setup_logging()
        if why is not None:
            text = "beat runs with the file %r, so that there must be only one such process; no ticker can run: %s"
            logger.warning(text, self.schedule, why)
        if self.socket_timeout:
            logger.debug("Setting default socket timeout to %r", self.socket_timeout)
            socket.setdefaulttimeout(self.socket_timeout)
        with _logged():
            self.install_sync_handler(service)
            service.start()

    def install_sync_handler(self, service: Any) -> None:
        """Have SIGTERM and SIGINT save the schedule and end the program."""

        def save_and_leave(_number: int, _frame: FrameType | None) -> None:
            service.sync()
            raise SystemExit

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, save_and_leave)

    def banner(self, service: Any) -> str:
        """What the program prints before it runs a service."""
        return str(self.colored.reset(self.startup_info(service)))

    def startup_info(self, service: Any) -> str:
        """The configuration of the program and of a service."""
        scheduler = service.get_scheduler(lazy=True)
        info = self._configuration(qualname(scheduler), scheduler.info, scheduler.max_interval)
        if not service.remote_control:
            return info
        return f"{info}\n    . remote control -> {beat.beat_nodename(service.hostname)}"

    def _configuration(self, scheduler: str, info: str, max_interval: float) -> str:
        now = datetime.now().astimezone().replace(tzinfo=None, microsecond=0)
        lines = [
            f"LocalTime -> {now}",
            "Configuration ->",
            f"    . broker -> {self.app.connection().as_uri()}",
            f"    . loader -> {qualname(self.app.loader)}",
            f"    . scheduler -> {scheduler}",
            info,
            f"    . logfile -> {self.logfile or '[stderr]'}@%{LOG_LEVELS[self.loglevel]}",
            f"    . maxinterval -> {humanize_seconds(max_interval)} ({max_interval}s)",
        ]
        return "\n".join(line for line in lines if line)


def announce(app: Any, loglevel: str) -> None:
    """Send the signals of Celery's program before the native command runs a ticker.

    Args:
        app: the application.
        loglevel: the name of the level of the log, which the native command has set up.
    """
    from taskq_cloud.celery.apps.native_worker import announce_logging  # it imports the worker

    program = Beat(app=app, loglevel=loglevel, quiet=True)
    announce_logging(app, program.loglevel)
    signals.beat_init.send(sender=program)


@contextmanager
def _logged() -> Iterator[None]:
    """Log an error before it ends the program."""
    try:
        yield
    except Exception as error:
        logger.critical("beat raised exception %s: %r", type(error), error, exc_info=True)
        raise
