"""Which runtime serves a task: what the task says, else whether it fits into a Lambda function.

A queue has one runtime, for whoever receives a message can't choose which. A container can run every task, so the
tasks of a queue that say ``auto`` go to a container with the first that needs one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.deploy.topology.deployment import Deployment
from taskq_cloud.deploy.topology.model import LONGEST_FUNCTION_SECONDS, Runtime, ServedTask
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS

MARGIN_SECONDS: Final = math.ceil(ANSWER_MARGIN_SECONDS) + 1
"""Of a function's timeout, beside its tasks' time limits: for its answer, and for what passes before its first task."""

LARGEST_FUNCTION_MEMORY_MB: Final = 10_240
"""Lambda Developer Guide, "gettingstarted-limits"."""


@dataclass(frozen=True, slots=True)
class Served:
    """A queue, and what serves it."""

    queue: str
    runtime: Runtime
    tasks: tuple[ServedTask, ...]

    @property
    def longest_limit(self) -> float | None:
        """The longest time limit of its tasks, in seconds; None where none of them has one."""
        return max((each.time_limit_seconds for each in self.tasks if each.time_limit_seconds), default=None)


def serve(
    queue: str, tasks: Mapping[str, TaskOptions], default_time_limit: float | None, deployment: Deployment, *, aws: bool
) -> tuple[Runtime, tuple[ServedTask, ...]]:
    """The runtime of a queue, and its tasks with the reasons.

    Args:
        queue: its name.
        tasks: the tasks that go to it.
        default_time_limit: of tasks that have none of their own, in seconds.
        deployment: what the user says.
        aws: there are Lambda functions.

    Raises:
        ImproperlyConfigured: some tasks are to run in Lambda, and others can't or must not; names both.
    """
    wanted = {name: _wanted(options, deployment) for name, options in tasks.items()}
    limits = {name: options.time_limit or default_time_limit for name, options in tasks.items()}
    obstacles = {name: obstacle(limits[name], options.memory_mb, aws=aws) for name, options in tasks.items()}
    pinned = sorted(name for name, runtime in wanted.items() if runtime == "lambda")
    others = sorted(name for name in tasks if wanted[name] == "container" or obstacles[name])
    if pinned and others:
        raise _conflict(queue, pinned, others, obstacles)
    runtime: Runtime = "container" if others or not (aws and tasks) else "lambda"
    served = []
    for name in sorted(tasks):
        reason = _reason(wanted[name], obstacles[name], runtime, others)
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


def obstacle(time_limit: float | None, memory_mb: int | None, *, aws: bool) -> str | None:
    """Why a task can't run in a Lambda function; None: it can.

    Args:
        time_limit: in seconds; None: it has none.
        memory_mb: what it needs, where it says so.
        aws: there are Lambda functions.
    """
    if not aws:
        return "there is no Lambda function beside this broker"
    if time_limit is None:
        return f"no time_limit, and a function ends after {LONGEST_FUNCTION_SECONDS} s at the latest"
    if time_limit + MARGIN_SECONDS > LONGEST_FUNCTION_SECONDS:
        return (
            f"its time_limit of {time_limit:g} s and {MARGIN_SECONDS} s for the answer are over a function's"
            f" {LONGEST_FUNCTION_SECONDS} s"
        )
    if memory_mb is not None and memory_mb > LARGEST_FUNCTION_MEMORY_MB:
        return f"its memory_mb of {memory_mb} is over a function's {LARGEST_FUNCTION_MEMORY_MB}"
    return None


def _wanted(options: TaskOptions, deployment: Deployment) -> str:
    return deployment.runtime if options.runtime == "auto" else options.runtime


def _reason(wanted: str, obstacle: str | None, runtime: Runtime, others: list[str]) -> str:
    if wanted != "auto":
        return f"runtime={wanted!r}"
    if obstacle:
        return obstacle
    if runtime == "lambda":
        return "fits into a function"
    return f"shares its queue with {others[0]}"


def _conflict(
    queue: str, pinned: list[str], others: list[str], obstacles: Mapping[str, str | None]
) -> ImproperlyConfigured:
    because = "; ".join(f"{name}: {obstacles[name] or 'runtime=container'}" for name in others)
    if set(pinned) <= set(others):
        return ImproperlyConfigured(
            f"queue {queue!r}: {', '.join(pinned)} can't run in a Lambda function as runtime='lambda' asks ({because}):"
            " lower the limit, or leave runtime to 'auto'"
        )
    return ImproperlyConfigured(
        f"queue {queue!r} can't be served by a Lambda function and by a container: {', '.join(pinned)} has"
        f" runtime='lambda', and {', '.join(others)} needs a container ({because}): give one of them a queue of its own"
        " (@app.task(queue=...) or task_routes), or leave runtime to 'auto': a container runs both"
    )
