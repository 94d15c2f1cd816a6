"""Finds an application by the path that the command line, or a pool's child process, is given."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

from taskq_cloud.app import TaskQ
from taskq_cloud.bootstrap import logs
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.errors import ImproperlyConfigured

APP_VARIABLE: Final = "TASKQ_APP"
"""The environment variable that names the application where nothing else does."""


def find_app(path: str) -> TaskQ:
    """Import an application, and the modules of its ``imports`` setting.

    Args:
        path: ``package.module:attribute``, or ``package.module`` where the module has an ``app``, or one ``TaskQ``.

    Raises:
        ImproperlyConfigured: says what was looked for, and what was found.
    """
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a console script's path lacks the folder it is called in
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not
        raise ImproperlyConfigured(
            f"no module {module_name!r} (-A {path}) in {os.getcwd()} or the installed packages"  # noqa: PTH109
        ) from error
    app = getattr(module, attribute, None) if attribute else _only_app(module_name, vars(module))
    if not isinstance(app, TaskQ):
        raise ImproperlyConfigured(f"{path}: {attribute or 'app'} is {app!r}, no TaskQ application")
    app.import_modules()
    return app


def _only_app(module: str, names: dict[str, object]) -> TaskQ:
    if isinstance(names.get("app"), TaskQ):
        return names["app"]  # type: ignore[return-value]  # as just checked
    found = {name: value for name, value in names.items() if isinstance(value, TaskQ)}
    if len({id(app) for app in found.values()}) != 1:
        listed = ", ".join(sorted(found)) or "none"
        raise ImproperlyConfigured(f"module {module!r} has no `app`, and its TaskQ applications are: {listed}")
    return next(iter(found.values()))


def load_runner(path: str) -> TaskRunner:
    """What a child of a process pool runs: the task functions of the application at ``path``."""
    logs.set_up_from_environment()
    return find_app(path).runner
