"""Modules and objects by their names, and names for tasks."""

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

__all__ = (
    "NotAPackage",
    "cwd_in_path",
    "find_module",
    "gen_task_name",
    "import_from_cwd",
    "instantiate",
    "module_file",
    "qualname",
    "reload_from_cwd",
    "symbol_by_name",
)

#: The file that a process of a pool runs as ``__main__``: its tasks have the names of the application's main module.
MP_MAIN_FILE = os.environ.get("MP_MAIN_FILE")


class NotAPackage(Exception):
    """A module is imported from a module that isn't a package."""


def symbol_by_name(
    name: Any,
    aliases: dict[str, Any] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any:
    """Return the object that ``module.name`` or ``module:name`` stands for, and an object that isn't text as it is.

    Args:
        name: the path, or one of the aliases.
        aliases: short names with their paths.
        imp: imports a module; by default ``importlib.import_module``.
        package: where a relative path begins.
        sep: stands between module and object, if the name has no colon.
        default: returned instead of raising an error if the object isn't there.
        kwargs: more arguments for ``imp``.
    """
    if not isinstance(name, str):
        return name
    name = (aliases or {}).get(name) or name
    module_name, _, attribute = name.rpartition(":" if ":" in name else sep)
    if not module_name:
        module_name, attribute = package or attribute, ""
    try:
        try:
            module = (imp or importlib.import_module)(module_name, package=package, **kwargs)
        except ValueError as error:
            raise ValueError(f"Couldn't import {name!r}: {error}").with_traceback(error.__traceback__) from error
        return getattr(module, attribute) if attribute else module
    except (ImportError, AttributeError):
        if default is None:
            raise
    return default


def qualname(obj: Any) -> str:
    """Return the full name of a class or a function, or of an object's class."""
    named = obj if hasattr(obj, "__name__") or not hasattr(obj, "__class__") else obj.__class__
    name: str = getattr(named, "__qualname__", None)  # type: ignore[assignment]  # None raises, as in Celery
    return name if "." in name else f"{named.__module__}.{name}"


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the class with this name."""
    return symbol_by_name(name)(*args, **kwargs)


@contextmanager
def cwd_in_path() -> Iterator[str | None]:
    """Look for modules in the current directory first; it may be one that was deleted."""
    try:
        directory = str(Path.cwd())
    except FileNotFoundError:
        directory = ""
    if not directory or directory in sys.path:
        yield None
        return
    sys.path.insert(0, directory)
    try:
        yield directory
    finally:
        if directory in sys.path:
            sys.path.remove(directory)


def find_module(module: str, path: Any = None, imp: Callable[..., Any] | None = None) -> Any:
    """Import a module, from the current directory first.

    Raises:
        NotAPackage: if a part of the name before the last one isn't a package.
        ImportError: if there is no such module.
    """
    load = imp or importlib.import_module
    with cwd_in_path():
        try:
            return load(module)
        except ImportError:
            for package in _parents(module):
                try:
                    loaded = load(package)
                except ImportError:
                    break
                if not hasattr(loaded, "__path__"):
                    raise NotAPackage(package) from None
            raise


def _parents(module: str) -> Iterator[str]:
    """Yield ``a``, then ``a.b`` for ``a.b.c``."""
    parts = module.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def import_from_cwd(module: str, imp: Callable[..., Any] | None = None, package: str | None = None) -> Any:
    """Import a module, from the current directory first."""
    with cwd_in_path():
        return (imp or importlib.import_module)(module, package=package)


def reload_from_cwd(module: Any, reloader: Callable[..., Any] | None = None) -> Any:
    """Load a module again, from the current directory first."""
    with cwd_in_path():
        return (reloader or importlib.reload)(module)


def module_file(module: Any) -> str:
    """Return the source file of a module."""
    name: str = module.__file__
    return name[:-1] if name.endswith(".pyc") else name


def gen_task_name(app: Any, name: str, module_name: str | None) -> str:
    """Return the name of a task by its function's name and module; ``__main__`` gives way to the application's name."""
    module_name = module_name or "__main__"
    module: Any = sys.modules.get(module_name)
    if module is not None:
        module_name = module.__name__
        if MP_MAIN_FILE and module.__file__ == MP_MAIN_FILE:
            module_name = "__main__"
    if module_name == "__main__" and app.main:
        module_name = app.main
        return f"{module_name}.{name}"
    return ".".join(part for part in (module_name, name) if part)


@cache
def load_extension_class_names(namespace: str) -> tuple[tuple[str, str], ...]:
    """Return the name and the path of each entry point of a group."""
    return tuple((each.name, each.value) for each in entry_points(group=namespace))


def load_extension_classes(namespace: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the object of each entry point of a group; one that can't be imported is warned of."""
    for name, path in load_extension_class_names(namespace):
        try:
            found = symbol_by_name(path)
        except (ImportError, SyntaxError) as error:
            warnings.warn(f"Cannot load {namespace} extension {path!r}: {error!r}", stacklevel=2)
        else:
            yield name, found
