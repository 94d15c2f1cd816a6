"""The command ``beat``: sends periodic tasks."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from taskq_cloud.celery.bin.base import LOG_LEVEL, CeleryDaemonCommand, CeleryOption, handle_preload_options
from taskq_cloud.celery.bin.daemon import change_user, detach, umask_of
from taskq_cloud.celery.bin.settings_of_arguments import read_settings

_option = partial(click.option, cls=CeleryOption, help_group="Beat Options")


@click.command(cls=CeleryDaemonCommand, context_settings={"allow_extra_args": True})
@_option("--detach", is_flag=True, default=False, help="Run in the background.")
@_option(
    "-s",
    "--schedule",
    callback=lambda ctx, _, value: value or ctx.obj.app.conf.beat_schedule_filename,
    help="The file of a scheduler that keeps one; the default scheduler keeps its state in the result store.",
)
@_option(
    "-S",
    "--scheduler",
    callback=lambda ctx, _, value: value or ctx.obj.app.conf.beat_scheduler,
    help="The class of the scheduler.",
)
@_option("--max-interval", type=int, help="The longest time between two looks at the schedule, in seconds.")
@_option(
    "--enable-remote-control/--no-enable-remote-control",
    "remote_control",
    default=None,
    help="Answer remote control, which no broker of taskq_cloud offers.",
)
@_option("-n", "--hostname", default=None, help="The node name for remote control.")
@_option("-l", "--loglevel", default="WARNING", type=LOG_LEVEL, help="The level of the log.")
@click.pass_context
@handle_preload_options
def beat(
    ctx: click.Context,
    /,
    detach: bool = False,
    logfile: str | None = None,
    pidfile: str | None = None,
    uid: str | None = None,
    gid: str | None = None,
    umask: str | None = None,
    workdir: str | None = None,
    executable: str | None = None,
    **kwargs: Any,
) -> Any:
    """Send periodic tasks when they are due.

    The native ticker does so by default: several can run, one of them sends. A scheduler class of your own (-S) must
    run in one process only.
    """
    app = ctx.obj.app
    read_settings(ctx, app)
    if detach:
        return _detached(logfile, uid, gid, umask, executable)
    change_user(uid, gid, umask_of(umask))
    return app.Beat(logfile=logfile, pidfile=pidfile, quiet=ctx.obj.quiet, **kwargs).run()


def _detached(logfile: Any, uid: Any, gid: Any, umask: Any, executable: Any) -> None:
    detach(logfile=logfile, uid=uid, gid=gid, umask=umask_of(umask), executable=executable)
