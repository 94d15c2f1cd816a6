"""``taskq result``: a task's state and value, or the tree of the workflow that it ends."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any, Final

import click

from taskq_cloud.cli import drawing
from taskq_cloud.cli.common import common_options, open_app, say
from taskq_cloud.cli.drawing_svg import as_svg
from taskq_cloud.cli.showing import FAILED, NOT_ENDED, SUCCEEDED, exit_code, require_store, value_of, wait_for
from taskq_cloud.core import serializers
from taskq_cloud.core.records import record
from taskq_cloud.core.workflows.progress import View
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.state import TaskState

WATCH_SECONDS: Final = 1.0
_UNKNOWN: Final = "Nothing is known of this task: it has not begun, its result has expired, or the id is wrong."
_FORMATS: Final = ("text", "dot", "svg", "json")


@click.command("result", short_help="Show a task's state and value, or its workflow's tree.")
@click.argument("task_id", metavar="ID")
@click.option("-t", "--traceback", is_flag=True, help="Show the traceback of a failure, too.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait so long for the end.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--tree", is_flag=True, help="Draw the workflow that ends in the task or group ID.")
@click.option("--watch", is_flag=True, help="With --tree: draw it anew each second, until it has ended.")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="With --tree: how it is drawn; as text.")
@common_options
@click.pass_context
def command(context: click.Context, /, task_id: str, tree: bool, **options: Any) -> None:
    """Show the state of the task ID, and its value or its exception.

    With --tree, show all tasks of the workflow whose last task, or last group, is ID.

    \b
    Exit codes:
      0  the task, or the workflow, has succeeded
      1  it has failed or was revoked (or the command went wrong: see standard error)
      2  it has not ended yet, or nobody knows it
    """  # noqa: D301 - click reads a real backspace
    form = "json" if options["as_json"] else options["form"]
    if not tree and (options["watch"] or options["form"]):
        raise click.UsageError("--watch and --format are for --tree")
    if tree and (options["traceback"] or (options["form"] and options["as_json"])):
        raise click.UsageError("--tree goes with neither --traceback nor two formats")
    app = open_app(context)
    require_store(app)
    result = app.AsyncResult(task_id)
    if tree:
        context.exit(_show_tree(result, form or "text", options["wait"], watch=options["watch"]))
    state = result.load() if options["wait"] is None else wait_for(result, options["wait"])
    click.echo(_as_json(task_id, state) if form else _as_text(state, traceback=options["traceback"]))
    if state.state == record.PENDING:
        say(context, _UNKNOWN)
    context.exit(exit_code(state))


def _show_tree(result: AsyncResult[Any], form: str, wait: float | None, *, watch: bool) -> int:
    live = watch and form == "text" and sys.stdout.isatty()
    deadline = None if wait is None else time.monotonic() + wait
    drawn = 0
    while True:
        view = result.tree()
        known = view.known or view.progress.total + view.progress.not_stored > 1
        if not known and not wait:
            click.echo(_UNKNOWN, err=True)
            return NOT_ENDED
        if live:
            drawn = _redraw(result.id, view, drawn)
        left = _seconds_left(deadline, live=live)
        if view.ended or left <= 0:
            break
        time.sleep(min(WATCH_SECONDS, left))
    if not known:
        click.echo(_UNKNOWN, err=True)
    elif not live:
        click.echo(_drawn(result.id, view, form), color=_colour())
    if not view.ended:
        return NOT_ENDED
    return SUCCEEDED if view.successful else FAILED


def _seconds_left(deadline: float | None, *, live: bool) -> float:
    """How long to look again: until the deadline; without one as long as it takes, where somebody is watching."""
    if deadline is not None:
        return deadline - time.monotonic()
    return WATCH_SECONDS if live else 0


def _drawn(workflow_id: str, view: View, form: str) -> str:
    if form == "json":
        return drawing.as_json(workflow_id, view)
    item = drawing.item_of(workflow_id, view)
    if form == "text":
        return "\n".join(drawing.as_text(item, encoding=_encoding()))
    return drawing.as_dot(item) if form == "dot" else as_svg(item)


def _redraw(workflow_id: str, view: View, drawn: int) -> int:
    """Draw over the lines that were drawn before; how many these are now."""
    columns, height = shutil.get_terminal_size()
    lines = drawing.as_text(drawing.item_of(workflow_id, view), width=columns, encoding=_encoding())
    if len(lines) >= height:
        # What has scrolled out can't be drawn over.
        lines = [*lines[: height - 2], f"... and {len(lines) - height + 2} lines more"]
    if drawn:
        click.echo(f"\x1b[{drawn}F\x1b[J", nl=False)
    click.echo("\n".join(lines), color=_colour())
    return len(lines)


def _encoding() -> str:
    return sys.stdout.encoding or "ascii"


def _colour() -> bool | None:
    """None: click leaves colours out where there is no terminal. See no-color.org."""
    return False if os.environ.get("NO_COLOR") else None


def _as_json(task_id: str, state: TaskState) -> str:
    return serializers.dumps(
        {
            "task_id": task_id,
            "state": state.state,
            "result": state.document.get("result"),
            "traceback": state.traceback,
            "date_done": state.date_done.isoformat() if state.date_done else None,
            "children": list(state.children),
        }
    )


def _as_text(state: TaskState, *, traceback: bool) -> str:
    lines = [f"state   {state.state}"]
    if state.document:
        lines.append(f"result  {value_of(state)}")
    if state.date_done:
        lines.append(f"ended   {state.date_done.isoformat(sep=' ', timespec='seconds')}")
    if traceback and state.traceback:
        lines += ["", state.traceback.rstrip()]
    return "\n".join(lines)
