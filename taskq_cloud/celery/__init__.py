"""Celery's programming interface over taskq_cloud: change ``celery`` to ``taskq_cloud.celery`` in the imports.

Names, defaults and meanings are Celery's 5.7. docs/celery.md lists the differences.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, NamedTuple

from taskq_cloud.celery import local

SERIES: Final = "collider"
"""The name of the series of Celery versions whose interface this is."""
VERSION: Final = "5.7.0"
__version__ = VERSION
VERSION_BANNER: Final = f"{VERSION} ({SERIES})"


class version_info_t(NamedTuple):
    """The parts of ``VERSION``."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


version_info: Final = version_info_t(5, 7, 0, "", "")

_NAMES: Final = {
    "Celery": "app.base",
    "Signature": "canvas",
    "Task": "app.task",
    "bugreport": "app",
    "chain": "canvas",
    "chord": "canvas",
    "chunks": "canvas",
    "current_app": "_state",
    "current_task": "_state",
    "group": "canvas",
    "maybe_signature": "canvas",
    "shared_task": "app",
    "signature": "canvas",
    "subtask": "canvas",
    "uuid": "utils",
    "xmap": "canvas",
    "xstarmap": "canvas",
}
_MODULES: Final = frozenset(
    {
        "_state",
        "app",
        "apps",
        "backends",
        "beat",
        "bin",
        "bootsteps",
        "canvas",
        "contrib",
        "exceptions",
        "fixups",
        "loaders",
        "messaging",
        "result",
        "schedules",
        "signals",
        "states",
        "utils",
        "worker",
    }
)

__all__ = (
    "Celery",
    "Signature",
    "Task",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "local",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
)


def __getattr__(name: str) -> Any:
    module = _NAMES.get(name)
    if module is not None:
        found = getattr(import_module(f"{__name__}.{module}"), name)
        globals()[name] = found
        return found
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})
