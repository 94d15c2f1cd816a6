"""The options that the tasks of a workflow, and linked tasks, get from their declarations and from ``task_routes``.

They are put into the signatures when a caller sends them: the worker that sends a later task may not know them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskq_cloud.calling.options import LINKS
from taskq_cloud.core.messages.headers import header_clash
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.serializers.compression import check_name
from taskq_cloud.core.serializers.registry import AUTH, serializer_named
from taskq_cloud.core.workflows import signatures
from taskq_cloud.core.workflows.stages import TaskStage, as_list, every_task
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.runtime.protocols import Application


def with_defaults(app: Application, stage: TaskStage) -> TaskStage:
    """Give a task, and the tasks linked to it, the options that their messages carry.

    Args:
        app: the application, which knows the declarations and the routes.
        stage: the task; options that it has already stay.

    Raises:
        ImproperlyConfigured: no worker could send a message with these options.
    """
    check(stage.task, stage.options)
    inner = signatures.mapped_task(stage.signature)
    task, routed = app.options_of(inner or stage.task), app.route_options(inner or stage.task)
    found: dict[str, Any] = {**routed}
    if task.expires is not None:
        found["expires"] = task.expires
    if task.priority is not None:
        found["priority"] = task.priority
    if inner is not None:
        found["queue"] = app.route(inner)
    missing = {name: value for name, value in found.items() if stage.options.get(name) is None}
    for name in LINKS:
        if stage.options.get(name):
            missing[name] = of_links(app, as_list(stage.options[name]))
    return stage.with_options(**missing) if missing else stage


def of_links(app: Application, links: Sequence[Signature]) -> list[Signature]:
    """Give linked tasks the options that their messages carry; links that are workflows are checked, and stay."""
    return [_of_link(app, each) for each in links]


def _of_link(app: Application, link: Signature) -> Signature:
    if not signatures.is_composed(link):
        return with_defaults(app, TaskStage(link)).signature
    for stage in every_task(signatures.parse(link)):
        check(stage.task, stage.options)
    return link


def check(task: str, options: Mapping[str, Any]) -> None:
    """Check the options by which a message is encoded that is not sent here: its sender could only fail the task.

    Raises:
        ImproperlyConfigured: the serializer or the compression is unknown, or a header is one of the protocol's own.
    """
    try:
        if options.get("serializer") not in (None, AUTH):
            serializer_named(options["serializer"])
        if options.get("compression") is not None:
            check_name(options["compression"])
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(f"task {task}: {error}") from None
    if clash := header_clash(options.get("headers")):
        raise ImproperlyConfigured(f"task {task}: {clash}")
