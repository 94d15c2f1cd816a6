"""Pools that other packages bring.

Such a pool is any callable that takes a runner and a concurrency and returns a ``Pool``. It is named by its entry point
in the group ``taskq_cloud.pools``, or by its path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.base import Pool, Runner

GROUP: Final = "taskq_cloud.pools"
"""The group of entry points by which packages name their pools."""

_METHODS: Final = ("start", "reserve", "free", "run", "stop")


def names() -> list[str]:
    """Return the names of the pools that installed packages bring."""
    return sorted({each.name for each in entry_points(group=GROUP)})


def make(name: str, runner: Runner, concurrency: int, options: Mapping[str, Any]) -> Pool:
    """Make the pool of another package, with the options that it takes.

    Args:
        name: the name of an entry point that is installed, or a path.
        runner: runs the task functions.
        concurrency: how many tasks run at a time.
        options: the other options of a pool; a pool has those of them that are among its parameters.

    Raises:
        ImproperlyConfigured: the pool can't be imported or made, or doesn't take an option that is set.
    """
    kind = _find(name)
    parameters = inspect.signature(kind).parameters
    takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    taken = {option: of for option, of in options.items() if takes_all or option in parameters}
    refused = [option for option, of in options.items() if of is not None and option not in taken | {"app_path": None}]
    if refused:
        option = refused[0].removesuffix("_kib")
        raise ImproperlyConfigured(f"pool {name!r} doesn't take {option}: remove the option, or use --pool processes")
    if isinstance(kind, type) and not hasattr(kind, "__getattr__"):  # it must not start anything in vain
        _check(f"pool {name!r} is {kind!r:.100}", kind, _METHODS)
    pool: Pool = kind(runner, concurrency, **taken)
    _check(f"pool {name!r} has made {pool!r:.100}", pool, (*_METHODS, "concurrency"))
    return pool


def _check(text: str, pool: object, names: Iterable[str]) -> None:
    """Check that a pool, or its class, has the attributes of a pool.

    Raises:
        ImproperlyConfigured: some of them are missing.
    """
    missing = [each for each in names if not hasattr(pool, each)]
    if missing:
        raise ImproperlyConfigured(f"{text}, which lacks {', '.join(missing)}")


def _find(name: str) -> Callable[..., Any]:
    """Find the pool of another package.

    Raises:
        ImproperlyConfigured: it can't be imported, or makes no pools.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found = import_module(module)
            for each in attribute.split("."):
                found = getattr(found, each)
        except (ImportError, AttributeError) as error:
            raise ImproperlyConfigured(f"pool {name!r} can't be imported: {error}") from error
        return _callable(name, found)
    (installed, *_) = entry_points(group=GROUP, name=name)
    try:
        return _callable(name, installed.load())
    except (ImportError, AttributeError) as error:
        raise ImproperlyConfigured(f"pool {name!r} ({installed.value}) can't be imported: {error}") from error


def _callable(name: str, found: Any) -> Callable[..., Any]:
    if not callable(found):
        raise ImproperlyConfigured(f"pool {name!r} is {found!r:.100}, and not a class or function that makes a pool")
    made: Callable[..., Any] = found
    return made
