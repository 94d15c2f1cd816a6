"""``taskq result``: show the state and value of a task, or the tree of a workflow."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any, Final

import click

from taskq_cloud.cli.application import open_app
from taskq_cloud.cli.options import Seconds, common_options
from taskq_cloud.cli.output import echo, one_line, say
from taskq_cloud.cli.task_results import FAILED, NOT_ENDED, SUCCEEDED, exit_code, require_store, value_text, wait_for
from taskq_cloud.cli.workflow_tree import dot, json, svg, text
from taskq_cloud.cli.workflow_tree.item import item_of
from taskq_cloud.core import serializers
from taskq_cloud.core.records import record
from taskq_cloud.core.workflows.progress import View
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.state import TaskState

WATCH_SECONDS: Final = 1.0
_UNKNOWN: Final = (
    "The result store has no record of this task: the task has not begun, its result has expired, or the id is wrong."
)
_FORMATS: Final = ("text", "dot", "svg", "json")


@click.command("result", short_help="Show the state and value of a task, or the tree of a workflow.")
@click.argument("task_id", metavar="ID")
@click.option("-t", "--traceback", is_flag=True, help="Also print the traceback of a failed task.")
@click.option("--wait", type=Seconds(min=0), metavar="SECONDS", help="Wait for the end, at most this long.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--tree", is_flag=True, help="Draw the workflow whose last task, or last group, is ID.")
@click.option("--watch", is_flag=True, help="With --tree: redraw the workflow every second until it has ended.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(_FORMATS),
    help="With --tree: the format of the drawing.  [default: text]",
)
@common_options
@click.pass_context
def command(context: click.Context, /, task_id: str, tree: bool, **options: Any) -> None:
    """Show the state of the task ID, and its value or exception.

    With --tree, show all tasks of the workflow that ends in the task or group ID.

    \b
    Exit codes:
      0  the task, or the workflow, has succeeded
      1  it has failed or was revoked, or the command failed (see standard error)
      2  it has not ended yet, or is unknown
    """
    output_format = "json" if options["as_json"] else options["output_format"]
    if not tree and (options["watch"] or options["output_format"]):
        raise click.UsageError("--watch and --format need --tree")
    if tree and options["traceback"]:
        raise click.UsageError("--traceback can't be combined with --tree")
    if tree and options["output_format"] and options["as_json"]:
        raise click.UsageError("--json can't be combined with --format")
    app = open_app(context)
    require_store(app)
    result = app.AsyncResult(task_id)
    if tree:
        context.exit(_show_tree(result, output_format or "text", options["wait"], watch=options["watch"]))
    state = result.load() if options["wait"] is None else wait_for(result, options["wait"])
    echo(_as_json(task_id, state) if output_format else _as_text(state, traceback=options["traceback"]))
    if state.state == record.PENDING:
        say(context, _UNKNOWN)
    context.exit(exit_code(state))


def _show_tree(result: AsyncResult[Any], output_format: str, wait: float | None, *, watch: bool) -> int:
    live = watch and output_format == "text" and sys.stdout.isatty()
    deadline = None if wait is None else time.monotonic() + wait
    drawn_lines = 0
    while True:
        view = result.tree()
        known = view.known or view.progress.total + view.progress.not_stored > 1
        if not known and not wait:
            echo(_UNKNOWN, err=True)
            return NOT_ENDED
        if live:
            drawn_lines = _redraw(result.id, view, drawn_lines)
        left = _seconds_left(deadline, live=live)
        if view.ended or left <= 0:
            break
        time.sleep(min(WATCH_SECONDS, left))
    if not known:
        echo(_UNKNOWN, err=True)
    elif not live:
        _draw(result.id, view, output_format)
    if not view.ended:
        return NOT_ENDED
    return SUCCEEDED if view.successful else FAILED


def _seconds_left(deadline: float | None, *, live: bool) -> float:
    """Return how long to go on reading: until the deadline, or for ever if a live drawing has none."""
    if deadline is not None:
        return deadline - time.monotonic()
    return WATCH_SECONDS if live else 0


def _draw(workflow_id: str, view: View, output_format: str) -> None:
    if output_format == "json":
        echo(json.write(workflow_id, view))
        return
    item = item_of(workflow_id, view)
    if output_format == "text":
        # Its lines hold the colours, and no other control characters.
        click.echo("\n".join(text.lines_of(item, encoding=_encoding())), color=_colour())
        return
    echo(dot.write(item) if output_format == "dot" else svg.write(item))


def _redraw(workflow_id: str, view: View, drawn_lines: int) -> int:
    """Draw a workflow over the lines drawn before, and return the number of lines of the new drawing."""
    columns, height = shutil.get_terminal_size()
    lines = text.lines_of(item_of(workflow_id, view), width=columns, encoding=_encoding())
    if len(lines) >= height:
        # Lines that have scrolled out of the terminal can't be drawn over.
        lines = [*lines[: height - 2], f"... and {len(lines) - height + 2} more lines"]
    if drawn_lines:
        click.echo(f"\x1b[{drawn_lines}F\x1b[J", nl=False)
    click.echo("\n".join(lines), color=_colour())
    return len(lines)


def _encoding() -> str:
    return sys.stdout.encoding or "ascii"


def _colour() -> bool | None:
    """Return False if NO_COLOR is set (no-color.org); with None, click uses colours in terminals only."""
    return False if os.environ.get("NO_COLOR") else None


def _as_json(task_id: str, state: TaskState) -> str:
    document = {
        "task_id": task_id,
        "state": state.state,
        "result": state.document.get("result"),
        "traceback": state.traceback,
        "date_done": state.date_done.isoformat() if state.date_done else None,
        "children": list(state.children),
    }
    return serializers.strict(serializers.dumps(document))


def _as_text(state: TaskState, *, traceback: bool) -> str:
    lines = [f"state   {one_line(state.state)}"]
    if state.document:
        lines.append(f"result  {one_line(value_text(state))}")
    if state.date_done:
        lines.append(f"ended   {state.date_done.isoformat(sep=' ', timespec='seconds')}")
    if traceback and state.traceback:
        lines += ["", state.traceback.rstrip()]
    return "\n".join(lines)
