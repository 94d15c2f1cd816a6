"""``Worker``: the program behind the command ``worker``, with its banner, its log and its signals."""

from __future__ import annotations

import logging
import platform as _platform
import sys
from datetime import UTC, datetime
from typing import Any

from taskq_cloud.celery import signals
from taskq_cloud.celery.utils.imports import qualname
from taskq_cloud.celery.utils.log import get_logger
from taskq_cloud.celery.utils.text import pluralize
from taskq_cloud.celery.worker import WorkController

__all__ = ("Worker",)

logger = get_logger(__name__)

BANNER = """\
{hostname} v{version}

{platform} {timestamp}

[config]
.> app:         {app}
.> transport:   {conninfo}
.> results:     {results}
.> concurrency: {concurrency}
.> task events: {events}

[queues]
{queues}
"""

EXTRA_INFO_FMT = """
[tasks]
{tasks}
"""


class Worker(WorkController):
    """A worker as a program."""

    def on_before_init(self, quiet: bool = False, **kwargs: Any) -> None:
        """Let receivers of the signal ``celeryd_init`` change the configuration."""
        self.quiet = quiet
        self.app.finalize()
        signals.celeryd_init.send(sender=self.hostname, instance=self, conf=self.app.conf, options=kwargs)

    def on_after_init(
        self,
        purge: bool = False,
        no_color: bool | None = None,
        redirect_stdouts: Any = None,
        redirect_stdouts_level: Any = None,
        app_path: str | None = None,
        burst: bool = False,
        **kwargs: Any,
    ) -> None:
        """Read the options of the program."""
        either = self.app.either
        self.redirect_stdouts = either("worker_redirect_stdouts", redirect_stdouts)
        self.redirect_stdouts_level = either("worker_redirect_stdouts_level", redirect_stdouts_level)
        self.purge, self.no_color = purge, no_color
        self.app_path, self.burst = app_path, burst
        self.colored = self.app.log.colored(self.logfile, enabled=None if no_color is None else not no_color)

    def on_init_blueprint(self) -> None:
        """Set up the log."""
        self._custom_logging = self.setup_logging()
        self.logs = True

    def setup_logging(self, colorize: bool | None = None) -> Any:
        """Set up the log, and return whether receivers of a signal have done it."""
        if colorize is None and self.no_color is not None:
            colorize = not self.no_color
        return self.app.log.setup(
            self.loglevel, self.logfile, redirect_stdouts=False, colorize=colorize, hostname=self.hostname
        )

    def on_start(self) -> None:
        """Purge the queues if told to, and print the banner."""
        super().on_start()
        signals.celeryd_after_setup.send(sender=self.hostname, instance=self, conf=self.app.conf)
        if self.purge:
            self.purge_messages()
        if not self.quiet:
            self.emit_banner()
        self.set_process_status("-active-")
        if not self._custom_logging and self.redirect_stdouts:
            self.app.log.redirect_stdouts(self.redirect_stdouts_level)
        warn = getattr(self.app.conf, "maybe_warn_deprecated_settings", None)
        if warn is not None and self.app._config_source != "django.conf:settings" and warn():
            logger.warning("`celery upgrade settings path/to/settings.py` gives these settings their present names")

    def on_consumer_ready(self, consumer: Any) -> None:
        """Send the signal ``worker_ready``."""
        signals.worker_ready.send(sender=consumer)
        logger.info("%s ready.", self.hostname)

    def purge_messages(self) -> None:
        """Delete the messages of the worker's queues."""
        count = self.app.control.purge()
        if count:
            self._print(f"purge: Erased {count} {pluralize(count, 'message')} from the queue.\n")

    def set_process_status(self, info: str) -> None:
        """Do nothing: the process keeps its name. Derived classes may set one."""

    # -- the banner

    def emit_banner(self) -> None:
        """Print the banner, and the tasks if the log level is INFO or lower."""
        banner = self.colored.cyan(" \n", self.startup_info(artlines=True))
        self._print(f"{banner}{self.colored.reset(self.extra_info() or '')}")

    def _print(self, text: str) -> None:
        print(text, file=sys.__stdout__, flush=True)

    def tasklist(self, include_builtins: bool = True, sep: str = "\n", int_: str = "celery.") -> str:
        """Return a line for each task."""
        tasks = [name for name in sorted(self.app.tasks) if include_builtins or not name.startswith(int_)]
        return sep.join(f"  . {name}" for name in tasks)

    def extra_info(self) -> str | None:
        """Return the list of tasks, if the log level is INFO or lower."""
        if self.loglevel is None or self.loglevel > logging.INFO:
            return None
        return EXTRA_INFO_FMT.format(tasks=self.tasklist(include_builtins=self.loglevel <= logging.DEBUG))

    def startup_info(self, artlines: bool = True) -> str:
        """Return the banner.

        Args:
            artlines: whether each line has a mark before it.
        """
        text = BANNER.format(
            hostname=self.hostname,
            version=_version(),
            platform=_platform.platform(),
            timestamp=datetime.now(UTC).astimezone().replace(microsecond=0, tzinfo=None),
            app=self._app_info(),
            conninfo=self.app.connection().as_uri(),
            results=self.app.backend.as_uri(),
            concurrency=self._concurrency_info(),
            events="ON" if self.task_events else "OFF (enable -E to monitor tasks in this worker)",
            queues=self.app.amqp.queues.format(indent=0, indent_first=False),
        )
        mark = " |  " if artlines else ""
        return "\n".join(f"{mark}{line}".rstrip() for line in text.splitlines()) + "\n"

    def _app_info(self) -> str:
        loader = qualname(self.app.loader)
        shown = f"{self.app.main or '__main__'}:{id(self.app):#x}"
        if loader == "taskq_cloud.celery.loaders.app.AppLoader":
            return shown
        return f"{shown} ({loader.removeprefix('taskq_cloud.celery.loaders')})"

    def _concurrency_info(self) -> str:
        pool = self.pool_cls if isinstance(self.pool_cls, str) else self.pool_cls.__module__
        tasks = str(self.concurrency)
        if self.autoscale:
            largest, smallest = self.autoscale
            tasks = f"{{min={smallest}, max={largest}}}"
        return f"{tasks} ({pool.rsplit('.', 1)[-1]})"


def _version() -> str:
    from taskq_cloud import celery  # the package has the version

    return f"{celery.__version__} ({celery.SERIES})"
