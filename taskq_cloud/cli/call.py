"""``taskq call``: send a task, given by its name, to its queue."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import Seconds, common_options
from taskq_cloud.cli.output import echo, one_line, say
from taskq_cloud.cli.task_results import exit_code, require_store, value_text, wait_for
from taskq_cloud.core.model.option_values import aware


def json_array(text: str) -> list[Any]:
    """Read the value of an option that is a JSON array.

    Raises:
        BadParameter: the text isn't a JSON array.
    """
    example = '["a.png", 200]'
    value = _json_value(text, example)
    if not isinstance(value, list):
        raise click.BadParameter(f"{text!r} is not a JSON array; write for example '{example}'")
    return value


def json_object(text: str) -> dict[str, Any]:
    """Read the value of an option that is a JSON object.

    Raises:
        BadParameter: the text isn't a JSON object.
    """
    example = '{"width": 200}'
    value = _json_value(text, example)
    if not isinstance(value, dict):
        raise click.BadParameter(f"{text!r} is not a JSON object; write for example '{example}'")
    return value


def _json_value(text: str, example: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not JSON ({error}); write for example '{example}'") from error
    return value


def iso_time(text: str) -> datetime:
    """Read the value of an option that is a time in ISO 8601; a time without an offset is in UTC.

    Raises:
        BadParameter: the text isn't a time in ISO 8601.
    """
    try:
        return aware(datetime.fromisoformat(text))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not a time in ISO 8601; write for example 2030-01-31T12:00:00Z"
        ) from error


def seconds_or_time(text: str) -> float | datetime:
    """Read the value of an option that is a number of seconds from now, or a time in ISO 8601.

    Raises:
        BadParameter: the text is neither of them.
    """
    try:
        return float(text)
    except ValueError:
        return iso_time(text)


@click.command("call", short_help="Call a task, and optionally wait for its result.")
@click.argument("name")
@click.option(
    "-a",
    "--args",
    type=json_array,
    metavar="ARRAY",
    default="[]",
    help="The positional arguments, as a JSON array: '[\"a.png\", 200]'.",
)
@click.option(
    "-k",
    "--kwargs",
    type=json_object,
    metavar="OBJECT",
    default="{}",
    help="The keyword arguments, as a JSON object: '{\"width\": 200}'.",
)
@click.option("--countdown", type=Seconds(min=0), metavar="SECONDS", help="Run the task after this delay.")
@click.option("--eta", type=iso_time, metavar="TIME", help="Run the task at this time: 2030-01-31T12:00:00Z.")
@click.option(
    "--expires",
    type=seconds_or_time,
    metavar="SECONDS|TIME",
    help="Don't run the task after this time, or this number of seconds from now.",
)
@click.option("-Q", "--queue", metavar="NAME", help="The queue to send to.  [default: the task's own queue]")
@click.option("--task-id", metavar="ID", help="The id of the call.  [default: a new id]")
@click.option(
    "--wait",
    type=Seconds(min=0),
    metavar="SECONDS",
    help="Wait for the result, at most this long, and print it instead of the id.",
)
@common_options
@click.pass_context
def command(
    context: click.Context, /, name: str, args: list[Any], kwargs: dict[str, Any], wait: float | None, **options: Any
) -> None:
    """Call the task NAME and print the call's id, or its result as JSON with --wait.

    A task that this application doesn't register can be called too; the worker that serves the queue needs to know it.

    \b
    Exit codes with --wait:
      0  the task has succeeded
      1  it has failed or was revoked
      2  it has not ended in time
    """
    app = open_app(context)
    if wait is not None:
        require_store(app)
    task = app.tasks.get(name)
    if task is None:
        say(
            context,
            f"Warning: task {name!r} is not registered with this application; the message is sent without checking "
            "its arguments",
        )
    try:
        result = task.apply_async(args, kwargs, **options) if task else app.send_task(name, args, kwargs, **options)
    except TypeError as error:
        raise click.UsageError(str(error)) from error
    if wait is not None and not result.ignored:
        state = wait_for(result, wait)
        if not state.ready:
            echo(result.id)
            say(context, f"The task is {state.state} after {wait:g} s; it may still end: taskq result {result.id}")
        elif exit_code(state) == 0:
            echo(value_text(state))
        else:
            echo(f"Error: task {name}[{result.id}] is {state.state}: {one_line(value_text(state))}", err=True)
        context.exit(exit_code(state))
    if wait is not None:
        say(context, f"Warning: task {name!r} stores no result, so there is nothing to wait for")
    echo(result.id)
