"""Objects with attributes of any name, and classes that define an attribute."""

import types
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ("Bunch", "FallbackContext", "getitem_property", "mro_lookup")


class Bunch:
    """An object with the attributes that it is given."""

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)


def mro_lookup(cls: Any, attr: str, stop: Any = None, monkey_patched: Iterable[str] | None = None) -> Any:
    """Return the first class, in the order of inheritance, that defines an attribute, or None.

    Args:
        cls: where to begin.
        attr: the attribute's name.
        stop: classes at which the search ends.
        monkey_patched: modules whose definitions in the classes of ``stop`` don't count; those of others do.
    """
    for node in cls.mro():
        if stop and node in stop:
            # A definition that doesn't say where it is from doesn't count.
            origin = getattr(node.__dict__.get(attr), "__module__", None) if attr in node.__dict__ else None
            return node if origin is not None and origin not in (monkey_patched or ()) else None
        if attr in node.__dict__:
            return node
    return None


class FallbackContext:
    """A context manager that gives an object if there is one, or else what another context manager gives.

    The object is left open, and only the other context manager is closed, by its own rules.
    """

    def __init__(self, provided: Any, fallback: Callable[..., Any], *fb_args: Any, **fb_kwargs: Any) -> None:
        self.provided = provided
        self.fallback = fallback
        self.fb_args = fb_args
        self.fb_kwargs = fb_kwargs
        self._context: Any = None

    def __enter__(self) -> Any:
        if self.provided is not None:
            return self.provided
        context = self.fallback(*self.fb_args, **self.fb_kwargs)
        value = context.__enter__()
        self._context = context
        return value

    def __exit__(self, *exc_info: object) -> Any:
        return None if self._context is None else self._context.__exit__(*exc_info)

    __class_getitem__: Any = classmethod(types.GenericAlias)


class getitem_property:
    """An attribute that reads and writes a key of the object, which may be in a mapping inside of it: "deep.thing"."""

    def __init__(self, keypath: str, doc: str | None = None) -> None:
        path, _, self.key = keypath.rpartition(".")
        self.path = path.split(".") if path else None
        self.__doc__ = doc

    def _path(self, obj: Any) -> Any:
        for key in self.path or ():
            obj = obj[key]
        return obj

    def __get__(self, obj: Any, type: Any = None) -> Any:
        return type if obj is None else self._path(obj).get(self.key)

    def __set__(self, obj: Any, value: Any) -> None:
        self._path(obj)[self.key] = value
