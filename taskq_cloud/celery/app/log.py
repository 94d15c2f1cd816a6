"""The logging of an application: ``app.log``.

``setup`` configures logging once for a process, as Celery's commands do. The commands of taskq_cloud configure it by
themselves, and a library never does.
"""

import logging
import os
import sys
import warnings
from logging.handlers import WatchedFileHandler
from typing import Any

from taskq_cloud.celery import signals
from taskq_cloud.celery._state import get_current_task
from taskq_cloud.celery.exceptions import CDeprecationWarning, CPendingDeprecationWarning
from taskq_cloud.celery.utils.log import (
    MP_LOG,
    ColorFormatter,
    LoggingProxy,
    get_logger,
    get_multiprocessing_logger,
    mlevel,
    reset_multiprocessing_logger,
)
from taskq_cloud.celery.utils.nodenames import node_format
from taskq_cloud.celery.utils.term import IS_WINDOWS, colored

__all__ = ("Logging", "TaskFormatter")

# The loggers whose handlers go when the root logger's do.
_HIJACKED = ("celery", "celery.task", "celery.redirected")


def isatty(fh: Any) -> Any:
    """Tell whether a file is a terminal."""
    return fh.isatty() if hasattr(fh, "isatty") else None


class TaskFormatter(ColorFormatter):
    """A formatter with the name and the id of the running task: ``%(task_name)s`` and ``%(task_id)s``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text, with ``???`` outside of a task."""
        task = get_current_task()
        if task and task.request:
            record.__dict__.update(task_id=task.request.id, task_name=task.name)
        else:
            record.__dict__.setdefault("task_name", "???")
            record.__dict__.setdefault("task_id", "???")
        return super().format(record)


class _SetUp:
    """A flag of the class, also where it is set through an object."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return (owner or type(instance))._setup

    def __set__(self, instance: Any, value: Any) -> None:
        type(instance)._setup = value


class Logging:
    """The logging of an application.

    Args:
        app: the application, whose settings ``worker_log_format`` and so on are read.
    """

    #: Whether the logging of this process was set up; if so, it isn't set up again.
    _setup = False

    #: The same for an object and for the class, and may be set.
    already_setup = _SetUp()

    def __init__(self, app: Any) -> None:
        conf = app.conf
        self.app = app
        self.loglevel = mlevel(logging.WARNING)
        self.format = conf.worker_log_format
        self.datefmt = conf.worker_log_datefmt
        self.task_format = conf.worker_task_log_format
        self.task_datefmt = conf.worker_task_log_datefmt
        self.colorize = conf.worker_log_color

    def setup(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        redirect_stdouts: bool = False,
        redirect_level: Any = "WARNING",
        colorize: Any = None,
        hostname: str | None = None,
    ) -> Any:
        """Set up the logging of this process, and let warnings be logged.

        Args:
            loglevel: the lowest level that is logged.
            logfile: a file, its path, or None for standard error; ``%n`` and so on stand for parts of ``hostname``.
            redirect_stdouts: whether output is logged as well, unless a receiver of ``setup_logging`` did all.
            redirect_level: the level of such output.
            colorize: whether lines are coloured; None: if standard error is a terminal.
            hostname: the name of the worker.

        Returns:
            The receivers of the signal ``setup_logging`` with their responses; None if logging had been set up before.
        """
        loglevel = mlevel(loglevel)
        handled = self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname)
        if not handled and redirect_stdouts:
            self.redirect_stdouts(redirect_level)
        os.environ.update(
            CELERY_LOG_LEVEL=str(loglevel) if loglevel else "", CELERY_LOG_FILE=str(logfile) if logfile else ""
        )
        warnings.filterwarnings("always", category=CDeprecationWarning)
        warnings.filterwarnings("always", category=CPendingDeprecationWarning)
        logging.captureWarnings(capture=True)
        return handled

    def redirect_stdouts(self, loglevel: Any = None, name: str = "celery.redirected") -> None:
        """Log what is written to standard output and standard error."""
        self.redirect_stdouts_to_logger(get_logger(name), loglevel=loglevel)
        os.environ.update(CELERY_LOG_REDIRECT="1", CELERY_LOG_REDIRECT_LEVEL=str(loglevel or ""))

    def setup_logging_subsystem(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: Any = None,
        hostname: str | None = None,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Set up the loggers of this process, unless a receiver of the signal ``setup_logging`` does.

        Returns:
            The receivers with their responses; None if logging had been set up before.

        Raises:
            Exception: a receiver's.
        """
        if self.already_setup:
            return None
        if logfile and hostname:
            logfile = node_format(logfile, hostname)
        Logging._setup = True
        loglevel = mlevel(loglevel or self.loglevel)
        colorize = self.supports_color(colorize, logfile)
        reset_multiprocessing_logger()
        described = {"loglevel": loglevel, "logfile": logfile, "format": format or self.format, "colorize": colorize}
        receivers = signals.setup_logging.send(sender=None, **described)
        for _, response in receivers:
            if isinstance(response, Exception):
                Logging._setup = False
                raise response
        if not receivers:
            self._setup_root(described, datefmt=self.datefmt if datefmt is None else datefmt, **kwargs)
        return receivers

    def _setup_root(self, described: dict[str, Any], **kwargs: Any) -> None:
        """Set up the root logger, and the loggers of pools and tasks."""
        loglevel, logfile, form, colorize = described.values()
        root = logging.getLogger()
        if self.app.conf.worker_hijack_root_logger:
            root.handlers = []
            for name in _HIJACKED:
                get_logger(name).handlers = []
        self._configure_logger(root, logfile, loglevel, form, colorize, **kwargs)
        pool_level = loglevel if MP_LOG else logging.ERROR
        self._configure_logger(get_multiprocessing_logger(), logfile, pool_level, form, colorize, **kwargs)
        signals.after_setup_logger.send(sender=None, logger=root, **described)
        self.setup_task_loggers(loglevel, logfile, colorize=colorize)

    def _configure_logger(
        self, logger: Any, logfile: Any, loglevel: Any, format: Any, colorize: Any, **kwargs: Any
    ) -> None:
        if logger is not None:
            self.setup_handlers(logger, logfile, format, colorize, **kwargs)
            if loglevel:
                logger.setLevel(loglevel)

    def setup_task_loggers(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: Any = None,
        propagate: bool = False,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Set up the logger of tasks, and return it.

        Args:
            loglevel: the lowest level that is logged.
            logfile: a file, its path, or None for standard error.
            format: the format of a line; None: the setting ``worker_task_log_format``.
            colorize: whether lines are coloured; None: if standard error is a terminal.
            propagate: whether the handlers of the loggers above get the records as well.
            datefmt: the format of the time.
            kwargs: more arguments of ``setup_handlers``.
        """
        loglevel = mlevel(loglevel or self.loglevel)
        form = format or self.task_format
        datefmt = self.task_datefmt if datefmt is None else datefmt
        colorize = self.supports_color(colorize, logfile)
        logger = self.setup_handlers(
            get_logger("celery.task"), logfile, form, colorize, formatter=TaskFormatter, datefmt=datefmt, **kwargs
        )
        logger.setLevel(loglevel)
        logger.propagate = int(propagate)
        signals.after_setup_task_logger.send(
            sender=None, logger=logger, loglevel=loglevel, logfile=logfile, format=form, colorize=colorize
        )
        return logger

    def redirect_stdouts_to_logger(
        self, logger: Any, loglevel: Any = None, stdout: bool = True, stderr: bool = True
    ) -> LoggingProxy:
        """Replace standard output and standard error by a file that writes to a logger, and return this file."""
        proxy: Any = LoggingProxy(logger, loglevel)
        if stdout:
            sys.stdout = proxy
        if stderr:
            sys.stderr = proxy
        return proxy  # type: ignore[no-any-return]

    def supports_color(self, colorize: Any = None, logfile: Any = None) -> Any:
        """Tell whether lines are coloured: never in a file, nor on Windows."""
        colorize = self.colorize if colorize is None else colorize
        if getattr(self.app, "IS_WINDOWS", IS_WINDOWS):
            return False
        return logfile is None and isatty(sys.stderr) if colorize or colorize is None else colorize

    def colored(self, logfile: Any = None, enabled: Any = None) -> colored:
        """Return an object that colours text, if lines are coloured."""
        return colored(enabled=self.supports_color(enabled, logfile))

    def setup_handlers(
        self,
        logger: Any,
        logfile: Any,
        format: Any,
        colorize: Any,
        formatter: Any = ColorFormatter,
        datefmt: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Give a logger a handler, unless it has one, and return the logger."""
        if not self._is_configured(logger):
            handler = self._detect_handler(logfile)
            handler.setFormatter(formatter(format, datefmt=datefmt, use_color=colorize))
            logger.addHandler(handler)
        return logger

    def _detect_handler(self, logfile: Any = None) -> Any:
        """Return a handler for an open file, a path, or, for None, standard error."""
        logfile = sys.__stderr__ if logfile is None else logfile
        if hasattr(logfile, "write"):
            return logging.StreamHandler(logfile)
        return WatchedFileHandler(logfile, encoding="utf-8")

    def _has_handler(self, logger: Any) -> bool:
        return any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers or ())

    def _is_configured(self, logger: Any) -> bool:
        return self._has_handler(logger) and not getattr(logger, "_rudimentary_setup", False)

    def get_default_logger(self, name: str = "celery", **kwargs: Any) -> logging.Logger:
        """Return the logger with this name."""
        return get_logger(name)
