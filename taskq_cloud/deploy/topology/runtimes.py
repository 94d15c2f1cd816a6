"""Chooses the runtime of a task: the task's own choice, or else a Lambda function if the task fits into one.

A queue has one runtime, because a receiver can't choose its messages. A container can run every task, so one task that
needs a container brings all ``auto`` tasks of its queue there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.deploy.topology.deployment import Deployment
from taskq_cloud.deploy.topology.model import Runtime, ServedTask
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS

MARGIN_SECONDS: Final = math.ceil(ANSWER_MARGIN_SECONDS) + 1
"""The part of a function's timeout that is left for its answer and for the time before its first task."""

NEEDS_SQS: Final = "Lambda functions need SQS as the broker"
"""The obstacle of every task where no event source mapping can hand messages to functions."""

LARGEST_FUNCTION_MEMORY_MB: Final = 10_240
"""Lambda Developer Guide, "gettingstarted-limits"."""


@dataclass(frozen=True, slots=True)
class Served:
    """A queue with its tasks and the runtime that serves them."""

    queue: str
    runtime: Runtime
    tasks: tuple[ServedTask, ...]

    @property
    def longest_limit(self) -> float | None:
        """The longest time limit of the queue's tasks, in seconds; None if no task has one."""
        return max((each.time_limit_seconds for each in self.tasks if each.time_limit_seconds), default=None)


def serve(
    queue: str, tasks: Mapping[str, TaskOptions], default_time_limit: float | None, deployment: Deployment, *, aws: bool
) -> tuple[Runtime, tuple[ServedTask, ...]]:
    """Choose the runtime of a queue.

    Args:
        queue: the name of the queue.
        tasks: the options of the tasks that go to it, by task name.
        default_time_limit: the time limit of tasks that set none, in seconds; None: they have none.
        deployment: the ``deployment`` setting.
        aws: whether there are Lambda functions.

    Returns:
        The runtime, and the queue's tasks with the reason for it.

    Raises:
        ImproperlyConfigured: some tasks have to run in Lambda, and others can't or must not; the error names both.
    """
    longest = deployment.longest_function_seconds
    requested = {name: _requested(options, deployment) for name, options in tasks.items()}
    limits = {name: options.time_limit or default_time_limit for name, options in tasks.items()}
    obstacles = {name: obstacle(limits[name], options.memory_mb, longest, aws=aws) for name, options in tasks.items()}
    pinned = sorted(name for name, runtime in requested.items() if runtime == "lambda")
    others = sorted(name for name in tasks if requested[name] == "container" or obstacles[name])
    if pinned and others:
        raise _conflict(queue, pinned, others, obstacles)
    runtime: Runtime = "container" if others or not (aws and tasks) else "lambda"
    served = []
    for name in sorted(tasks):
        reason = _reason(requested[name], obstacles[name], runtime, others)
        served.append(
            ServedTask(
                name=name,
                runtime=runtime,
                reason=reason,
                time_limit_seconds=limits[name],
                memory_mb=tasks[name].memory_mb,
            )
        )
    return runtime, tuple(served)


def obstacle(time_limit: float | None, memory_mb: int | None, longest_seconds: int, *, aws: bool) -> str | None:
    """Return the reason why a task can't run in a Lambda function; None if it can.

    Args:
        time_limit: the task's time limit in seconds; None: it has none.
        memory_mb: the memory that the task asks for, in MiB; None: it does not say.
        longest_seconds: the longest timeout that a function can have.
        aws: whether there are Lambda functions.
    """
    if not aws:
        return NEEDS_SQS
    if time_limit is None:
        return f"it has no time_limit, and a function runs for at most {longest_seconds} s"
    if time_limit + MARGIN_SECONDS > longest_seconds:
        return (
            f"its time_limit of {time_limit:g} s and {MARGIN_SECONDS} s for the answer exceed a function's limit of"
            f" {longest_seconds} s"
        )
    if memory_mb is not None and memory_mb > LARGEST_FUNCTION_MEMORY_MB:
        return f"its memory_mb of {memory_mb} exceeds a function's limit of {LARGEST_FUNCTION_MEMORY_MB}"
    return None


def _requested(options: TaskOptions, deployment: Deployment) -> str:
    return deployment.runtime if options.runtime == "auto" else options.runtime


def _reason(requested: str, obstacle: str | None, runtime: Runtime, others: list[str]) -> str:
    if requested != "auto":
        return f"runtime={requested!r}"
    if obstacle:
        return obstacle
    if runtime == "lambda":
        return "it fits into a function"
    return f"it shares its queue with {others[0]}"


def _conflict(
    queue: str, pinned: list[str], others: list[str], obstacles: Mapping[str, str | None]
) -> ImproperlyConfigured:
    because = "; ".join(f"{name}: {obstacles[name] or 'runtime=container'}" for name in others)
    if set(pinned) <= set(others):
        remedy = "lower the limit" if NEEDS_SQS not in obstacles.values() else "set TASKQ_BROKER to sqs://region/prefix"
        return ImproperlyConfigured(
            f"queue {queue!r}: {', '.join(pinned)} can't run in a Lambda function as runtime='lambda' asks ({because}):"
            f" {remedy}, or set runtime to 'auto'"
        )
    return ImproperlyConfigured(
        f"queue {queue!r} can't be served by a Lambda function and by a container: {', '.join(pinned)} has"
        f" runtime='lambda', but {', '.join(others)} needs a container ({because}): give one of them its own queue"
        " (@app.task(queue=...) or task_routes), or set runtime to 'auto', so that a container runs both"
    )
