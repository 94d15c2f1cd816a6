"""The definition of a registered task: its name, its function and its options."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from inspect import Signature

    from taskq_cloud.core.model.outcome import Invocation

# The flags of a function's code, which don't change; ``inspect`` has their names, and takes longer to import than all
# of this package's models.
_TAKES_MORE_ARGS: Final = 0x04
_IS_COROUTINE: Final = 0x80  # inspect.CO_COROUTINE
_TAKES_MORE_KWARGS: Final = 0x08
_IS_GENERATOR: Final = 0x20
_IS_ASYNC_GENERATOR: Final = 0x200


@cache
def _annotations_unread() -> dict[str, Any]:
    """The arguments with which ``inspect.signature`` doesn't evaluate annotations.

    Python 3.14 evaluates an annotation when somebody asks for it, and fails if the name it needs was imported for type
    checkers only.
    """
    if sys.version_info < (3, 14):
        return {}
    from importlib import import_module

    return {"annotation_format": import_module("annotationlib").Format.STRING}  # inspect has imported it


def signature_of(function: Callable[..., Any]) -> Signature:
    """The signature of a function, whose annotations are not evaluated.

    Raises:
        ValueError: the function has no signature, like some functions of C.
    """
    import inspect  # arguments that fit are found without it: see Shape

    return inspect.signature(function, **_annotations_unread())


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether a function is a generator function, or an asynchronous one."""
    if type(function) is FunctionType:
        return bool(function.__code__.co_flags & (_IS_GENERATOR | _IS_ASYNC_GENERATOR))
    import inspect  # few tasks are anything but functions

    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


class Shape:
    """The parameters of a Python function, by which arguments that fit are found fast and without ``inspect``.

    Args:
        function: the function.
        bound: whether its first positional argument is not the caller's.
    """

    __slots__ = ("_by_name", "_by_position", "_more_args", "_more_kwargs", "_needed", "_needed_names")

    def __init__(self, function: FunctionType, *, bound: bool) -> None:
        code, first = function.__code__, int(bound)
        end = code.co_argcount + code.co_kwonlyargcount
        positional, named = code.co_varnames[: code.co_argcount], code.co_varnames[code.co_argcount : end]
        self._by_position = positional[first:]
        self._by_name = {name: place for place, name in enumerate(self._by_position)}
        self._by_name |= dict.fromkeys(named, sys.maxsize)
        for name in positional[first : code.co_posonlyargcount]:
            del self._by_name[name]
        self._needed = self._by_position[: max(0, code.co_argcount - len(function.__defaults__ or ()) - first)]
        self._needed_names = frozenset(named).difference(function.__kwdefaults__ or ())
        self._more_args = bool(code.co_flags & _TAKES_MORE_ARGS)
        self._more_kwargs = bool(code.co_flags & _TAKES_MORE_KWARGS)

    def takes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the function can be called with these arguments."""
        count = len(args)
        if count > len(self._by_position) and not self._more_args:
            return False
        by_name = self._by_name
        for name in kwargs:
            place = by_name.get(name)
            if place is None:
                if not self._more_kwargs:
                    return False
            elif place < count:
                return False  # it has a value by its position
        for name in self._needed[count:]:
            if name not in kwargs or name not in by_name:
                return False
        return self._needed_names <= kwargs.keys()


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
        function = self.function
        if type(function) is FunctionType and not vars(function):  # nothing marks it as what its code isn't
            return bool(function.__code__.co_flags & _IS_COROUTINE)
        from inspect import iscoroutinefunction  # few functions have attributes

        return iscoroutinefunction(function)

    def shape(self) -> Shape | None:
        """Return the parameters of the task's calls; None: only ``inspect`` can tell them.

        That is so if the object isn't a Python function, or states another signature than its own.
        """
        function = self.function
        if type(function) is not FunctionType or not {"__wrapped__", "__signature__"}.isdisjoint(vars(function)):
            return None
        bound = self.bind is not None
        if bound and not function.__code__.co_argcount and not function.__code__.co_flags & _TAKES_MORE_ARGS:
            return None
        return Shape(function, bound=bound)

    @property
    def signature(self) -> Signature:
        """The signature of the task's calls: that of the function, without the ``self`` of a bound task.

        Raises:
            ImproperlyConfigured: the task is bound, and its function takes no positional argument.
        """
        from inspect import Parameter, Signature  # arguments that fit are found without it: see Shape

        try:
            found = signature_of(self.function)
        except ValueError:  # functions of C need not have a signature
            return Signature([Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)])
        if self.bind is None:
            return found
        match [*found.parameters.values()]:
            case [Parameter(kind=Parameter.POSITIONAL_ONLY | Parameter.POSITIONAL_OR_KEYWORD), *others]:
                return found.replace(parameters=others)
            case [Parameter(kind=Parameter.VAR_POSITIONAL), *_]:
                return found
        raise ImproperlyConfigured(
            f"task {self.name}: with bind=True its function gets self as its first argument, and {self.function!r} has "
            "no parameter for it; add the parameter self, or remove bind=True"
        )
