"""Arguments and values of tasks with ``typed=True``, by pydantic's ``TypeAdapter`` for each annotation.

The caller validates each argument and writes it as plain JSON values. The worker makes the argument anew. So a task
gets models, dataclasses, enums, sets, timedeltas and paths, and everything else that pydantic knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from taskq_cloud.core.execution.annotations import Annotations, Arguments
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import ArgumentsInvalid, EncodeError, ImproperlyConfigured


class TypedArguments:
    """Converts the arguments and the values of one task by their annotations.

    Args:
        definition: the task's.

    Raises:
        ImproperlyConfigured: an annotation can't be resolved.
    """

    def __init__(self, definition: TaskDefinition) -> None:
        self._task = definition.name
        self._annotations = Annotations(definition)
        self._adapter = cache(self._make_adapter)

    def dump(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """See ``Conversion.dump``: each argument is validated before and after."""
        return self._converted(args, kwargs, self._dumped)

    @staticmethod
    def dump_part(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """See ``Conversion.dump_part``: each argument is written by its own type."""
        return [_plain(each) for each in args], {name: _plain(each) for name, each in kwargs.items()}

    def load(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """See ``Conversion.load``.

        Raises:
            ArgumentsInvalid: an argument doesn't have the parameter's type; the error names the argument.
        """
        return self._converted(args, kwargs, self._validated)

    def dump_value(self, value: Any) -> Any:
        """See ``Conversion.dump_value``.

        Raises:
            EncodeError: the value can't be written by the annotation.
        """
        adapter = self._adapter("return")
        if adapter is None:
            return value
        try:
            return adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
        except PydanticSerializationError as error:
            hint = self._annotations.hints["return"]
            raise EncodeError(f"the result of task {self._task} doesn't fit its annotation {hint!r}: {error}") from None

    def _converted(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], convert: Callable[[str, Any], Any]
    ) -> Arguments:
        done, named = list(args), dict(kwargs)
        for place, parameter in self._annotations.names(args, kwargs):
            if isinstance(place, int):
                done[place] = convert(parameter, done[place])
            else:
                named[place] = convert(parameter, named[place])
        return done, named

    def _validated(self, parameter: str, value: Any) -> Any:
        adapter = self._adapter(parameter)
        if adapter is None:
            return value
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise ArgumentsInvalid(self._text(parameter, error)) from error

    def _dumped(self, parameter: str, value: Any) -> Any:
        adapter = self._adapter(parameter)
        if adapter is None:
            return value
        valid = self._validated(parameter, value)
        try:
            dumped = adapter.dump_python(valid, mode="json", by_alias=True, warnings="error")
        except PydanticSerializationError as error:
            raise ArgumentsInvalid(f"task {self._task}: argument {parameter!r} can't be sent: {error}") from error
        if dumped is not valid:
            self._validated(parameter, dumped)  # the worker must be able to read it
        return dumped

    def _text(self, parameter: str, error: ValidationError) -> str:
        problems = [
            "".join(f"[{part!r}]" for part in each["loc"]) + f": {each['msg']}" if each["loc"] else each["msg"]
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        return f"task {self._task}: argument {parameter!r} is not valid: {'; '.join(problems)}"

    def _make_adapter(self, name: str) -> TypeAdapter[Any] | None:
        if name not in self._annotations.hints:
            return None
        hint = self._annotations.hints[name]
        try:
            return TypeAdapter(hint)
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            raise ImproperlyConfigured(
                f"task {self._task}: pydantic can't use the annotation {hint!r} of {name!r}, so remove typed=True, or "
                f"annotate it otherwise: {error}"
            ) from error


def _plain(value: Any) -> Any:
    try:
        return to_jsonable_python(value, by_alias=True)
    except PydanticSerializationError:
        return value  # the serializer may know it, or explains why it can't be sent
