"""The command ``result``: prints the value of a task."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from taskq_cloud.celery.bin.base import CeleryCommand, CeleryOption, handle_preload_options
from taskq_cloud.errors import TaskQError

_option = partial(click.option, cls=CeleryOption, help_group="Result Options")


@click.command(cls=CeleryCommand)
@click.argument("task_id")
@_option("-t", "--task", help="The name of the task, if it has a backend of its own.")
@_option("--traceback", is_flag=True, help="Print the traceback instead.")
@click.pass_context
@handle_preload_options
def result(ctx: click.Context, /, task_id: str, task: str | None, traceback: bool) -> None:
    """Wait for the task TASK_ID, and print its value."""
    app: Any = ctx.obj.app
    found = (app.tasks[task].AsyncResult if task else app.AsyncResult)(task_id)
    try:
        value = found.traceback if traceback else found.get()
    except TaskQError as error:  # of the task, such as TimeLimitExceeded(30), whose text alone says little
        raise click.ClickException(f"{type(error).__name__}: {error}") from error
    ctx.obj.echo(value)
