"""The command ``call``: sends a task."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from taskq_cloud.celery.bin.base import (
    ISO8601,
    ISO8601_OR_FLOAT,
    JSON_ARRAY,
    JSON_OBJECT,
    CeleryCommand,
    CeleryOption,
    handle_preload_options,
)

_calling = partial(click.option, cls=CeleryOption, help_group="Calling Options")
_routing = partial(click.option, cls=CeleryOption, help_group="Routing Options")


@click.command(cls=CeleryCommand)
@click.argument("name")
@_calling("-a", "--args", type=JSON_ARRAY, default="[]", help="The positional arguments.")
@_calling("-k", "--kwargs", type=JSON_OBJECT, default="{}", help="The keyword arguments.")
@_calling("--eta", type=ISO8601, help="The time at which the task runs.")
@_calling("--countdown", type=float, help="The seconds after which the task runs.")
@_calling("--expires", type=ISO8601_OR_FLOAT, help="The time, or the seconds, after which the task isn't run any more.")
@_calling("--serializer", default="json", help="The serializer of the arguments.")
@_routing("--queue", help="The queue.")
@_routing("--exchange", help="The exchange, which chooses a queue of task_queues together with the routing key.")
@_routing("--routing-key", help="The routing key.")
@click.pass_context
@handle_preload_options
def call(ctx: click.Context, /, name: str, **options: Any) -> None:
    """Send the task NAME and print the id of the call."""
    ctx.obj.echo(ctx.obj.app.send_task(name, **options).id)
