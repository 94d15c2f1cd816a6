"""Test that arguments fit a function's shape where ``inspect`` binds them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition, is_generator

PARAMETERS = [
    "",
    "a",
    "a, b",
    "a, b=1",
    "a=1, b=2",
    "a, /",
    "a, /, b",
    "a, b=1, /, c=2",
    "*args",
    "a, *args",
    "a, b=1, *args",
    "*, a",
    "*, a=1, b",
    "a, *, b",
    "a, *args, b, c=1",
    "**kwargs",
    "a, **kwargs",
    "a, /, **kwargs",
    "a, /, b=1, *, c, **kwargs",
    "*args, **kwargs",
    "a, b=1, *args, c=2, **kwargs",
]
NAMES = ("a", "b", "c", "d", "args", "kwargs")


def function_with(parameters: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(f"def f({parameters}): local = 1", namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("parameters", PARAMETERS)
def test_arguments_fit_where_inspect_binds_them(parameters: str, *, bound: bool) -> None:
    taken = f"self, {parameters}" if bound else parameters
    definition = TaskDefinition("t", function_with(taken), TaskOptions(), (lambda run: run) if bound else None)
    shape, signature = definition.shape(), definition.signature
    assert shape is not None
    for count, size in itertools.product(range(5), range(4)):
        for names in itertools.combinations(NAMES, size):
            args, kwargs = (0,) * count, dict.fromkeys(names, 0)
            try:
                signature.bind(*args, **kwargs)
                fits = True
            except TypeError:
                fits = False
            assert shape.takes(args, kwargs) == fits, (args, kwargs)


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class CallableObject:
    __name__ = "callable_object"

    def __call__(self, a: int) -> int:
        return a


@pytest.mark.parametrize(
    "function", [wrapped(lambda a: a), CallableObject(), functools.partial(lambda a, b: a, 1), len]
)
def test_function_with_another_signature_has_no_shape(function: Callable[..., Any]) -> None:
    assert TaskDefinition("t", function, TaskOptions()).shape() is None


def test_arguments_of_a_wrapper_are_checked_by_the_wrapped_function() -> None:
    task = TaskQ("shop", broker="memory://").task(name="t")(wrapped(lambda a: a))
    task.check_arguments((1,), {})
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        task.check_arguments((), {})


@pytest.mark.parametrize(("args", "kwargs"), [((1 for _ in "a"), {}), ("a", {}), ([1], [("b", 1)])])
def test_arguments_of_a_wrong_kind_are_refused_as_before(args: Any, kwargs: Any) -> None:
    task = TaskQ("shop", broker="memory://").task(name="t")(lambda a: a)
    with pytest.raises(TypeError, match=r"task t: args must be|argument after \*\* must be a mapping"):
        task.apply_async(args, kwargs)


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (generator, True),
        (async_generator, True),
        (functools.partial(generator), True),
        (function_with("a"), False),
        (CallableObject(), False),
        (len, False),
    ],
)
def test_generator_functions_are_known(function: Callable[..., Any], *, expected: bool) -> None:
    assert is_generator(function) == expected
