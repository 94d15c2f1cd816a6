"""Pydantic models as arguments and values, with Celery's ``pydantic=True``.

A worker makes a model of each argument whose annotation is a model class, or ``Optional`` of one, and writes a returned
model if it fits the function's annotation. A caller may pass a model if the worker makes an equal one of what is sent.
Otherwise the model is left as it is, and the serializer refuses it.

Source: Celery 5.7, "Tasks: Argument validation with Pydantic".
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from inspect import Parameter
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from taskq_cloud.core.execution.annotations import Annotations, Arguments
from taskq_cloud.core.model.task_definition import TaskDefinition

_UNION_KINDS = (Union, types.UnionType)
_TWO = 2
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class PydanticModels:
    """Converts the models among the arguments and the values of one task.

    Args:
        definition: the task's.

    Raises:
        ImproperlyConfigured: an annotation can't be resolved.
    """

    def __init__(self, definition: TaskDefinition) -> None:
        options = definition.options
        self._annotations = Annotations(definition)
        self._strict = options.pydantic_strict
        self._context = {**(options.pydantic_context or {}), "celery_task_name": definition.name}
        self._dump_options = {"mode": "json", **(options.pydantic_dump_kwargs or {})}

    def dump(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """See ``Conversion.dump``: models that the worker can't make anew are left as they are."""
        done, named = list(args), dict(kwargs)
        for place, parameter in self._annotations.names(args, kwargs):
            if isinstance(place, int):
                done[place] = self._dumped(parameter, done[place])
            else:
                named[place] = self._dumped(parameter, named[place])
        return done, named

    @staticmethod
    def dump_part(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """See ``Conversion.dump_part``: as in Celery, models in signatures are left as they are."""
        return args, kwargs

    def load(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """See ``Conversion.load``.

        Raises:
            pydantic.ValidationError: an argument doesn't fit its model.
        """
        done, named = list(args), dict(kwargs)
        for place, parameter in self._annotations.names(args, kwargs):
            value = done[place] if isinstance(place, int) else named[place]
            model = self._model_of(parameter, value)
            if model is None:
                continue
            made = self._validated(model, value)
            if isinstance(place, int):
                done[place] = made
            else:
                named[place] = made
        return done, named

    def dump_value(self, value: Any) -> Any:
        """See ``Conversion.dump_value``: a model is written if it is an instance of the annotated class."""
        if not isinstance(value, BaseModel):
            return value
        annotation = self._annotations.hints.get("return")
        annotation = _optional(annotation) or annotation
        return self._dump(value) if isinstance(annotation, type) and isinstance(value, annotation) else value

    def _model_of(self, parameter: str, value: Any) -> type[BaseModel] | None:
        if self._annotations.parameters[parameter].kind in _VARIADIC:
            return None
        annotation = self._annotations.hints.get(parameter)
        if value is not None:
            annotation = _optional(annotation) or annotation
        return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None

    def _validated(self, model: type[BaseModel], value: Any) -> BaseModel:
        return model.model_validate(value, strict=self._strict, context=dict(self._context))

    def _dump(self, value: BaseModel) -> Any:
        return value.model_dump(**self._dump_options)

    def _dumped(self, parameter: str, value: Any) -> Any:
        if not isinstance(value, BaseModel) or hasattr(type(value), "__json__"):
            return value
        model = self._model_of(parameter, value)
        if model is None:
            return value
        with suppress(Exception):  # a model's own code may do anything, and may work in a worker only
            dumped = self._dump(value)
            if self._validated(model, dumped) == value:
                return dumped
        return value


def _optional(annotation: Any) -> Any:
    """The other type of an annotation that is a union of one type and None; None: it is not such a union."""
    kinds = get_args(annotation)
    if get_origin(annotation) not in _UNION_KINDS or len(kinds) != _TWO or type(None) not in kinds:
        return None
    return next(each for each in kinds if each is not type(None))
