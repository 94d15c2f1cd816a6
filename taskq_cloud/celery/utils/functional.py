"""Small functions on functions, iterators and sequences, with Celery's names."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, tee, zip_longest
from typing import Any, Self

from ._caching import LRUCache, memoize
from ._heads import arity_greater, fun_accepts_kwargs, fun_takes_argument, head_from_fun
from ._lazy import lazy, maybe_evaluate, mlazy
from ._regen import regen
from ._retrying import retry_over_time

__all__ = (
    "DummyContext",
    "LRUCache",
    "arity_greater",
    "chunks",
    "dictfilter",
    "evaluate_promises",
    "first",
    "firstmethod",
    "fun_accepts_kwargs",
    "fun_takes_argument",
    "head_from_fun",
    "is_list",
    "is_numeric_value",
    "lazy",
    "lookahead",
    "mattrgetter",
    "maybe",
    "maybe_evaluate",
    "maybe_list",
    "memoize",
    "mlazy",
    "noop",
    "padlist",
    "pass1",
    "regen",
    "retry_over_time",
    "seq_concat_item",
    "seq_concat_seq",
    "uniq",
)


class DummyContext:
    """A context manager that does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def noop(*args: Any, **kwargs: Any) -> None:
    """Take any arguments, and do nothing."""


def pass1(arg: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the first argument."""
    return arg


def is_list(obj: Any, scalars: Any = (Mapping, str), iters: Any = (Iterable,)) -> bool:
    """Tell whether ``obj`` is iterable and neither a mapping nor text."""
    return isinstance(obj, iters) and not isinstance(obj, scalars or ())


def maybe_list(obj: Any, scalars: Any = (Mapping, str)) -> Any:
    """Return a list of ``obj`` alone, unless it is None or a list already."""
    return obj if obj is None or is_list(obj, scalars) else [obj]


def dictfilter(d: Mapping[Any, Any] | None = None, **kw: Any) -> dict[Any, Any]:
    """Return a dictionary without the keys whose value is None."""
    return {key: value for key, value in dict(d or {}, **kw).items() if value is not None}


def evaluate_promises(it: Iterable[Any]) -> Iterator[Any]:
    """Yield each value, and the value of each of vine's promises."""
    vine = sys.modules.get("vine.promises")
    for value in it:
        yield value() if vine is not None and isinstance(value, vine.promise) else value


def first(predicate: Callable[[Any], Any] | None, it: Iterable[Any]) -> Any:
    """Return the first value that ``predicate`` accepts, or that isn't None if there is no predicate."""
    accepts = predicate if predicate is not None else (lambda value: value is not None)
    return next((value for value in evaluate_promises(it) if accepts(value)), None)


def firstmethod(method: str, on_call: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Return a function that asks each object of a list for a method's value, and returns the first that isn't None.

    Args:
        method: the method's name; objects without it are left out, and lazy objects evaluated.
        on_call: called with the method and its arguments in place of the method.
    """

    def ask(it: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for each in it:
            try:
                found = getattr(maybe_evaluate(each), method)
            except AttributeError:
                continue
            answer = on_call(found, *args, **kwargs) if on_call else found(*args, **kwargs)
            if answer is not None:
                return answer
        return None

    return ask


def chunks(it: Iterator[Any], n: int) -> Iterator[list[Any]]:
    """Yield the items of an iterator (not of a list: each chunk goes on where the last one ended) in lists of ``n``."""
    for item in it:
        yield [item, *islice(it, n - 1)]


def padlist(container: Any, size: int, default: Any = None) -> list[Any]:
    """Return a list of exactly ``size`` items, with ``default`` for the missing ones."""
    return [*list(container)[:size], *[default] * (size - len(container))]


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """Return a function that gives these attributes of an object, None for each that it lacks."""
    return lambda obj: {attr: getattr(obj, attr, None) for attr in attrs}


def uniq(it: Iterable[Any]) -> Iterator[Any]:
    """Yield each item once, in the order of its first occurrence."""
    seen = set()
    for item in it:
        if item not in seen:
            seen.add(item)
            yield item


def lookahead(it: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each item with the item after it, which is None for the last one."""
    current, following = tee(it)
    next(following, None)
    return zip_longest(current, following)


def maybe(typ: Callable[[Any], Any], val: Any) -> Any:
    """Return ``typ(val)``, or None if ``val`` is None."""
    return typ(val) if val is not None else val


def seq_concat_item(seq: Any, item: Any) -> Any:
    """Return a copy of a list or a tuple with one item more."""
    added: Any = (item,) if isinstance(seq, tuple) else [item]
    return seq + added


def seq_concat_seq(a: Any, b: Any) -> Any:
    """Return ``a + b`` as the type of the longer one, or of ``a`` if they are equally long."""
    kind = type(max([a, b], key=len))
    left, right = (each if isinstance(each, kind) else kind(each) for each in (a, b))
    return left + right


def is_numeric_value(value: Any) -> bool:
    """Tell whether ``value`` is a number, which True and False aren't."""
    return isinstance(value, int | float) and not isinstance(value, bool)
