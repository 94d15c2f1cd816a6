"""Proxies: objects that stand for another object which is looked up, or made, when it is used.

``Proxy`` looks its object up at every use, as ``current_app`` does. ``PromiseProxy`` makes it once, as ``@app.task``
does with a task, so that a module can declare tasks before the application is configured.
"""

from __future__ import annotations

import importlib
import operator
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

__all__ = ("PromiseProxy", "Proxy", "maybe_evaluate", "try_import")


def try_import(module: str, default: Any = None) -> Any:
    """Import a module, or return ``default`` if it isn't installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return default


class Proxy:
    """An object that forwards everything to the object which a function returns.

    Args:
        local: the function that returns the object.
        args: its positional arguments.
        kwargs: its keyword arguments.
        name: the proxy's ``__name__``.
        __doc__: the proxy's docstring.
    """

    def __init__(
        self,
        local: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        __doc__: str | None = None,
    ) -> None:
        set_own = object.__setattr__
        set_own(self, "_Proxy__local", local)
        set_own(self, "_Proxy__args", args or ())
        set_own(self, "_Proxy__kwargs", kwargs or {})
        if name is not None:
            set_own(self, "__custom_name__", name)
        if __doc__ is not None:
            set_own(self, "__doc__", __doc__)

    def _get_current_object(self) -> Any:
        """Return the object that the proxy stands for."""
        find = object.__getattribute__
        local = find(self, "_Proxy__local")
        if hasattr(local, "__release_local__"):  # an object of Werkzeug, which has one value for each context
            return getattr(local, self.__name__)
        return local(*find(self, "_Proxy__args"), **find(self, "_Proxy__kwargs"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    @property
    def __name__(self) -> str:
        """The name that the proxy was given, or that of the object."""
        try:
            name: str = object.__getattribute__(self, "__custom_name__")
        except AttributeError:
            name = self._get_current_object().__name__
        return name

    @property
    def __module__(self) -> str:  # type: ignore[override]
        """The module of the object."""
        module: str = self._get_current_object().__module__
        return module

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class of the object."""
        return self._get_current_object().__class__

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        """The attributes of the object."""
        try:
            return self._get_current_object().__dict__
        except RuntimeError as error:
            raise AttributeError("__dict__") from error

    def __dir__(self) -> list[str]:
        try:
            return dir(self._get_current_object())
        except RuntimeError:
            return []

    def __repr__(self) -> str:
        try:
            there = self._get_current_object()
        except RuntimeError:
            return f"<{type(self).__name__} unbound>"
        return repr(there)

    def __bool__(self) -> bool:
        try:
            return bool(self._get_current_object())
        except RuntimeError:
            return False

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object."""
        return self._get_current_object()(*args, **kwargs)

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __enter__(self) -> Any:
        return self._get_current_object().__enter__()

    def __exit__(self, *args: object) -> Any:
        return self._get_current_object().__exit__(*args)


def _forwarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Proxy, *args: Any) -> Any:
        return function(self._get_current_object(), *args)

    method.__name__ = name
    return method


def _reflected(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Proxy, other: Any) -> Any:
        return function(other, self._get_current_object())

    method.__name__ = name
    return method


_ARITHMETIC: Final = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor")
_COMPARISONS: Final = ("lt", "le", "eq", "ne", "gt", "ge")
_UNARY: Final[dict[str, Callable[..., Any]]] = {
    "neg": operator.neg,
    "pos": operator.pos,
    "abs": abs,
    "invert": operator.invert,
    "complex": complex,
    "int": int,
    "float": float,
    "index": operator.index,
    "round": round,
    "str": str,
    "len": len,
    "iter": iter,
    "next": next,
    "divmod": divmod,
    "contains": operator.contains,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "length_hint": operator.length_hint,
}
for _each in (*_ARITHMETIC, *_COMPARISONS, "matmul", *(f"i{_name}" for _name in _ARITHMETIC)):
    setattr(Proxy, f"__{_each}__", _forwarded(f"__{_each}__", getattr(operator, f"__{_each}__")))
for _each in _ARITHMETIC:
    setattr(Proxy, f"__r{_each}__", _reflected(f"__r{_each}__", getattr(operator, f"__{_each}__")))
for _each, _function in _UNARY.items():
    setattr(Proxy, f"__{_each}__", _forwarded(f"__{_each}__", _function))


class PromiseProxy(Proxy):
    """A proxy whose object is made when it is first used, and kept.

    ``__then__(callback, ...)`` calls a function with the object as soon as there is one. Threads that use the proxy for
    the first time at the same moment get one object: see ``guard``.
    """

    def _get_current_object(self) -> Any:
        try:
            return object.__getattribute__(self, "__thing")
        except AttributeError:
            return self.__evaluate__()

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function, whose arguments follow, once the object is made: at once if it is there already."""
        with _lock_of(self):
            if not self.__evaluated__():
                try:
                    pending = object.__getattribute__(self, "__pending__")
                except AttributeError:
                    pending = deque()
                    object.__setattr__(self, "__pending__", pending)
                pending.append((fun, args, kwargs))
                return None
        return fun(*args, **kwargs)

    def __evaluated__(self) -> bool:
        """Whether the object is made."""
        try:
            object.__getattribute__(self, "__thing")
        except AttributeError:
            return False
        return True

    def __maybe_evaluate__(self) -> Any:
        """Return the object, which is made if it isn't yet."""
        return self._get_current_object()

    def __evaluate__(self, _clean: tuple[str, ...] = ("_Proxy__local", "_Proxy__args", "_Proxy__kwargs")) -> Any:
        """Make the object, unless another thread has just made it, and call the functions that wait for it."""
        with _lock_of(self):
            if self.__evaluated__():
                return object.__getattribute__(self, "__thing")
            thing = Proxy._get_current_object(self)
            object.__setattr__(self, "__thing", thing)
            for name in _clean:
                with suppress(AttributeError):  # making the object may have used the proxy
                    object.__delattr__(self, name)
            try:
                pending = object.__getattribute__(self, "__pending__")
            except AttributeError:
                return thing
            while pending:
                function, args, kwargs = pending.popleft()
                if isinstance(function, Proxy):
                    function = function._get_current_object()
                function(*args, **kwargs)
            with suppress(AttributeError):
                object.__delattr__(self, "__pending__")
            return thing


def guard(promise: PromiseProxy, lock: Any) -> None:
    """Have the object of a promise made under a lock that its maker may take itself, so that there is one lock only."""
    object.__setattr__(promise, "__lock", lock)


def _lock_of(promise: PromiseProxy) -> Any:
    try:
        return object.__getattribute__(promise, "__lock")
    except AttributeError:
        return _LOCK


_LOCK: Final = threading.RLock()
"""The lock of promises that have none of their own."""


def maybe_evaluate(obj: Any) -> Any:
    """Return the object that a promise stands for, or any other object as it is."""
    try:
        evaluate = obj.__maybe_evaluate__
    except AttributeError:
        return obj
    return evaluate()
