"""``taskq worker``: the container worker, from the command line."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Any, Final

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.cli.common import app_path, common_options, log_format, open_app, queue_names, say
from taskq_cloud.core.urls import without_secrets
from taskq_cloud.pools.factory import ALIASES, POOLS
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.process import run_worker
from taskq_cloud.worker.supervisor import Beside

_POSITIVE: Final = click.IntRange(min=1)
_SECONDS: Final = click.FloatRange(min=0, min_open=True)


@click.command("worker", short_help="Serve queues until told to stop.")
@click.option(
    "-Q", "--queues", callback=queue_names, metavar="A,B", help="The queues to serve.  [default: the application's]"
)
@click.option("-c", "--concurrency", type=_POSITIVE, help="Tasks that run at a time.  [default: one for each CPU]")
@click.option("-P", "--pool", type=click.Choice((*POOLS, *ALIASES)), help="Where they run.  [default: processes]")
@click.option("--prefetch-multiplier", type=_POSITIVE, help="Messages held for each of them.  [default: 4]")
@click.option("--max-tasks-per-child", type=_POSITIVE, help="Tasks after which a process of the pool is replaced.")
@click.option("--max-memory-per-child", type=_POSITIVE, help="KiB after which a process of the pool is replaced.")
@click.option("--time-limit", type=_SECONDS, help="Seconds after which a task is ended that has no limit of its own.")
@click.option("--soft-time-limit", type=_SECONDS, help="Seconds after which SoftTimeLimitExceeded is raised in it.")
@click.option(
    "-n",
    "--hostname",
    default="taskq@%h",
    show_default=True,
    help="The worker's name; %h: the host, %n: its first part, %d: the rest.",
)
@click.option("--visibility-timeout", type=_SECONDS, help="Seconds a lease runs before it is renewed.  [default: 60]")
@click.option("--shutdown-timeout", type=_SECONDS, help="Seconds from SIGTERM to the end.  [default: 25]")
@click.option("--health-port", type=click.IntRange(0, 65535), help="Serve /healthz on this port.")
@click.option("--beat", is_flag=True, help="Send periodic tasks, too; of several that do, one sends at a time.")
@click.option("--burst", is_flag=True, help="Exit with 0 once the queues are empty.")
@common_options
@click.pass_context
def command(
    context: click.Context,
    /,
    queues: tuple[str, ...],
    hostname: str,
    time_limit: float | None,
    soft_time_limit: float | None,
    beat: bool,
    **options: Any,
) -> None:
    """Serve an application's queues until SIGTERM or SIGINT.

    The first signal stops receiving and lets the running tasks end; a second one gives them back to their queues.
    Every option left out is the setting of that name.
    """
    limits = {"task_time_limit": time_limit, "task_soft_time_limit": soft_time_limit}
    app = open_app(context, loglevel="info", settings=limits)
    path = app_path(context)
    if path is None:
        raise click.UsageError("a worker serves an application: name it with -A shop (or shop.tasks:app)")
    name = worker_name(hostname)
    options["pool"] = ALIASES.get(options["pool"], options["pool"])
    worker_options = WorkerOptions.from_settings(app.conf, queues or app.queues(), **options)
    if log_format(context) == "text":
        say(context, banner(app, path, name, worker_options))
    beside = _ticker(app) if beat else None
    try:
        code = run_worker(app.runtime(hostname=name, app_path=path), worker_options, beside)
    except OSError as error:
        if worker_options.health_port is None or error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise click.ClickException(
            f"/healthz can't be served on port {worker_options.health_port}: {os.strerror(error.errno)}; "
            "choose another --health-port"
        ) from error
    context.exit(code)


def _ticker(app: TaskQ) -> Beside:
    from taskq_cloud.beat.run import make_ticker, tick_until  # most workers have none

    ticker = make_ticker(app, app.schedule_entries())
    return lambda stopping: tick_until(stopping, ticker, app.arun)


def worker_name(given: str) -> str:
    """A worker's name from ``-n``, by Celery's rules."""
    host = socket.gethostname()
    first, _, rest = host.partition(".")
    values = {"%h": host, "%n": first, "%d": rest, "%%": "%"}
    name = given if "@" in given else f"{given}@%h"
    return re.sub("%[hnd%]", lambda directive: values[directive[0]], name)


def banner(app: TaskQ, path: str, name: str, options: WorkerOptions) -> str:
    """What a worker is about to serve, and how."""
    tasks = sorted(app.tasks) or ["none: does the application import the modules that declare them?"]
    rows = {
        "app": path,
        "broker": without_secrets(app.conf.broker),
        "results": without_secrets(app.conf.results_url()),
        "queues": ", ".join(options.queues),
        "pool": f"{options.pool}, {options.concurrency} at a time",
        "tasks": ("\n" + 11 * " ").join(tasks),
    }
    return "\n".join([name, *(f"  {row:<8} {value}" for row, value in rows.items()), ""])
