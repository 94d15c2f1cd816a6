"""Calls of tasks that convert their arguments by type: these are written as plain values before they are sent."""

from __future__ import annotations

from collections.abc import Sequence

from taskq_cloud.calling.options import check_arguments
from taskq_cloud.calling.tasks import Arguments
from taskq_cloud.core.execution.conversion import Conversion
from taskq_cloud.core.model.task_definition import TaskDefinition


def plain(
    definition: TaskDefinition, conversion: Conversion, calls: Sequence[Arguments], serializer: str | None
) -> Sequence[Arguments]:
    """Write the arguments of calls as plain values.

    Args:
        definition: the task's.
        conversion: the task's.
        calls: the arguments of each call.
        serializer: the serializer that the calls name. Pickle takes the models of Celery's ``pydantic=True`` as they
            are.

    Raises:
        TypeError: positional arguments are not in a list or tuple, or keyword arguments not in a mapping.
        ArgumentsInvalid: an argument doesn't have the parameter's type.
    """
    if definition.options.pydantic and serializer == "pickle":
        return calls
    for args, kwargs in calls:
        check_arguments(definition.name, args, kwargs)
    return [conversion.dump(args, kwargs) for args, kwargs in calls]
