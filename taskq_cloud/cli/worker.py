"""``taskq worker``: run a container worker."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import click

from taskq_cloud.app import TaskQ
from taskq_cloud.bootstrap import logs
from taskq_cloud.cli.application import check_reachable, open_app
from taskq_cloud.cli.options import Seconds, app_path, common_options, log_format, log_level, queues_option
from taskq_cloud.cli.output import echo, say
from taskq_cloud.core.urls import without_secrets
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.cpus import AUTO, container_cpus
from taskq_cloud.pools.factory import ALIASES, POOLS, check_name
from taskq_cloud.runtime import signals
from taskq_cloud.worker.autoscale import AutoscaleLimits
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.process import run_worker
from taskq_cloud.worker.supervisor import SideService


class Concurrency(click.ParamType[int]):
    """A number of tasks, or ``auto``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        if value == AUTO:
            return container_cpus()
        return _POSITIVE.convert(value, param, ctx)


class Autoscale(click.ParamType[AutoscaleLimits]):
    """The limits of autoscaling."""

    name = "limits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AutoscaleLimits:
        """Return the limits."""
        if isinstance(value, AutoscaleLimits):
            return value
        try:
            return AutoscaleLimits.parse(value)
        except ImproperlyConfigured as error:
            self.fail(str(error), param, ctx)


_POSITIVE: Final = click.IntRange(min=1)
_SECONDS: Final = Seconds(min=0, min_open=True)


def _known_pool(name: str) -> str:
    try:
        check_name(name)
    except ImproperlyConfigured as error:
        raise click.BadParameter(str(error)) from None
    return ALIASES.get(name, name)


@click.command("worker", short_help="Run a worker that serves the application's queues.")
@queues_option("The queues to serve")
@click.option(
    "-c",
    "--concurrency",
    type=Concurrency(),
    metavar="N|auto",
    help="The number of tasks that run at the same time; auto: the CPU limit of the container, rounded up.  [default: "
    "the number of CPUs]",
)
@click.option(
    "--autoscale",
    type=Autoscale(),
    metavar="MAX,MIN",
    help="Let the number of tasks that run at the same time follow the number of messages, between two limits.",
)
@click.option(
    "-P",
    "--pool",
    metavar="POOL",
    callback=lambda _context, _parameter, name: None if name is None else _known_pool(name),
    help=f"The kind of pool that runs the tasks: {', '.join(POOLS)}; or a pool of another package, by the name of its "
    "entry point or by its path (proj.pools:MyPool).  [default: processes]",
)
@click.option(
    "--prefetch-multiplier",
    type=_POSITIVE,
    metavar="N",
    help="Messages that the worker holds per running task, including the running one.  [default: 4]",
)
@click.option(
    "--max-tasks-per-child", type=_POSITIVE, metavar="N", help="Replace a process of the pool after this many tasks."
)
@click.option(
    "--max-memory-per-child",
    type=_POSITIVE,
    metavar="KIB",
    help="Replace a process of the pool when it uses more memory than this after a task.",
)
@click.option(
    "--time-limit",
    type=_SECONDS,
    metavar="SECONDS",
    help="Stop a task after this time, unless the task declares its own limit.",
)
@click.option(
    "--soft-time-limit",
    type=_SECONDS,
    metavar="SECONDS",
    help="Raise SoftTimeLimitExceeded in a task after this time, unless the task declares its own limit.",
)
@click.option(
    "-n",
    "--hostname",
    default="taskq@%h",
    show_default=True,
    metavar="NAME",
    help="The worker's name. %h is the host name, %n its part before the first dot, %d its part after it.",
)
@click.option(
    "--visibility-timeout",
    type=_SECONDS,
    metavar="SECONDS",
    help="Time for which the broker reserves a message for this worker; renewed while the task runs.  [default: 60]",
)
@click.option(
    "--shutdown-timeout",
    type=_SECONDS,
    metavar="SECONDS",
    help="Time for running tasks to end after SIGTERM; then they are returned to their queues.  [default: 25]",
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve GET /healthz on this port, for health checks.",
)
@click.option(
    "--beat", is_flag=True, help="Also send periodic tasks. Several workers can have this option: one of them sends."
)
@click.option("--components", is_flag=True, help="List the components that the application adds, and exit.")
@click.option("--burst", is_flag=True, help="Exit with code 0 once the queues are empty.")
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
    components: bool,
    **options: Any,
) -> None:
    """Run a worker, which takes messages from queues and runs their tasks, until SIGTERM, SIGINT or SIGHUP.

    After the first signal, the worker receives no more messages and waits for the running tasks. A second signal
    returns the running tasks to their queues at once.

    Without an option, the setting of the same name applies: worker_concurrency for --concurrency, for example.
    """
    limits = {"task_time_limit": time_limit, "task_soft_time_limit": soft_time_limit}
    app = open_app(context, loglevel="info", settings=limits)
    if components:
        echo(list_of_components(app))
        return
    path = app_path(context)
    if path is None:
        raise click.UsageError("a worker needs an application: add -A shop (or -A shop.tasks:app)")
    check_reachable(app, "this worker")
    name, options_of = worker_name(hostname), partial(_options_of, app, queues, options)
    program = _program_of_celery(context, app, name, options_of=options_of, app_path=path, beat=beat)
    worker_options = options_of()
    if log_format(context) == "text":
        say(context, banner(app, path, name, worker_options))
    try:
        if program is None:
            service = _ticker(app) if beat else None
            code = run_worker(app.runtime(hostname=name, app_path=path), worker_options, service)
        else:
            program.start()
            code = program.exitcode or 0
    except OSError as error:
        if worker_options.health_port is None or error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise click.ClickException(
            f"/healthz can't be served on port {worker_options.health_port}: {os.strerror(error.errno)}; "
            "choose another --health-port"
        ) from error
    signals.end_with(code)
    context.exit(code)


def _options_of(app: TaskQ, queues: tuple[str, ...], options: Mapping[str, Any]) -> WorkerOptions:
    app.check_queue_names(queues)
    return WorkerOptions.from_settings(app.conf, queues or app.queues(), **options)


def _program_of_celery(context: click.Context, app: TaskQ, name: str, **options: Any) -> Any:
    """Return the program that sends the signals of Celery's workers; None: the application is a native one."""
    owner = getattr(app, "owner", None)
    if owner is None:
        return None
    from taskq_cloud.celery.apps.native_worker import NativeWorker  # native applications don't need it

    level = logging.getLevelNamesMapping()[log_level(context, "info").upper()]
    program = NativeWorker(owner, name, loglevel=level, **options)
    logs.keep_handlers_from_waiting()  # receivers of a signal may have added some
    return program


def _ticker(app: TaskQ) -> SideService:
    from taskq_cloud.beat.run import make_ticker, tick_until  # most workers don't send periodic tasks

    ticker = make_ticker(app, app.schedule_entries())
    return lambda stopping: tick_until(stopping, ticker, app.arun)


def list_of_components(app: TaskQ) -> str:
    """Return the components of an application's workers, in the order of their start, as lines of text."""
    from taskq_cloud.runtime.components import in_order, name_of  # few applications have any

    lines = []
    for each in in_order(app.components):
        required = ", ".join(map(name_of, each.requires))
        lines.append(f"{name_of(each)}{f' (requires {required})' if required else ''}")
    return "\n".join(lines) or "no components: TaskQ.add_component adds some"


def worker_name(given: str) -> str:
    """Return a worker's name from the value of ``-n``, by Celery's rules: ``one`` becomes ``one@<host name>``."""
    host = socket.gethostname()
    first, _, rest = host.partition(".")
    values = {"%h": host, "%n": first, "%d": rest, "%%": "%"}
    name = given if "@" in given else f"{given}@%h"
    return re.sub("%[hnd%]", lambda directive: values[directive[0]], name)


def banner(app: TaskQ, path: str, name: str, options: WorkerOptions) -> str:
    """Return the text that a worker prints at its start: its application, broker, results, queues, pool and tasks."""
    tasks = sorted(app.tasks) or ["none; does the application import the modules that declare its tasks?"]
    rows = {
        "app": path,
        "broker": without_secrets(app.conf.broker),
        "results": without_secrets(app.conf.results_url()),
        "queues": ", ".join(options.queues),
        "pool": f"{options.pool}, {options.autoscale or options.concurrency} tasks at a time",
        "tasks": ("\n" + 11 * " ").join(tasks),
    }
    return "\n".join([name, *(f"  {row:<8} {value}" for row, value in rows.items()), ""])
