"""An exception with its traceback, as Celery hands them to a task's ``on_failure``: ``ExceptionInfo``."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any

__all__ = ("ExceptionInfo",)


class ExceptionInfo:
    """An exception, its class and its traceback.

    Args:
        exc_info: the three, as ``sys.exc_info`` returns them; None: those of the exception that is being handled.
        internal: the exception was raised by the worker and not by the task.

    Attributes:
        type: the class.
        exception: the exception.
        tb: the traceback object.
        traceback: the traceback as text.
        internal: as given.
    """

    def __init__(self, exc_info: tuple[Any, Any, TracebackType | None] | None = None, internal: bool = False) -> None:
        given: tuple[Any, Any, TracebackType | None] = exc_info or sys.exc_info()
        self.type, self.exception, self.tb = given
        kind = self.type or type(self.exception)
        try:
            self.traceback = "".join(traceback.format_exception(kind, self.exception, self.tb))
        except Exception:  # an exception's class may do anything when it is shown
            self.traceback = "".join([*traceback.format_tb(self.tb), f"{kind.__qualname__}\n"])
        self.internal = internal

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"

    @property
    def exc_info(self) -> tuple[Any, Any, TracebackType | None]:
        """The class, the exception and the traceback object."""
        return self.type, self.exception, self.tb

    def __reduce__(self) -> Any:
        return _unpickled, (self.type, self.exception, self.traceback, self.internal)


def _unpickled(*parts: Any) -> ExceptionInfo:
    kind, exception, text, internal = parts
    made = ExceptionInfo((kind, exception, None), internal=internal)
    made.traceback = text
    return made
