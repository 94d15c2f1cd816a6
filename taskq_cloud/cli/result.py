"""``taskq result``: a task's state and value."""

from __future__ import annotations

import click

from taskq_cloud.cli.common import common_options, open_app, say
from taskq_cloud.cli.showing import exit_code, require_store, value_of, wait_for
from taskq_cloud.core import records, serializers
from taskq_cloud.result import TaskState


@click.command("result", short_help="Show a task's state and value.")
@click.argument("task_id", metavar="ID")
@click.option("-t", "--traceback", is_flag=True, help="Show the traceback of a failure, too.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait so long for the task to end.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@common_options
@click.pass_context
def command(context: click.Context, /, task_id: str, traceback: bool, wait: float | None, as_json: bool) -> None:
    """Show the state of the task ID, and its value or its exception.

    \b
    Exit codes:
      0  the task has succeeded
      1  it has failed or was revoked (or the command went wrong: see standard error)
      2  it has not ended yet, or nobody knows it
    """  # noqa: D301 - click reads a real backspace
    app = open_app(context)
    require_store(app)
    result = app.AsyncResult(task_id)
    state = result.load() if wait is None else wait_for(result, wait)
    click.echo(_as_json(task_id, state) if as_json else _as_text(state, traceback=traceback))
    if state.state == records.PENDING:
        say(context, "Nothing is known of this task: it has not begun, its result has expired, or the id is wrong.")
    context.exit(exit_code(state))


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
