"""Values that are computed when somebody asks for them."""

import sys
from collections.abc import Callable
from typing import Any

__all__ = ("is_kombu_lazy", "lazy", "maybe_evaluate", "mlazy")


class lazy:
    """A call that is made again each time its value is asked for.

    Calling the object, comparing it, and turning it into text all evaluate it.
    """

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._fun = fun
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> Any:
        return self.evaluate()

    def evaluate(self) -> Any:
        """Make the call, and return its value."""
        return self._fun(*self._args, **self._kwargs)

    def __str__(self) -> str:
        return str(self())

    def __repr__(self) -> str:
        return repr(self())

    def __eq__(self, other: object) -> bool:
        return bool(self() == other)

    def __ne__(self, other: object) -> bool:
        return bool(self() != other)

    __hash__ = None  # type: ignore[assignment]  # equality follows the value, which may change

    def __deepcopy__(self, memo: dict[int, Any]) -> "lazy":
        memo[id(self)] = self
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._fun,), {"_args": self._args, "_kwargs": self._kwargs}


class mlazy(lazy):
    """A call that is made once, when its value is first asked for."""

    evaluated = False
    _value: Any = None

    def evaluate(self) -> Any:
        """Make the call if it hasn't been made, and return its value."""
        if not self.evaluated:
            self._value = super().evaluate()
            self.evaluated = True
        return self._value


def is_kombu_lazy(value: Any) -> bool:
    """Tell whether kombu is in use, and ``value`` is a lazy value of its."""
    kombu = sys.modules.get("kombu.utils.functional")
    return kombu is not None and isinstance(value, kombu.lazy)


def maybe_evaluate(value: Any) -> Any:
    """Return the value of a lazy value, and every other value as it is."""
    return value.evaluate() if isinstance(value, lazy) or is_kombu_lazy(value) else value
