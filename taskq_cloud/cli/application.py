"""Open the application that a command works with: change to its folder, start logging, and import it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.bootstrap import logs
from taskq_cloud.bootstrap.loading import APP_VARIABLE, find_app
from taskq_cloud.bootstrap.variables import environment
from taskq_cloud.cli.options import app_path, given, log_format, log_level
from taskq_cloud.core.model.environments import COMMAND_LINE
from taskq_cloud.core.urls import without_secrets
from taskq_cloud.errors import ImproperlyConfigured, TaskQError

logger = logging.getLogger(__name__)


def open_app(context: click.Context, *, loglevel: str = "warning", settings: Mapping[str, Any] | None = None) -> TaskQ:
    """Change to the working folder, start logging, and import the application.

    If no application is named but ``--broker`` or ``--results`` is given, return an application without tasks, whose
    other settings come from the environment.

    Args:
        context: the command's context.
        loglevel: the log level to use if the user names none.
        settings: settings from the command's own options; None stands for an option that was not given.

    Raises:
        UsageError: neither an application nor a broker nor a result store is named.
        ClickException: the application's modules raise an exception while they are imported.
        TaskQError: there is no such application.
    """
    # The resources belong to the outermost command, because it logs an error after the inner command has ended.
    root = context.find_root()
    if workdir := given(context, "workdir"):
        os.chdir(workdir)
    overrides = {"broker": given(context, "broker"), "results": given(context, "results"), **(settings or {})}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    level, output_format = log_level(context, loglevel), log_format(context)
    # The child processes of a pool import the application again, and log too. They inherit these variables.
    variables = {logs.LEVEL_VARIABLE: level, logs.FORMAT_VARIABLE: output_format, COMMAND_LINE: json.dumps(overrides)}
    root.with_resource(environment(variables))
    root.with_resource(logs.logging_to_stderr(level, output_format))
    path = app_path(context)
    if path is not None:
        app = _import_app(path)
    elif given(context, "broker") or given(context, "results"):
        app = TaskQ()
    else:
        raise click.UsageError(
            f"no application is named: add -A shop (or -A shop.tasks:app), or set {APP_VARIABLE} in the environment"
        )
    root.call_on_close(app.close)
    return app


def check_reachable(app: TaskQ, command: str) -> None:
    """Check that a long-running process shares its broker and its stores with other processes.

    Args:
        app: the application.
        command: what runs, for errors: ``"this worker"``.

    Raises:
        ImproperlyConfigured: the broker keeps messages in one process, or an SQLite file is in no existing directory.
            Directories below the working directory, as that of the default file, are created at the first call.
    """
    if not app.broker.capabilities.shared_between_processes:
        raise ImproperlyConfigured(
            f"the broker {without_secrets(app.conf.broker)} keeps its messages in the process that sends them, so no "
            f"message can pass between {command} and other processes: name another broker, such as the default "
            "sqlite:///.taskq/broker.db"
        )
    for service in app.services().values():
        path = dict(service.options).get("path") if service.module == "sqlite" else None
        if path is None:
            continue
        directory = Path(path).parent
        if not directory.exists() and not directory.is_relative_to(Path.cwd()):
            raise ImproperlyConfigured(
                f"the directory {directory} of the SQLite file {path} doesn't exist: create it, or name another path"
            )


def _import_app(path: str) -> TaskQ:
    try:
        app = find_app(path)
    except TaskQError:
        raise
    except Exception as error:
        # The application's own modules can raise anything while they are imported.
        logger.debug("importing %s failed", path, exc_info=error, extra={"action": "app.failed"})
        last = extract_tb(error.__traceback__)[-1]
        raise click.ClickException(
            f"{path} can't be imported: {type(error).__name__}: {error} "
            f"({Path(last.filename).name}, line {last.lineno}); -l debug shows the traceback"
        ) from error
    logs.keep_handlers_from_waiting()
    return app
