"""Loggers, levels, coloured log lines, and files that write to a logger."""

import logging
import numbers
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from ._encoding import safe_str
from .term import colored

__all__ = (
    "LOG_LEVELS",
    "ColorFormatter",
    "LoggingProxy",
    "base_logger",
    "get_logger",
    "get_multiprocessing_logger",
    "get_task_logger",
    "in_sighandler",
    "mlevel",
    "reset_multiprocessing_logger",
    "set_in_sighandler",
)

#: Levels by name, and names by level.
LOG_LEVELS: dict[Any, Any] = {
    **logging.getLevelNamesMapping(),
    **{level: logging.getLevelName(level) for level in logging.getLevelNamesMapping().values()},
}

MP_LOG = bool(os.environ.get("MP_LOG"))

RESERVED_LOGGER_NAMES = {"celery", "celery.task"}

_process_aware = False


class _State:
    """Whether this process runs a signal handler, in which no logger may be called: it may hold a lock."""

    in_signal_handler = False


def _logger_with_handler(name: str | logging.Logger) -> logging.Logger:
    """Return a logger with at least a handler that drops its records."""
    logger = logging.getLogger(name) if isinstance(name, str) else name
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


# Every logger of the package is a child of "celery", and the logger of every task one of "celery.task".
base_logger = logger = _logger_with_handler("celery")


def set_in_sighandler(value: bool) -> None:
    """Say whether this process runs a signal handler."""
    _State.in_signal_handler = value


@contextmanager
def in_sighandler() -> Iterator[None]:
    """Mark a block as part of a signal handler: proxied output goes to the real standard error."""
    set_in_sighandler(True)
    try:
        yield
    finally:
        set_in_sighandler(False)


def iter_open_logger_fds() -> Iterator[Any]:
    """Yield the stream of each handler of each logger."""
    seen = set()
    for each in (*logging.Logger.manager.loggerDict.values(), logging.getLogger(None)):
        for handler in getattr(each, "handlers", ()):
            if handler not in seen and hasattr(handler, "stream"):
                yield handler.stream
                seen.add(handler)


def logger_isa(logger: Any, parent: Any, max: int = 1000) -> bool:
    """Tell whether the logger ``parent`` is ``logger`` or above it.

    Raises:
        RuntimeError: if a logger is above itself.
    """
    seen = set()
    ancestor = logger
    for _ in range(max):
        if ancestor == parent:
            return True
        if ancestor in seen:
            raise RuntimeError(f"Logger {logger.name!r} parents recursive")
        seen.add(ancestor)
        ancestor = ancestor.parent
        if not ancestor:
            return False
    raise RuntimeError(f"Logger hierarchy exceeds {max}")


def _using_logger_parent(parent_logger: logging.Logger, logger_: logging.Logger) -> logging.Logger:
    if not logger_isa(logger_, parent_logger):
        logger_.parent = parent_logger
    return logger_


def get_logger(name: str | logging.Logger) -> logging.Logger:
    """Return the logger with this name, as a descendant of "celery" if it isn't directly below the root."""
    found = _logger_with_handler(name)
    if logging.root not in (found, found.parent) and found is not base_logger:
        found = _using_logger_parent(base_logger, found)
    return found


task_logger = get_logger("celery.task")
worker_logger = get_logger("celery.worker")


def get_task_logger(name: str) -> logging.Logger:
    """Return the logger for a module of tasks, as a descendant of "celery.task".

    Raises:
        RuntimeError: if the name is one of Celery's own.
    """
    if name in RESERVED_LOGGER_NAMES:
        raise RuntimeError(f"Logger name {name!r} is reserved!")
    return _using_logger_parent(task_logger, get_logger(name))


def mlevel(level: Any) -> Any:
    """Return a level as a number: "info" gives 20."""
    return LOG_LEVELS[level.upper()] if level and not isinstance(level, numbers.Integral) else level


class ColorFormatter(logging.Formatter):
    """A formatter that writes a record in the colour of its level."""

    COLORS = colored().names
    #: The colour of each level.
    colors: ClassVar[dict[str, Any]] = {
        "DEBUG": COLORS["blue"],
        "WARNING": COLORS["yellow"],
        "ERROR": COLORS["red"],
        "CRITICAL": COLORS["magenta"],
    }

    def __init__(self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def formatException(self, ei: Any) -> str:
        """Return a traceback as text; any true value stands for the current exception."""
        return super().formatException(ei if not ei or isinstance(ei, tuple) else sys.exc_info())

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; one that can't be written is described instead."""
        text: Any = super().format(record)
        color = self.colors.get(record.levelname)
        if not color or not self.use_color:
            return safe_str(text)
        given: Any = record.exc_info
        exception = sys.exc_info() if given == 1 else given
        try:
            return str(color(safe_str(text))) if isinstance(text, str) else safe_str(color(text))
        except Exception as error:
            return self._describe(record, f"<Unrepresentable {type(text)!r}: {error!r}>", exception)

    def _describe(self, record: Any, description: str, exception: Any) -> str:
        message, record.msg, record.exc_info = record.msg, description, 1
        try:
            return super().format(record)
        finally:
            # The next handler gets the record as it was.
            record.msg, record.exc_info = message, exception


def _print_error_to_stderr(record: logging.LogRecord) -> None:
    """Write the error of a handler to the real standard error: the redirected one would call the handler again."""
    if sys.__stderr__ is not None:
        try:
            traceback.print_exc(None, sys.__stderr__)
        except OSError:
            return  # nobody reads standard error, and there is nowhere else to write this to


class LoggingProxy:
    """A file whose lines go to a logger.

    Args:
        logger: the logger.
        loglevel: the level of the lines; by default the logger's own, or ERROR.
    """

    mode = "w"
    name = None
    closed = False
    loglevel: Any = logging.ERROR
    _thread = threading.local()

    def __init__(self, logger: Any, loglevel: Any = None) -> None:
        self.logger = logger
        self.loglevel = mlevel(loglevel or self.logger.level or self.loglevel)
        for handler in self.logger.handlers:
            handler.handleError = _print_error_to_stderr

    def write(self, data: Any) -> int:
        """Log one piece of text, and return how many characters were logged."""
        if _State.in_signal_handler:
            return self._write_to_stderr(safe_str(data))
        # A handler that writes to this file would log without end.
        if getattr(self._thread, "recurse_protection", False) or not data or self.closed:
            return 0
        self._thread.recurse_protection = True
        try:
            text = safe_str(data).rstrip("\n")
            if text:
                self.logger.log(self.loglevel, text)
            return len(text)
        finally:
            self._thread.recurse_protection = False

    @staticmethod
    def _write_to_stderr(text: str) -> int:
        print(text, file=sys.__stderr__)
        return len(text)

    def writelines(self, sequence: Iterable[Any]) -> None:
        """Log each text of an iterable."""
        for part in sequence:
            self.write(part)

    def flush(self) -> None:
        """Do nothing: no text is kept."""

    def close(self) -> None:
        """Drop every text that is written from now on."""
        self.closed = True

    def isatty(self) -> bool:
        """Return False: a logger isn't a terminal."""
        return False


def get_multiprocessing_logger() -> logging.Logger:
    """Return the logger of the processes of a worker's pool."""
    from multiprocessing import util

    return util.get_logger()


def reset_multiprocessing_logger() -> None:
    """Forget how the logger of a pool's processes was set up."""
    from multiprocessing import util

    if hasattr(util, "_logger"):
        util._logger = None


def current_process() -> Any:
    """Return this process, as multiprocessing knows it."""
    from multiprocessing import process

    return process.current_process()


def current_process_index(base: int = 1) -> Any:
    """Return the number of this process in its pool, counted from ``base``, or None outside of a pool."""
    index = getattr(current_process(), "index", None)
    return index + base if index is not None else index
