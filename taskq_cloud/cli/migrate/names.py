"""Finds out whether ``taskq_cloud.celery`` has a name of Celery's, by looking at the package itself."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

KOMBU_ERRORS: Final = frozenset({"OperationalError", "EncodeError", "DecodeError"})
"""The errors of kombu that a caller of tasks catches; ``taskq_cloud.celery.exceptions`` has them."""

_MISSING: Final = object()


def ours(path: str) -> str:
    """Return the path in this package for one in Celery."""
    return f"taskq_cloud.{path}"


def in_celery(path: str) -> str | None:
    """Return the path in Celery of one in Celery or in this package; None: it is in neither."""
    path = path.removeprefix("taskq_cloud.") if path.startswith("taskq_cloud.celery") else path
    return path if path.partition(".")[0] == "celery" else None


@cache
def has_module(path: str) -> bool:
    """Return whether this package has a module of Celery's, such as ``celery.app.task``."""
    try:
        return find_spec(ours(path)) is not None
    except (ImportError, ValueError):  # a part of the path isn't a package
        return False


@cache
def has_name(module: str, name: str) -> bool:
    """Return whether a module of this package has a name, or a module of this name in it."""
    if name == "*":
        return has_module(module)
    return has_module(module) and (_attribute(module, name) is not _MISSING or has_module(f"{module}.{name}"))


def is_object(path: str) -> bool:
    """Return whether a dotted path, perhaps with a colon, is that of a class or function of this package."""
    module, _, attributes = path.partition(":") if ":" in path else path.rpartition(".")
    if ":" not in path:
        # The longest part that is a module; the rest are attributes, as in celery.app.task.Task.apply_async.
        parts = path.split(".")
        length = next((n for n in range(len(parts), 0, -1) if has_module(".".join(parts[:n]))), 0)
        module, attributes = ".".join(parts[:length]), ".".join(parts[length:])
    if not module or not attributes or not has_module(module):
        return False
    found: Any = _attribute(module, attributes.split(".")[0])
    for name in attributes.split(".")[1:]:
        found = getattr(found, name, _MISSING)
    return found is not _MISSING


@cache
def _attribute(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(ours(module)), name, _MISSING)
    except ImportError:
        return _MISSING
