"""A property that is made when it is first asked for, once, whatever the number of threads that ask."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self, TypeVar, overload

T = TypeVar("T")


class lazy(cached_property[T]):  # noqa: N801 - a decorator
    """A ``cached_property`` that threads may ask for at once: since Python 3.12 the standard one may give each its own.

    Two threads with a memory broker each would lose the messages of one.
    """

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Self | T:
        if instance is None:
            return self
        assert self.attrname is not None  # __set_name__ has been told
        value: T = vars(instance).setdefault(self.attrname, self.func(instance))
        return value
