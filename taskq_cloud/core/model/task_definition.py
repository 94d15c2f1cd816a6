"""The definition of a registered task: its name, its function and its options."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, Signature
from typing import Any, Final

from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import Invocation
from taskq_cloud.errors import ImproperlyConfigured

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_ANY: Final = Signature(
    [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)],
)


def _annotations_unread() -> dict[str, Any]:
    """The arguments with which ``inspect.signature`` doesn't evaluate annotations.

    Python 3.14 evaluates an annotation when somebody asks for it, and fails if the name it needs was imported for type
    checkers only.
    """
    if sys.version_info < (3, 14):
        return {}
    return {"annotation_format": import_module("annotationlib").Format.STRING}  # inspect has imported it


_ANNOTATIONS_UNREAD: Final = _annotations_unread()


def signature_of(function: Callable[..., Any]) -> Signature:
    """The signature of a function, whose annotations are not evaluated.

    Raises:
        ValueError: the function has no signature, like some functions of C.
    """
    return inspect.signature(function, **_ANNOTATIONS_UNREAD)


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A registered task.

    Args:
        name: the task's name on the wire.
        function: the function that the task runs.
        options: the options that the task was declared with.
        bind: makes the function's first argument, ``self``; None for a task declared without ``bind=True``.
        request: makes the request of a failed task, which the function gets when it runs as that task's errback.
    """

    name: str
    function: Callable[..., Any]
    options: TaskOptions
    bind: Callable[[Invocation], Any] | None = None
    request: Callable[[Invocation], Any] = lambda invocation: invocation

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def signature(self) -> Signature:
        """The signature of the task's calls: that of the function, without the ``self`` of a bound task.

        Raises:
            ImproperlyConfigured: the task is bound, and its function takes no positional argument.
        """
        try:
            found = signature_of(self.function)
        except ValueError:  # functions of C need not have a signature
            return _ANY
        if self.bind is None:
            return found
        match [*found.parameters.values()]:
            case [Parameter(kind=kind), *others] if kind in _POSITIONAL:
                return found.replace(parameters=others)
            case [Parameter(kind=Parameter.VAR_POSITIONAL), *_]:
                return found
        raise ImproperlyConfigured(
            f"task {self.name}: with bind=True its function gets self as its first argument, and {self.function!r} has "
            "no parameter for it; add the parameter self, or remove bind=True"
        )
