"""The parameters of a task's function with their annotations, for tasks that convert their arguments."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter
from typing import Any, TypeAlias

from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import ImproperlyConfigured

Arguments: TypeAlias = tuple[Sequence[Any], Mapping[str, Any]]
"""The positional and the keyword arguments of a call, without the ``self`` of a bound task."""


class Annotations:
    """The annotations of a task's parameters and of its value.

    Args:
        definition: the task's.

    Attributes:
        parameters: name -> parameter, without the ``self`` of a bound task.
        hints: name -> resolved annotation; the value's has the name ``return``.

    Raises:
        ImproperlyConfigured: an annotation can't be resolved.
    """

    def __init__(self, definition: TaskDefinition) -> None:
        self.parameters: Mapping[str, Parameter] = definition.signature.parameters
        self._positional = [
            each
            for each in self.parameters.values()
            if each.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        ]
        kinds = {each.kind: each for each in self.parameters.values()}
        self._more_args, self._more_kwargs = kinds.get(Parameter.VAR_POSITIONAL), kinds.get(Parameter.VAR_KEYWORD)
        try:
            self.hints: Mapping[str, Any] = typing.get_type_hints(
                inspect.unwrap(definition.function), include_extras=True
            )
        except (NameError, AttributeError, TypeError) as error:
            raise ImproperlyConfigured(
                f"task {definition.name}: an annotation of its function can't be resolved ({error}): import the name "
                "at the top of the module, and not for type checkers only"
            ) from error

    def names(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[int | str, str]]:
        """Yield the place of each argument, its position or its name, and the name of its parameter.

        An argument without a parameter is left out.
        """
        for place in range(len(args)):
            parameter = self._positional[place] if place < len(self._positional) else self._more_args
            if parameter is not None:
                yield place, parameter.name
        for name in kwargs:
            known = self.parameters.get(name)
            if known is not None and known.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
                yield name, name
            elif self._more_kwargs is not None:
                yield name, self._more_kwargs.name
