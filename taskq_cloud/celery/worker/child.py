"""What a process of the pool does before it runs tasks: it logs as its worker does, and imports what it was told to.

The worker passes this on in an environment variable, because its processes import the application anew.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

VARIABLE: Final = "TASKQ_CELERY_WORKER"
"""The environment variable: a JSON object with the arguments of ``prepare``'s second part."""


def describe(
    *, hostname: str, loglevel: Any, logfile: Any, include: Any, logs: bool | str, redirect_level: Any = None
) -> str:
    """Return the value of the environment variable.

    Args:
        hostname: the worker's name.
        loglevel: the level of its log.
        logfile: the file of its log; None: standard error.
        include: modules to import beside those of the settings.
        logs: whether the worker has set up its log; otherwise the project does. "native": a native command has done so.
        redirect_level: the level at which what tasks print is logged; None: it is printed.
    """
    given = {"hostname": hostname, "loglevel": loglevel, "logfile": logfile, "include": list(include or ())}
    return json.dumps({**given, "logs": logs, "redirect_level": redirect_level})


def prepare(app: Any) -> None:
    """Prepare this process for the tasks of an application, if a worker of this package has started it.

    Args:
        app: the application.
    """
    given = json.loads(os.environ.get(VARIABLE, "null"))
    if given is None:
        return
    app.set_default()
    if given["logs"] == "native":
        from taskq_cloud.celery.apps.native_worker import announce_logging  # other workers don't need it

        announce_logging(app, given["loglevel"])
    elif given["logs"]:
        level = given["redirect_level"]
        app.log.setup(given["loglevel"], given["logfile"], level is not None, level, hostname=given["hostname"])
    for module in given["include"]:
        app.loader.import_task_module(module)
    app.loader.init_worker_process()
