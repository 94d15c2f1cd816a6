"""A task that may take longer than the request or function that would run it: never begun, and told what to change."""

from __future__ import annotations

import logging
from typing import Final

from taskq_cloud.core.model.outcome import Invocation, Rejected

logger = logging.getLogger("taskq_cloud.serverless")

ANSWER_MARGIN_SECONDS: Final = 2.0
"""From the last task's end to that of the function or request: its state, what follows it, and the settlements."""
LEAST_RUN_SECONDS: Final = 0.5
"""A task without a time limit is not begun with less. Lambda's default timeout, 3 s, leaves it 1 s."""


def needed_seconds(invocation: Invocation) -> float:
    """What a run may take."""
    return LEAST_RUN_SECONDS if invocation.time_limit is None else invocation.time_limit


def refuse(invocation: Invocation, within: str, remedy: str, most_receives: int) -> Rejected:
    """The outcome of a task that can never run here, however often it comes.

    Args:
        invocation: its run.
        within: what it does not fit into, as half a sentence.
        remedy: what to do about it.
        most_receives: after so many its message is dead-lettered.
    """
    message = invocation.message
    reason = (
        f"task {message.task} may take {needed_seconds(invocation):g} s, and {within}: {remedy}, lower the task's "
        "time_limit, or route it to a queue that containers serve"
    )
    extra = {"action": "task.never_fits", "task": message.task, "task_id": message.id, "queue": invocation.queue}
    logger.error("task %s[%s] can never run here: %s", message.task, message.id, reason, extra=extra)
    # Given back with a growing delay: whoever reads the line above has until its last receive.
    return Rejected(reason, requeue=invocation.receive_count < most_receives)
