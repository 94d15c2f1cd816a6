"""One invocation of a Lambda function: its time, and the tasks that it runs. Other modules read the event."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from taskq_cloud.clients.combining import Combiner
from taskq_cloud.core.execution import early_acks
from taskq_cloud.core.flows import Flow, Together, retrying, run
from taskq_cloud.core.model.message import Delivery, Message, Settlement
from taskq_cloud.core.model.outcome import Abandoned, Admission, Admitted, Invocation, Outcome, Rejected
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS, needed_seconds, reject
from taskq_cloud.serverless.pausing import Paused, run_to_last

T = TypeVar("T")

ANSWER_RESERVE_SECONDS: Final = 0.5
"""The function answers this long before Lambda cuts it off, even if a task or a settlement is still under way."""


class LambdaInvocation:
    """Runs the tasks of one invocation of a Lambda function while its time lasts.

    Args:
        runtime: the application's runtime.
        run_task: runs a task within its limits, and stops it after the given number of seconds in any case.
        context: Lambda's context object, or None if the time is unlimited.
        combiner: saves the results of several records together.

    Attributes:
        stopped: a task did not fit into the remaining time; no further task is started.
        outcome: the outcome of the last task that ran, or None before the first.
    """

    def __init__(
        self, runtime: Runtime, run_task: Callable[[Invocation, float], Outcome], context: Any, combiner: Combiner
    ) -> None:
        self._runtime = runtime
        self._combiner = combiner
        self._run_task = run_task
        self._context = context
        self._whole_seconds = self.seconds_for_tasks()
        self.stopped = False
        self.outcome: Outcome | None = None

    def remaining_seconds(self) -> float:
        """Return the seconds until Lambda cuts the function off; infinity without a context."""
        return math.inf if self._context is None else self._context.get_remaining_time_in_millis() / 1000

    def seconds_for_tasks(self) -> float:
        """Return the seconds until the last task must have ended."""
        return self.remaining_seconds() - ANSWER_MARGIN_SECONDS

    def process(
        self, delivery: Delivery, message: Message | None = None, before_run: Callable[[], None] | None = None
    ) -> Settlement:
        """Take a delivery through the pipeline. A task that does not fit into the remaining time is given back.

        Args:
            delivery: the delivery.
            message: the delivery's message, if it has been decoded already.
            before_run: is called before the task is run; not if it isn't run.
        """
        flow = retrying(self._runtime.pipeline.process(delivery, message))
        return run(flow, partial(self._perform, before_run or _nothing))

    def begin(self, delivery: Delivery, before_run: Callable[[], None]) -> Settlement | Paused[Settlement]:
        """Take a delivery through the pipeline, but don't wait until its last effect, if it is the result, is saved."""
        flow = retrying(self._runtime.pipeline.process(delivery))
        return run_to_last(flow, partial(self._perform, before_run), self._combiner.begin)

    def finish(self, paused: Paused[Settlement]) -> Settlement:
        """Take a delivery to its end."""
        self._combiner.hurry()
        return paused.finish(partial(self._perform, _nothing))

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow that runs no task."""
        return self._runtime.connections.run(flow)

    def _perform(self, before_run: Callable[[], None], step: Any) -> Any:
        if not isinstance(step, Invocation):
            if isinstance(step, Admission):
                return Admitted(os.getpid())
            return (self._combiner if isinstance(step, Together) else self._runtime.connections).perform(step)
        needed = needed_seconds(step)
        if needed > self._whole_seconds:
            return self._never_fits(step, needed)
        before_run()
        left = self.seconds_for_tasks()
        if needed > left:
            self.stopped = True
            return Abandoned(f"it may take {needed:g} s, and the invocation has {max(left, 0):.1f} s left for tasks")
        if step.acknowledge_first is not None:
            not_begun = self.run(early_acks.acknowledge(self._runtime.broker, step.acknowledge_first))
            if not_begun is not None:
                return not_begun
        outcome = self._run_task(step, left)
        if step.acknowledge_first is not None:
            outcome = early_acks.begun(outcome)
        if step.failed is None:  # the outcome of an errback isn't the task's
            self.outcome = outcome
        return outcome

    def _never_fits(self, invocation: Invocation, needed: float) -> Rejected:
        timeout = self._whole_seconds + ANSWER_MARGIN_SECONDS
        margin = f"{ANSWER_MARGIN_SECONDS:g} s are kept for its answer"
        available = f"this function ends {timeout:.1f} s after it begins, of which {margin}"
        remedy = (
            f"raise the function's timeout to at least {math.ceil(needed + ANSWER_MARGIN_SECONDS) + 1} s (and the "
            "queue's visibility timeout to six times that)"
        )
        return reject(invocation, available, remedy, self._runtime.settings.task_max_receives)


def _nothing() -> None:
    pass
