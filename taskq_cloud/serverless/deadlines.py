"""The outcomes of tasks that need more time than the function or request that would run them has."""

from __future__ import annotations

import logging
from typing import Final

from taskq_cloud.core.model.outcome import Invocation, Lost, Rejected

logger = logging.getLogger("taskq_cloud.serverless")

ANSWER_MARGIN_SECONDS: Final = 2.0
"""Time kept between the end of the last task and the end of the function or request. It is for recording the state,
sending the messages that follow the task, and settling."""
LEAST_RUN_SECONDS: Final = 0.5
"""A task without a time limit is started only with at least this much time left. With Lambda's default timeout of 3 s,
such a task has 1 s."""


def needed_seconds(invocation: Invocation) -> float:
    """Return how many seconds must be left for a run to be started."""
    return LEAST_RUN_SECONDS if invocation.time_limit is None else invocation.time_limit


def lost_for_time(whose: str, seconds: float) -> Lost:
    """The outcome of a task that was stopped after some seconds because the time of a function or push was over."""
    return Lost(f"the {whose}'s time was over after {seconds:.1f} s; the task needs more")


def reject(invocation: Invocation, available: str, remedy: str, most_receives: int) -> Rejected:
    """Return, and log, the outcome of a task that can never run here, however often its message is received.

    Args:
        invocation: the task's run.
        available: the clause of the error text that says how much time there is.
        remedy: the clause of the error text that says what to change.
        most_receives: the number of receives after which the message is dead-lettered.
    """
    message = invocation.message
    reason = (
        f"task {message.task} may take {needed_seconds(invocation):g} s, and {available}: {remedy}, lower the task's "
        "time_limit, or route it to a queue that containers serve"
    )
    extra = {"action": "task.never_fits", "task": message.task, "task_id": message.id, "queue": invocation.queue}
    logger.error("task %s[%s] can never run here: %s", message.task, message.id, reason, extra=extra)
    # The message is given back with a growing delay, so there is time to act on the log line before its last receive.
    return Rejected(reason, requeue=invocation.receive_count < most_receives)
