"""Caches: a mapping that forgets the least recently used keys, cached calls and cached properties."""

import functools
import threading
from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator, KeysView
from threading import RLock
from typing import Any, Self

__all__ = ("LRUCache", "cached_property", "memoize")

# Between the positional arguments of a memoized call and its keywords, which would look alike otherwise.
_KEYWORDS = object()


class LRUCache(UserDict[Any, Any]):
    """A mapping that drops the least recently used key when it holds more than ``limit``."""

    def __init__(self, limit: int | None = None) -> None:
        # Not UserDict's: the data is an ordered dictionary, and must be there before the first use.
        self.limit = limit
        self.mutex = threading.RLock()
        self.data: OrderedDict[Any, Any] = OrderedDict()

    def __getitem__(self, key: Any) -> Any:
        with self.mutex:
            value = self.data[key]
            self.data.move_to_end(key)
            return value

    def __setitem__(self, key: Any, value: Any) -> None:
        with self.mutex:
            if key not in self.data and self.limit and len(self.data) >= self.limit:
                self.data.popitem(last=False)
            self.data[key] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add many keys, and drop the oldest ones above the limit."""
        with self.mutex:
            self.data.update(*args, **kwargs)
            while self.limit and len(self.data) > self.limit:
                self.data.popitem(last=False)

    def popitem(self, last: bool = True) -> tuple[Any, Any]:
        """Remove the newest key, or the oldest one, and return it with its value."""
        with self.mutex:
            return self.data.popitem(last)

    def incr(self, key: Any, delta: int = 1) -> int:
        """Add to a counter, which is stored as text as memcached does."""
        with self.mutex:
            value = int(self.data.pop(key)) + delta
            self[key] = str(value)
            return value

    def _iterate_items(self) -> Iterator[tuple[Any, Any]]:
        with self.mutex:
            for key in self:
                if key in self.data:
                    yield key, self.data[key]

    def _iterate_values(self) -> Iterator[Any]:
        return (value for _, value in self._iterate_items())

    def _iterate_keys(self) -> KeysView[Any]:
        with self.mutex:
            return self.data.keys()

    items = iteritems = _iterate_items  # type: ignore[assignment]  # iterators, as kombu's: not views
    values = itervalues = _iterate_values  # type: ignore[assignment]
    keys = iterkeys = _iterate_keys

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "mutex"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, mutex=threading.RLock())


def memoize(
    maxsize: int | None = None,
    keyfun: Callable[[tuple[Any, ...], dict[str, Any]], Any] | None = None,
    Cache: Callable[..., Any] = LRUCache,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that keeps the results of a function.

    Args:
        maxsize: the number of results that are kept; None keeps all.
        keyfun: makes the cache's key from ``(args, kwargs)``.
        Cache: the class of the cache, called with ``limit=maxsize``.
    """

    def decorate(fun: Callable[..., Any]) -> Callable[..., Any]:
        lock = threading.Lock()
        cache = Cache(limit=maxsize)

        @functools.wraps(fun)
        def memoized(*args: Any, **kwargs: Any) -> Any:
            key = keyfun(args, kwargs) if keyfun else (*args, _KEYWORDS, *sorted(kwargs.items()))
            try:
                with lock:
                    value = cache[key]
            except KeyError:
                value = fun(*args, **kwargs)
                counted.misses += 1
                with lock:
                    cache[key] = value
            else:
                counted.hits += 1
            return value

        def clear() -> None:
            """Forget all results, and begin to count again."""
            cache.clear()
            counted.hits = counted.misses = 0

        counted: Any = memoized
        counted.hits = counted.misses = 0
        counted.clear = clear
        counted.original_func = fun
        return memoized

    return decorate


class cached_property(functools.cached_property[Any]):
    """A property that is computed once for an object, and can be set and deleted.

    The function of ``@name.setter`` is called with the object and the value, and returns the value that is kept. The
    function of ``@name.deleter`` is called with the object and the value that went.
    """

    def __init__(
        self,
        fget: Callable[[Any], Any] | None = None,
        fset: Callable[[Any, Any], Any] | None = None,
        fdel: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        super().__init__(fget)  # type: ignore[arg-type]  # Celery's default is None
        self._set = fset
        self._del = fdel
        self.lock = RLock()  # Python's own is gone since 3.12

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        with self.lock:
            return super().__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        with self.lock:
            instance.__dict__[self._name] = value if self._set is None else self._set(instance, value)

    def __delete__(self, instance: Any) -> None:
        with self.lock:
            known = self._name in instance.__dict__
            value = instance.__dict__.pop(self._name, None)
            if known and self._del is not None:
                self._del(instance, value)

    @property
    def _name(self) -> str:
        return self.attrname or self.func.__name__

    def setter(self, fset: Callable[[Any, Any], Any]) -> Self:
        """Return this property with a function that changes values as they are set."""
        return type(self)(self.func, fset, self._del)

    def deleter(self, fdel: Callable[[Any, Any], Any]) -> Self:
        """Return this property with a function that is called when its value is deleted."""
        return type(self)(self.func, self._set, fdel)
