"""One call of a function: the time it has, and the tasks it runs in it. What the event says is not known here."""

from __future__ import annotations

import math
from typing import Any, Final, TypeVar

from taskq_cloud.core.flows import Flow, retrying, run
from taskq_cloud.core.model.message import Delivery, Message, Settlement
from taskq_cloud.core.model.outcome import Abandoned, Admission, Invocation, Outcome, Rejected
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS, needed_seconds, refuse
from taskq_cloud.serverless.time_limits import TimeKeeper

T = TypeVar("T")

LAST_WORD_SECONDS: Final = 0.5
"""So long before the function's end it answers, whatever is still under way."""


class FunctionCall:
    """Runs the tasks of one call of the function, one after the other, for as long as its time lasts.

    Args:
        runtime: the application's.
        keeper: the function's.
        context: Lambda's context object; None where there is no end to the time.

    Attributes:
        stopped: a task did not fit into what is left of the time; no further one is begun.
        outcome: of the last task that was run.
    """

    def __init__(self, runtime: Runtime, keeper: TimeKeeper, context: Any) -> None:
        self._runtime = runtime
        self._keeper = keeper
        self._context = context
        self._whole_seconds = self.seconds_for_tasks()
        self.stopped = False
        self.outcome: Outcome | None = None

    def remaining_seconds(self) -> float:
        """Until the function is cut off."""
        return math.inf if self._context is None else self._context.get_remaining_time_in_millis() / 1000

    def seconds_for_tasks(self) -> float:
        """Until the last task has to be at its end."""
        return self.remaining_seconds() - ANSWER_MARGIN_SECONDS

    def process(self, delivery: Delivery, message: Message | None = None) -> Settlement:
        """Take a delivery through the pipeline; a task that does not fit into the time is given back.

        Args:
            delivery: the delivery.
            message: its message, where it has been decoded already.
        """
        return run(retrying(self._runtime.pipeline.process(delivery, message)), self._perform)

    def run(self, flow: Flow[T]) -> T:
        """Drive any other flow."""
        return self._runtime.connections.run(flow)

    def _perform(self, step: Any) -> Any:
        if not isinstance(step, Invocation):
            return True if isinstance(step, Admission) else self._runtime.connections.perform(step)
        needed = needed_seconds(step)
        if needed > self._whole_seconds:
            return self._never_fits(step, needed)
        left = self.seconds_for_tasks()
        if needed > left:
            self.stopped = True
            return Abandoned()
        outcome = self._keeper.run(self._runtime.runner, step, left)
        if step.failed is None:  # an errback's is not the task's
            self.outcome = outcome
        return outcome

    def _never_fits(self, invocation: Invocation, needed: float) -> Rejected:
        timeout = self._whole_seconds + ANSWER_MARGIN_SECONDS
        margin = f"{ANSWER_MARGIN_SECONDS:g} s are for its answer"
        within = f"this function ends {timeout:.1f} s after it begins, of which {margin}"
        remedy = (
            f"raise the function's timeout to at least {math.ceil(needed + ANSWER_MARGIN_SECONDS) + 1} s (the queue's "
            "visibility timeout to six times that)"
        )
        return refuse(invocation, within, remedy, self._runtime.settings.task_max_receives)
