"""Things that are made on first use: here a property's value, and in ``values`` the methods of value types.

A property's value is made only once however many threads ask for it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    # A type checker compares it with the properties of protocols.
    lazy = property
else:

    class lazy(cached_property[T]):
        """A ``cached_property`` for threads: since Python 3.12 the standard one may give each thread its own value.

        If two threads had a memory broker each, the messages in one of them would be lost.
        """

        def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Any:
            if instance is None:
                return self
            return vars(instance).setdefault(self.attrname, self.func(instance))
