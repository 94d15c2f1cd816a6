"""Prepares a Lambda function while it initialises, and restores it from a snapshot (SnapStart).

Lambda initialises a function with a full CPU; its invocations get a share by the function's memory, 29 % at 512 MB
("lambda-runtime-environment"). Opening a client takes most of a first invocation, as it reads the service's
description. So the clients are opened at once, and one read of the result store makes the first connection.

A snapshot is taken after that and restored many times, perhaps days later. Sockets and credentials would be dead by
then, and all environments would wait equally long before a repeated call. Before the snapshot the clients are closed;
after a restore they are opened anew, which reads the credentials again, and random state is renewed. The descriptions
of the services and all imported modules stay in the snapshot.
"""

from __future__ import annotations

import logging
import os
import random
from importlib import import_module
from typing import Final

from taskq_cloud.core.backoff import RNG
from taskq_cloud.core.flows import run
from taskq_cloud.errors import ImproperlyConfigured, TaskQError
from taskq_cloud.runtime.runtime import Runtime

logger = logging.getLogger("taskq_cloud.serverless")

_NO_TASK: Final = "taskq-start"
"""The id of a task that doesn't exist."""

_FIRST_USED: Final = ("taskq_cloud.core.messages.routing", "taskq_cloud.core.workflows.group_pages")
"""Modules that the first message would import."""

_LANES: Final = "taskq_cloud.serverless.lanes"
"""The module that runs tasks side by side."""


def prepare(runtime: Runtime) -> None:
    """Prepare a function that is being initialised.

    Args:
        runtime: the application's runtime.

    Raises:
        ImproperlyConfigured: a client can't be opened with the application's settings.
    """
    open_clients(runtime)
    for module in (*_FIRST_USED, *([_LANES] if runtime.settings.lambda_concurrency > 1 else [])):
        import_module(module)
    if runtime.store.capabilities.remembers:
        try:
            run(runtime.store.load([_NO_TASK]), runtime.connections.perform)  # a failed call is not repeated
        except Exception as error:  # the first message will meet the error, and be given back
            logger.debug("the result store could not be read at the start: %s", error)
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        # A part of Lambda's runtimes with SnapStart (SnapStart, "Runtime hooks").
        snapshots = import_module("snapshot_restore_py")
        snapshots.register_before_snapshot(runtime.connections.close)
        snapshots.register_after_restore(restore, runtime)


def restore(runtime: Runtime) -> None:
    """Make a restored snapshot an environment of its own: with new credentials, sockets and random state."""
    RNG.seed()
    random.seed()  # tasks may use it
    open_clients(runtime)
    tell_hooks(runtime, "function_restored")


def tell_hooks(runtime: Runtime, method: str) -> None:
    """Call a method of the application's hooks about this function or endpoint."""
    if runtime.runner.hooks:
        from taskq_cloud.core.model.hook_calls import notify  # few applications have hooks

        notify(runtime.runner.hooks, method, complete=runtime.runner.complete)


def open_clients(runtime: Runtime) -> None:
    """Open the clients that the application needs.

    Raises:
        ImproperlyConfigured: a package or a setting is missing, or a URL is wrong. Other errors may pass, and are left
            to the first call.
    """
    try:
        runtime.connections.open()
    except ImproperlyConfigured:
        raise
    except TaskQError as error:
        logger.debug("a client could not be opened at the start: %s", error)
