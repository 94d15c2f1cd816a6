"""Warnings of functions and properties that will be removed."""

import functools
import warnings
from collections.abc import Callable as _Callable
from typing import Any

from taskq_cloud.celery.exceptions import CDeprecationWarning, CPendingDeprecationWarning

__all__ = ("Callable", "Property", "warn")

PENDING_DEPRECATION_FMT = """
    {description} is scheduled for deprecation in \
    version {deprecation} and removal in version v{removal}. \
    {alternative}
"""

DEPRECATION_FMT = """
    {description} is deprecated and scheduled for removal in
    version {removal}. {alternative}
"""


def warn(
    description: Any = None, deprecation: Any = None, removal: Any = None, alternative: Any = None, stacklevel: int = 2
) -> None:
    """Warn that something is deprecated, or will be.

    Args:
        description: the name of the thing.
        deprecation: the version that deprecates it; None: it is deprecated already.
        removal: the version that removes it.
        alternative: a sentence on the replacement.
        stacklevel: whose line the warning names.
    """
    pending = deprecation is not None
    text = (PENDING_DEPRECATION_FMT if pending else DEPRECATION_FMT).format(
        description=description, deprecation=deprecation, removal=removal, alternative=alternative
    )
    kind = CPendingDeprecationWarning if pending else CDeprecationWarning
    warnings.warn(kind(text), stacklevel=stacklevel)


def Callable(
    deprecation: Any = None, removal: Any = None, alternative: Any = None, description: Any = None
) -> _Callable[[Any], Any]:
    """Return a decorator for a function whose calls are warned of; the arguments are those of ``warn``."""

    def decorate(fun: _Callable[..., Any]) -> Any:
        @functools.wraps(fun)
        def deprecated(*args: Any, **kwargs: Any) -> Any:
            from .imports import qualname

            warn(description or qualname(fun), deprecation, removal, alternative, stacklevel=3)
            return fun(*args, **kwargs)

        return deprecated

    return decorate


def Property(
    deprecation: Any = None, removal: Any = None, alternative: Any = None, description: Any = None
) -> _Callable[[Any], Any]:
    """Return a decorator for a property whose uses are warned of; the arguments are those of ``warn``."""

    def decorate(fun: _Callable[[Any], Any]) -> Any:
        return _deprecated_property(
            fun,
            deprecation=deprecation,
            removal=removal,
            alternative=alternative,
            description=description or fun.__name__,
        )

    return decorate


class _deprecated_property:
    """A property that warns when it is read, set or deleted."""

    def __init__(self, fget: Any = None, fset: Any = None, fdel: Any = None, doc: Any = None, **depreinfo: Any) -> None:
        self._get = fget
        self._set = fset
        self._del = fdel
        self.__name__, self.__module__, self.__doc__ = fget.__name__, fget.__module__, fget.__doc__
        self.depreinfo = {"stacklevel": 3, **depreinfo}

    def __get__(self, obj: Any, type: Any = None) -> Any:
        if obj is None:
            return self
        warn(**self.depreinfo)
        return self._get(obj)

    def __set__(self, obj: Any, value: Any) -> None:
        if self._set is None:
            raise AttributeError("cannot set attribute")
        warn(**self.depreinfo)
        self._set(obj, value)

    def __delete__(self, obj: Any) -> None:
        if self._del is None:
            raise AttributeError("cannot delete attribute")
        warn(**self.depreinfo)
        self._del(obj)

    def setter(self, fset: Any) -> Any:
        """Return this property with a function that sets it."""
        return type(self)(self._get, fset, self._del, **self.depreinfo)

    def deleter(self, fdel: Any) -> Any:
        """Return this property with a function that deletes it."""
        return type(self)(self._get, self._set, fdel, **self.depreinfo)
