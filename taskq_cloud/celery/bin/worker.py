"""The command ``worker``: runs a worker."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import click

from taskq_cloud.celery import concurrency
from taskq_cloud.celery.bin.base import (
    COMMA_SEPARATED_LIST,
    LOG_LEVEL,
    CeleryDaemonCommand,
    CeleryOption,
    handle_preload_options,
)
from taskq_cloud.celery.bin.daemon import change_user, detach, umask_of
from taskq_cloud.celery.bin.settings_of_arguments import read_settings
from taskq_cloud.celery.concurrency.base import BasePool
from taskq_cloud.celery.utils.nodenames import default_nodename, host_format, node_format
from taskq_cloud.runtime import signals

__all__ = ("worker",)

_LONGEST_RANGE: Final = 2


class WorkersPool(click.Choice[Any]):
    """The name of a pool; its value is the pool's class."""

    name = "pool"

    def __init__(self) -> None:
        super().__init__(concurrency.get_available_pool_names())

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the class of the pool. A default of the option gives way to the setting ``worker_pool``."""
        if isinstance(value, type) and issubclass(value, BasePool):
            return value
        chosen = super().convert(value, param, ctx)
        if chosen == "prefork" and ctx.obj.app.conf.worker_pool:
            chosen = ctx.obj.app.conf.worker_pool
        try:
            pool = concurrency.get_implementation(chosen)
        except ImportError as error:
            self.fail(f"the pool {chosen!r} can't be imported: {error}", param, ctx)
        if getattr(pool, "native_name", None) is None:
            self.fail(getattr(pool, "refusal", f"{chosen!r} is not a pool"), param, ctx)
        return pool


class Hostname(click.types.StringParamType):
    """The name of a worker."""

    name = "hostname"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the full name."""
        return host_format(default_nodename(value))


class Autoscale(click.ParamType[Any]):
    """Two numbers of tasks, in any order; the second is 0 if it is missing."""

    name = "<min workers>, <max workers>"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the larger number and the smaller one."""
        if isinstance(value, tuple):
            return value
        parts = value.split(",")
        if len(parts) > _LONGEST_RANGE:
            self.fail(f"Expected two comma separated integers or one integer. Got {len(parts)} instead.")
        try:
            return tuple(sorted(map(int, [*parts, 0][:2]), reverse=True))
        except ValueError:
            self.fail(f"Expected two comma separated integers. Got {value} instead.")


class CeleryBeat(click.ParamType[Any]):
    """The flag for sending periodic tasks from a worker."""

    name = "beat"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the flag."""
        return value


CELERY_BEAT: Final = CeleryBeat()
WORKERS_POOL: Final = WorkersPool()
HOSTNAME: Final = Hostname()
AUTOSCALE: Final = Autoscale()


def _concurrency(ctx: Any, _param: Any, value: Any) -> Any:
    if not value or value == "auto":
        return value or ctx.obj.app.conf.worker_concurrency
    if not str(value).isdigit():
        raise click.BadParameter(f"must be a non-negative integer or 'auto', got {value!r}")
    return int(value) or ctx.obj.app.conf.worker_concurrency


def _or_setting(name: str) -> Any:
    return lambda ctx, _param, value: value or ctx.obj.app.conf.get(name)


_worker = partial(click.option, cls=CeleryOption, help_group="Worker Options")
_pool = partial(click.option, cls=CeleryOption, help_group="Pool Options")
_queue = partial(click.option, cls=CeleryOption, help_group="Queue Options")
_feature = partial(click.option, cls=CeleryOption, help_group="Features")
_beat = partial(click.option, cls=CeleryOption, help_group="Embedded Beat Options")

_WITHOUT_EFFECT: Final = {
    "optimization": ("-O fair", "a free process gets the next message"),
    "statedb": ("--statedb", "the result store keeps what is revoked"),
    "task_events": ("-E", "workers send no events yet"),
    "without_gossip": ("--without-gossip", ""),
    "without_mingle": ("--without-mingle", ""),
    "without_heartbeat": ("--without-heartbeat", ""),
    "heartbeat_interval": ("--heartbeat-interval", ""),
    "pool_start_method": ("--pool-start-method", "processes are always started anew"),
    "disable_prefetch": ("--disable-prefetch", "--prefetch-multiplier 1 holds one message for each task that runs"),
}
"""Option -> its name, and why it has no effect; no reason: there is nothing of this kind between workers."""


@click.command(cls=CeleryDaemonCommand, context_settings={"allow_extra_args": True})
@_worker(
    "-n",
    "--hostname",
    default=host_format(default_nodename(None)),
    type=HOSTNAME,
    help="The worker's name, such as w1@%h. %h is the host name, %n its part before the first dot, %d the domain.",
)
@_worker("-D", "--detach", is_flag=True, default=False, help="Run in the background.")
@_worker(
    "-S", "--statedb", type=click.Path(), callback=_or_setting("worker_state_db"), help="No effect: results keep it."
)
@_worker("-l", "--loglevel", default="WARNING", type=LOG_LEVEL, help="The level of the log.")
@_worker(
    "-O", "--optimization", default="default", type=click.Choice(("default", "fair")), help="No effect: always fair."
)
@_worker(
    "--prefetch-multiplier",
    type=int,
    metavar="<prefetch multiplier>",
    callback=_or_setting("worker_prefetch_multiplier"),
    help="The messages that the worker holds for each task that may run.",
)
@_worker("--disable-prefetch", is_flag=True, default=None, help="No effect: see --prefetch-multiplier 1.")
@_pool(
    "-c",
    "--concurrency",
    type=str,
    metavar="<concurrency>",
    callback=_concurrency,
    help="How many tasks run at a time; by default one for each CPU; auto: what the container's CPU limit allows.",
)
@_pool("-P", "--pool", default="prefork", type=WORKERS_POOL, help="The kind of the pool.")
@_pool("-E", "--task-events", "--events", is_flag=True, default=None, help="No effect: workers send no events yet.")
@_pool("--time-limit", type=float, help="The hard time limit of tasks without their own, in seconds.")
@_pool("--soft-time-limit", type=float, help="The soft time limit of tasks without their own, in seconds.")
@_pool("--max-tasks-per-child", type=int, help="Replace a process after this many tasks.")
@_pool("--pool-start-method", type=click.Choice(["fork", "spawn"]), help="No effect: always spawn.")
@_pool("--max-memory-per-child", type=int, help="Replace a process that has grown over this size, in KiB.")
@_queue("--purge", "--discard", is_flag=True, help="Delete the messages of the queues first.")
@_queue("--queues", "-Q", type=COMMA_SEPARATED_LIST, help="The queues to serve, separated by commas.")
@_queue("--exclude-queues", "-X", type=COMMA_SEPARATED_LIST, help="Queues not to serve, separated by commas.")
@_queue("--include", "-I", type=COMMA_SEPARATED_LIST, help="Further modules to import, separated by commas.")
@_feature("--without-gossip", is_flag=True, help="No effect: there is no gossip.")
@_feature("--without-mingle", is_flag=True, help="No effect: there is no mingle.")
@_feature("--without-heartbeat", is_flag=True, help="No effect: there are no heartbeats.")
@_feature("--heartbeat-interval", type=int, help="No effect: there are no heartbeats.")
@_feature("--autoscale", type=AUTOSCALE, help="MAX,MIN: run as many tasks at a time as messages need.")
@_beat("-B", "--beat", type=CELERY_BEAT, is_flag=True, help="Also send periodic tasks.")
@_beat(
    "-s",
    "--schedule-filename",
    "--schedule",
    callback=_or_setting("beat_schedule_filename"),
    help="The file of a scheduler that keeps one.",
)
@_beat("--scheduler", help="The class of the scheduler.")
@click.pass_context
@handle_preload_options
def worker(
    ctx: click.Context,
    /,
    hostname: Any = None,
    pool_cls: Any = None,
    uid: Any = None,
    gid: Any = None,
    loglevel: Any = None,
    logfile: Any = None,
    pidfile: Any = None,
    umask: Any = None,
    executable: Any = None,
    **kwargs: Any,
) -> None:
    """Run a worker, which takes messages from queues and runs their tasks, until it is told to stop.

    The options are Celery's, and so are their defaults. `taskq worker` is the native command, with more options.
    """
    app = ctx.obj.app
    read_settings(ctx, app, namespace="worker")
    if kwargs.pop("detach", False):
        detach(
            logfile=logfile and node_format(logfile, hostname),
            uid=uid,
            gid=gid,
            umask=umask_of(umask),
            executable=executable,
        )
        return
    change_user(uid, gid, umask_of(umask))
    _say_what_has_no_effect(ctx, kwargs)
    program = app.Worker(
        hostname=hostname,
        pool_cls=pool_cls,
        loglevel=loglevel,
        logfile=logfile,
        pidfile=pidfile and node_format(pidfile, hostname),
        no_color=ctx.obj.no_color,
        quiet=ctx.obj.quiet,
        app_path=ctx.meta.get("taskq_cloud.celery.app_path"),
        **kwargs,
    )
    program.start()
    signals.end_with(program.exitcode or 0)
    ctx.exit(program.exitcode)


def _say_what_has_no_effect(ctx: click.Context, options: dict[str, Any]) -> None:
    named = [
        f"{name} ({reason})" if reason else name
        for option, (name, reason) in _WITHOUT_EFFECT.items()
        if options.get(option) not in (None, False, "default")
    ]
    if named and not ctx.obj.quiet:
        ctx.obj.error(f"These options have no effect in taskq_cloud: {', '.join(named)}.")
    if options.get("prefetch_multiplier") == 0:
        ctx.obj.error("--prefetch-multiplier 0 (no limit) has no effect in taskq_cloud: a worker holds 4 per task.")
