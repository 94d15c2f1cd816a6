"""Finds a process's application from a path such as ``shop.tasks:app``.

The path comes from the command line or the environment; the child processes of a pool are given it by their worker.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Final

from taskq_cloud.app import TaskQ
from taskq_cloud.bootstrap import logs
from taskq_cloud.bootstrap.secrets import load_secrets
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.errors import ImproperlyConfigured

APP_VARIABLE: Final = "TASKQ_APP"
"""The environment variable that names the application if the command line doesn't."""


def find_app(path: str) -> TaskQ:
    """Import an application and the modules that its ``imports`` setting lists.

    Args:
        path: ``package.module:attribute``; or ``package.module``, if the module has an ``app`` or exactly one
            ``TaskQ`` of any name.

    Raises:
        ImproperlyConfigured: there is no such module, or it has no such application.
        TaskQError: a secret of the function can't be read.
    """
    load_secrets()
    module_name, _, attribute = path.partition(":")
    working_folder = str(Path.cwd())
    if working_folder not in sys.path:
        # The path of a console script doesn't contain the folder that it is called in.
        sys.path.insert(0, working_folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the application's module exists, but imports a module that doesn't
        raise ImproperlyConfigured(
            f"no module {module_name!r} (-A {path}) in {working_folder} or in the installed packages: check -A and "
            "--workdir"
        ) from error
    app = getattr(module, attribute, None) if attribute else _only_app(module_name, vars(module))
    if not isinstance(app, TaskQ):
        raise ImproperlyConfigured(f"{path}: {attribute} is {app!r}, not a TaskQ application")
    app.import_modules()
    return app


def _only_app(module: str, names: dict[str, object]) -> TaskQ:
    app = names.get("app")
    if isinstance(app, TaskQ):
        return app
    found = {name: value for name, value in names.items() if isinstance(value, TaskQ)}
    if len({id(value) for value in found.values()}) != 1:
        listed = ", ".join(sorted(found)) or "none"
        raise ImproperlyConfigured(
            f"module {module!r} has neither an `app` nor exactly one TaskQ application (found: {listed}); name the "
            f"application with -A {module}:NAME"
        )
    return next(iter(found.values()))


def load_runner(path: str) -> TaskRunner:
    """Set up logging and return the task runner of the application at ``path``, in the child process of a pool."""
    logs.set_up_from_environment()
    app = find_app(path)
    logs.keep_handlers_from_waiting()
    return app.runner
