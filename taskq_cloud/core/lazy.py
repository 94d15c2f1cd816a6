"""A property whose value is made on first use, and made only once however many threads ask for it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self, TypeVar, overload

T = TypeVar("T")


class lazy(cached_property[T]):  # noqa: N801 - a decorator
    """A ``cached_property`` for threads: since Python 3.12 the standard one may give each thread a value of its own.

    If two threads had a memory broker each, the messages in one of them would be lost.
    """

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Self | T:
        if instance is None:
            return self
        assert self.attrname is not None  # set by __set_name__
        value: T = vars(instance).setdefault(self.attrname, self.func(instance))
        return value
