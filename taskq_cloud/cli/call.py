"""``taskq call``: send a task by its name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from taskq_cloud.cli.common import common_options, open_app, say
from taskq_cloud.cli.showing import exit_code, require_store, value_of, wait_for


class JsonOf(click.ParamType[Any]):
    """JSON text that is an array, or an object."""

    def __init__(self, kind: type[list[Any] | dict[str, Any]], name: str, example: str) -> None:
        self.kind = kind
        self.name = name
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if isinstance(value, self.kind):
            return value
        try:
            read = json.loads(value)
        except ValueError as error:
            self.fail(f"{value!r} is not JSON ({error}); write for example '{self.example}'", param, ctx)
        if not isinstance(read, self.kind):
            self.fail(f"{value!r} is not a JSON {self.name}; write for example '{self.example}'", param, ctx)
        return read


class Moment(click.ParamType[Any]):
    """A time in ISO 8601, UTC where it names no offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time in ISO 8601; write for example 2030-01-31T12:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class SecondsOrMoment(Moment):
    """Seconds from now, or a time."""

    name = "seconds|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        try:
            return float(value)
        except (TypeError, ValueError):
            return super().convert(value, param, ctx)


@click.command("call", short_help="Send a task, and wait for it if told to.")
@click.argument("name")
@click.option("-a", "--args", type=JsonOf(list, "array", '["a.png", 200]'), default="[]", help="Positional arguments.")
@click.option("-k", "--kwargs", type=JsonOf(dict, "object", '{"width": 200}'), default="{}", help="Keyword arguments.")
@click.option("--countdown", type=click.FloatRange(min=0), help="Seconds from now until it is due.")
@click.option("--eta", type=Moment(), help="When it is due: 2030-01-31T12:00:00Z.")
@click.option("--expires", type=SecondsOrMoment(), help="From when on it is not run: seconds from now, or a time.")
@click.option("-Q", "--queue", help="The queue.  [default: the task's]")
@click.option("--task-id", help="Its id.  [default: a new one]")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the result and print it.")
@common_options
@click.pass_context
def command(
    context: click.Context, /, name: str, args: list[Any], kwargs: dict[str, Any], wait: float | None, **options: Any
) -> None:
    """Call the task NAME and print its id, or with --wait its result as JSON.

    The task need not be registered with the application: whoever serves the queue must have it.

    \b
    Exit codes with --wait:
      0  the task has succeeded
      1  it has failed or was revoked
      2  it has not ended in time
    """  # noqa: D301 - click reads a real backspace
    app = open_app(context)
    if wait is not None:
        require_store(app)
    task = app.tasks.get(name)
    if task is None:
        say(context, f"Warning: task {name!r} is not registered with this application; it goes to the queue unchecked")
    try:
        result = task.apply_async(args, kwargs, **options) if task else app.send_task(name, args, kwargs, **options)
    except TypeError as error:
        raise click.UsageError(str(error)) from error
    if wait is not None and not result.ignored:
        state = wait_for(result, wait)
        if not state.ready:
            click.echo(result.id)
            say(context, f"The task is {state.state} after {wait:g} s; it may still end: taskq result {result.id}")
        elif exit_code(state) == 0:
            click.echo(value_of(state))
        else:
            click.echo(f"Error: task {name}[{result.id}] is {state.state}: {value_of(state)}", err=True)
        context.exit(exit_code(state))
    if wait is not None:
        say(context, f"Warning: task {name!r} stores no result, so there is nothing to wait for")
    click.echo(result.id)
