"""Arguments and values by type: dumped by the caller, and made anew by the task's annotations before it runs.

A task asks for it by ``typed=True``, or by Celery's ``pydantic=True``. Both need pydantic, which other tasks don't
import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition

if TYPE_CHECKING:  # few tasks convert their arguments
    from taskq_cloud.core.execution.annotations import Arguments


class Conversion(Protocol):
    """Converts the arguments and the values of one task."""

    def dump(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Write the arguments of a whole call, which fit the function's signature, as plain values.

        Raises:
            ArgumentsInvalid: an argument doesn't have the parameter's type.
        """
        ...

    def dump_part(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Write arguments as plain values whose parameters are not known, such as a signature's in a chain."""
        ...

    def load(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Make the arguments with which the function is called.

        Raises:
            Exception: an argument doesn't have the parameter's type; the error names the argument.
        """
        ...

    def dump_value(self, value: Any) -> Any:
        """Write a value that the function has returned as a plain value."""
        ...


def is_wanted(options: TaskOptions) -> bool:
    """Whether a task's arguments and values are converted."""
    return options.typed or options.pydantic


def conversion_of(definition: TaskDefinition) -> Conversion:
    """Make the conversion of a task that wants one. It resolves the function's annotations.

    Raises:
        ImproperlyConfigured: an annotation can't be resolved, or pydantic can't use it.
    """
    if definition.options.typed:
        from taskq_cloud.core.execution.typed_arguments import TypedArguments

        return TypedArguments(definition)
    from taskq_cloud.core.execution.pydantic_models import PydanticModels

    return PydanticModels(definition)


class Conversions:
    """The conversions of an application's tasks, each made at its first use."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[TaskDefinition, Conversion]] = {}

    def of(self, definition: TaskDefinition) -> Conversion | None:
        """The conversion of a task; None: its arguments and values are not converted."""
        if not is_wanted(definition.options):
            return None
        known = self._made.get(definition.name)
        if known is None or known[0] is not definition:  # a task can be declared anew
            known = self._made[definition.name] = (definition, conversion_of(definition))
        return known[1]
