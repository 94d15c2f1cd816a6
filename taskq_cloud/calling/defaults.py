"""The options that the tasks of a workflow, and linked tasks, get from their declarations and from ``task_routes``.

They are put into the signatures when a caller sends them: the worker that sends a later task may not know them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskq_cloud.calling.options import LINKS
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.workflows import signatures
from taskq_cloud.core.workflows.stages import TaskStage, as_list
from taskq_cloud.runtime.protocols import Application


def with_defaults(app: Application, stage: TaskStage) -> TaskStage:
    """Give a task, and the tasks linked to it, the options that their messages carry.

    Args:
        app: the application, which knows the declarations and the routes.
        stage: the task; options that it has already stay.
    """
    inner = signatures.mapped_task(stage.signature)
    task, routed = app.options_of(inner or stage.task), app.route_options(inner or stage.task)
    found: dict[str, Any] = {**routed}
    if task.expires is not None:
        found["expires"] = task.expires
    if task.priority:
        found["priority"] = task.priority
    if inner is not None:
        found["queue"] = app.route(inner)
    missing = {name: value for name, value in found.items() if stage.options.get(name) is None}
    for name in LINKS:
        if stage.options.get(name):
            missing[name] = of_links(app, as_list(stage.options[name]))
    return stage.with_options(**missing) if missing else stage


def of_links(app: Application, links: Sequence[Signature]) -> list[Signature]:
    """Give linked tasks the options that their messages carry; links that are workflows stay as they are."""
    return [each if signatures.is_composed(each) else with_defaults(app, TaskStage(each)).signature for each in links]
