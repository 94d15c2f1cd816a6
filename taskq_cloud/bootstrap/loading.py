"""Finds a process's application from a path such as ``shop.tasks:app``.

The path comes from the command line or the environment; the child processes of a pool are given it by their worker.

An object whose class has an attribute ``native`` stands for the application that this attribute holds. The applications
of ``taskq_cloud.celery`` are such objects, and are found by Celery's rules as well: ``shop`` finds the application of
``shop/celery.py``, and ``shop.app`` the attribute ``app`` of ``shop``.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
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
            ``TaskQ`` of any name. An application of ``taskq_cloud.celery`` is found in the ways of Celery, too.

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
        app = _attribute_of_parent(module_name, error.name) if not attribute else None
        if app is None:
            raise ImproperlyConfigured(
                f"no module {module_name!r} (-A {path}) in {working_folder} or in the installed packages: check -A and "
                "--workdir"
            ) from error
    else:
        found = getattr(module, attribute, None) if attribute else _only_app(module)
        app = _native(found)
        if app is None:
            raise ImproperlyConfigured(f"{path}: {attribute} is {found!r}, not a TaskQ application")
    app.import_modules()
    return app


def _native(value: object) -> TaskQ | None:
    """Return the application that a value is, or stands for; None if it is neither."""
    if isinstance(value, TaskQ):
        return value
    # The class is asked, because a proxy or a module may answer to any name.
    native = getattr(value, "native", None) if hasattr(type(value), "native") else None
    return native if isinstance(native, TaskQ) else None


def _attribute_of_parent(path: str, missing: str) -> TaskQ | None:
    """Return the application that is an attribute of a module, for a path such as ``shop.app``."""
    parent, _, name = path.rpartition(".")
    if not parent or missing != path:
        return None
    return _native(vars(sys.modules[parent]).get(name)) if parent in sys.modules else None


def _only_app(module: ModuleType) -> object:
    """Return the application of a module.

    It is the attribute ``app`` or ``celery``, the application of the package's module ``celery``, the only one of any
    name, or the first one if all stand for their applications, as in Celery.
    """
    names = vars(module)
    for name in ("app", "celery"):
        if _native(names.get(name)) is not None:
            return names[name]
    found = {name: value for name, value in names.items() if _native(value) is not None}
    has_native = any(isinstance(value, TaskQ) for value in found.values())
    if not has_native and hasattr(module, "__path__") and find_spec(f"{module.__name__}.celery") is not None:
        return _only_app(importlib.import_module(f"{module.__name__}.celery"))
    unambiguous = len({id(value) for value in found.values()}) == 1
    if not unambiguous and (has_native or not found):
        listed = ", ".join(sorted(found)) or "none"
        raise ImproperlyConfigured(
            f"module {module.__name__!r} has neither an `app` nor exactly one TaskQ application (found: {listed}); "
            f"name the application with -A {module.__name__}:NAME"
        )
    return next(iter(found.values()))


def load_runner(path: str) -> TaskRunner:
    """Set up logging and return the task runner of the application at ``path``, in the child process of a pool."""
    logs.set_up_from_environment()
    app = find_app(path)
    # An application that stands for another one may have to prepare a process of the pool.
    prepare_process = getattr(app, "prepare_process", None)
    if prepare_process is not None:
        prepare_process()
    logs.keep_handlers_from_waiting()
    return app.runner
