"""Tasks that take pydantic models: ``@app.task(pydantic=True)``.

Arguments whose annotation is a model are validated before the function runs, and a returned model is dumped. A caller
may pass models, too: they are dumped if the worker will make equal ones of them.

Source: Celery 5.7, "Tasks", "Argument validation with Pydantic".
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from taskq_cloud.celery.exceptions import ImproperlyConfigured


class ModelArguments:
    """The models among the parameters of a task's function.

    Args:
        app: the application.
        function: the function.
        task: the task's name.
        strict: whether values are validated without conversion.
        context: the context of the validators.
        dump_kwargs: the arguments of ``model_dump``.
    """

    def __init__(
        self,
        app: Any,
        function: Callable[..., Any],
        task: str,
        strict: bool = False,
        context: Mapping[str, Any] | None = None,
        dump_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            from pydantic import BaseModel  # few tasks take models
        except ModuleNotFoundError as error:
            raise ImproperlyConfigured("You need to install pydantic to use pydantic model serialization.") from error
        self._model: Any = BaseModel
        self._function = function
        self._strict = strict
        self._context = {**(context or {}), "celery_app": app, "celery_task_name": task}
        self._dump_kwargs = {"mode": "json", **(dump_kwargs or {})}
        self._signature = inspect.signature(function)
        try:
            self._hints: Mapping[str, Any] = typing.get_type_hints(function)
        except (AttributeError, NameError, TypeError):  # names that are imported for type checkers only
            self._hints = {}

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with validated arguments, and dump the model that it returns."""
        bound = self._signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            model = self._model_of(name, value)
            if model is not None:
                bound.arguments[name] = self._validated(model, value)
        returned = self._function(*bound.args, **bound.kwargs)
        annotation = self._hints.get("return", self._signature.return_annotation)
        declared = _without_none(annotation) or annotation
        if isinstance(returned, self._model) and _is_class(declared) and isinstance(returned, declared):
            return returned.model_dump(**self._dump_kwargs)
        return returned

    def dumped(self, args: Any, kwargs: Any, *, bound: bool) -> tuple[Any, Any]:
        """Dump the models among a caller's arguments; arguments without any are returned as they are.

        Args:
            args: the positional arguments, or None.
            kwargs: the keyword arguments, or None.
            bound: whether the function's first argument is the task.
        """
        given, named = () if args is None else args, {} if kwargs is None else kwargs
        if not isinstance(given, list | tuple) or not isinstance(named, Mapping):
            return args, kwargs  # which the call refuses
        if not any(isinstance(value, self._model) for value in (*given, *named.values())):
            return args, kwargs
        try:
            self._signature.bind(*([None] if bound else []), *given, **named)
        except TypeError:
            return args, kwargs  # which the worker refuses
        parameters = self._signature.parameters.values()
        places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][int(bound) :]
        names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        by_place = [self._dumped(_at(places, index), value) for index, value in enumerate(given)]
        by_name = {name: self._dumped(name if name in names else None, value) for name, value in named.items()}
        if any(new is not old for new, old in zip(by_place, given, strict=True)):
            args = by_place if isinstance(given, list) else tuple(by_place)
        if any(by_name[name] is not value for name, value in named.items()):
            kwargs = by_name
        return args, kwargs

    def _dumped(self, parameter: str | None, value: Any) -> Any:
        """Dump a model if validating the dump makes an equal one; other values stay for the serializer."""
        if parameter is None or not isinstance(value, self._model) or hasattr(type(value), "__json__"):
            return value
        model = self._model_of(parameter, value)
        if model is None:
            return value
        try:
            plain = value.model_dump(**self._dump_kwargs)
            return plain if self._validated(model, plain) == value else value
        except Exception:
            return value

    def _model_of(self, parameter: str, value: Any) -> Any:
        annotation = self._hints.get(parameter, self._signature.parameters[parameter].annotation)
        declared = annotation if value is None else _without_none(annotation) or annotation
        return declared if _is_class(declared) and issubclass(declared, self._model) else None

    def _validated(self, model: Any, value: Any) -> Any:
        return model.model_validate(value, strict=self._strict, context=self._context)


def _at(places: list[str], index: int) -> str | None:
    return places[index] if index < len(places) else None


def _is_class(annotation: Any) -> bool:
    return isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)


def _without_none(annotation: Any) -> Any:
    """The type in ``Optional[...]``; None for any other annotation."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return None
    match typing.get_args(annotation):
        case (types.NoneType, only) | (only, types.NoneType):
            return only
    return None


def wrapped(app: Any, function: Callable[..., Any], task: str, options: Mapping[str, Any], *, bound: bool) -> Any:
    """Make the body of a task whose arguments are validated; it has ``dump_arguments`` for callers.

    Args:
        app: the application.
        function: the task's function.
        task: the task's name.
        options: ``pydantic_strict``, ``pydantic_context`` and ``pydantic_dump_kwargs``.
        bound: whether the function's first argument is the task.

    Raises:
        ImproperlyConfigured: pydantic isn't installed.
    """
    arguments = ModelArguments(
        app,
        function,
        task,
        bool(options.get("pydantic_strict")),
        options.get("pydantic_context"),
        options.get("pydantic_dump_kwargs"),
    )

    @functools.wraps(function)
    def body(*args: Any, **kwargs: Any) -> Any:
        return arguments.call(*args, **kwargs)

    vars(body)["dump_arguments"] = functools.partial(arguments.dumped, bound=bound)
    return body
