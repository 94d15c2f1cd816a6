"""The AWS Lambda runtime: it takes an event and returns the answer that Lambda expects.

``app.lambda_handler()`` returns a Lambda function's handler for an application. The handler needs botocore and no other
AWS package. In a function, making it opens the clients (``starting``). It treats events as follows.

**A batch from SQS.** Each record goes through the pipeline of ``core.execution``. Records that are done or have been
dead-lettered are left out of ``batchItemFailures``, so Lambda deletes them. Records that are given back are listed
there, and each gets its own visibility timeout, so that it need not wait for the queue's. The event source mapping must
set ``FunctionResponseTypes = ["ReportBatchItemFailures"]``: without it Lambda takes any answer for "all done" and
deletes the records that were given back.

**Time.** A record is started only while its task's time limit fits into the rest of the function's time, with a margin
for recording and answering. The first record that does not fit, and all records behind it, go back to the queue at
once. Each of them uses up one receive by this, so the batch size times the tasks' time limit should fit into the
function's timeout. A task whose time limit alone exceeds the function's timeout goes back with a growing delay, and to
the dead-letter queue when its receives run out; the log says which timeout to raise. ``time_limits`` describes what
happens to a task that takes too long.

**Tasks that end the process.** Such a task must not take the others of its batch along, so a batch that has come before
is run in an order of its own, and settled in parts: see ``suspects``.

**Side by side.** With ``lambda_concurrency``, or on another thread than the main one, tasks are run in ``lanes``.

**Results.** While the result of a record is saved, the next record is run, and results that are ready at the same time
are saved together (``clients.combining``).

**FIFO queues.** When a record is given back, the later records of its message group are not run. They go back as well,
for the same time.

**Any other event** is one message: ``{"task": ..., "args": [...], "kwargs": {...}}``, a Celery message, or an event
that ``task_event_routes`` gives to a task (EventBridge, S3, SNS). The answer is Celery's result document. A failed task
has an outcome, which is recorded and answered like any other (``"status": "FAILURE"``), whether or not somebody waits
for the answer: Lambda does not invoke the function again for it, and the task's own retries are sent to its queue. A
message that can't be run at all, or is rejected, raises an error, so that Lambda's retries and the function's
on-failure destination apply.

**HTTP requests** (API Gateway, Function URLs, load balancers) are refused with an error: the function would otherwise
run whatever task the sender of a request names.

Sources: "Handling errors for an SQS event source in Lambda", "Invoking a Lambda function asynchronously".
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from taskq_cloud.clients.combining import Combiner
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.errors import OperationalError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless import direct_invocation, starting
from taskq_cloud.serverless.lambda_invocation import ANSWER_RESERVE_SECONDS, LambdaInvocation
from taskq_cloud.serverless.memory import watched
from taskq_cloud.serverless.sqs_batch import Batch, sqs_records
from taskq_cloud.serverless.time_limits import OutOfTime, TimeKeeper, can_interrupt

if TYPE_CHECKING:
    from taskq_cloud.serverless.lanes import Lanes

Handler: TypeAlias = Callable[[Any, Any], Any]


def make_handler(runtime: Runtime) -> Handler:
    """Return the handler of a Lambda function for an application. This module's docstring describes the handler."""
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        starting.prepare(runtime)
    starting.tell_hooks(runtime, "function_started")
    function = _Function(runtime)

    def handler(event: Any, context: Any) -> Any:
        """Answer an event.

        Args:
            event: the event that the function was invoked with.
            context: Lambda's context object, or None for a call by hand, which has unlimited time.
        """
        records = sqs_records(event)
        if records is not None:
            return function.answer_batch(records, context)
        return function.answer_directly(event, context)

    return watched(handler)


class _Function:
    """A function, with what it keeps from one invocation to the next.

    On the main thread, the tasks of an invocation are run there, one after the other: only there a plain task can be
    stopped wherever it is. The tasks of batches that run side by side, and of invocations on other threads, are run in
    lanes.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._keeper = TimeKeeper()
        self._combiner = Combiner(runtime.connections.run)
        self._lock = threading.Lock()
        self._lanes: Lanes | None = None

    def answer_batch(self, records: Sequence[Mapping[str, Any]], context: Any) -> dict[str, Any]:
        side_by_side = self._runtime.settings.lambda_concurrency > 1
        in_lanes = side_by_side or not can_interrupt()
        invocation = self._invocation(context, in_lanes=in_lanes)
        batch = Batch(self._runtime, invocation, records, side_by_side=side_by_side)
        try:
            self._call_all(batch.stages(), invocation, in_lanes=in_lanes)
        except OutOfTime:
            batch.log_out_of_time()
        return batch.answer()

    def answer_directly(self, event: Any, context: Any) -> dict[str, Any]:
        request_id = getattr(context, "aws_request_id", None) or new_id()
        in_lanes = not can_interrupt()
        invocation = self._invocation(context, in_lanes=in_lanes)
        answers: list[dict[str, Any]] = []

        def answer() -> None:
            answers.append(direct_invocation.answer(self._runtime, invocation, event, request_id))

        try:
            self._call_all([[answer]], invocation, in_lanes=in_lanes)
        except OutOfTime:
            raise OperationalError(
                f"invocation {request_id}: the function's time was over before the task had ended and its result was "
                "recorded; raise the function's timeout, or look in the log for a slow store or broker"
            ) from None
        return answers[0]

    def _invocation(self, context: Any, *, in_lanes: bool) -> LambdaInvocation:
        runtime = self._runtime
        run_task = self._opened_lanes().run_task if in_lanes else partial(self._keeper.run, runtime.runner)
        return LambdaInvocation(runtime, run_task, context, self._combiner)

    def _call_all(
        self, stages: Iterable[Sequence[Callable[[], None]]], invocation: LambdaInvocation, *, in_lanes: bool
    ) -> None:
        """Call the functions of one stage after the other.

        Raises:
            OutOfTime: the invocation must be answered now.
        """
        if in_lanes:
            for stage in stages:
                self._opened_lanes().call_all(stage, _seconds(invocation))
            return
        with self._keeper.deadline(_seconds(invocation)):
            for stage in stages:
                for function in stage:
                    function()

    def _opened_lanes(self) -> Lanes:
        with self._lock:
            if self._lanes is None:
                from taskq_cloud.serverless.lanes import Lanes  # most functions run one task after the other

                self._lanes = Lanes(self._runtime, self._runtime.settings.lambda_concurrency)
            return self._lanes


def _seconds(invocation: LambdaInvocation) -> float:
    return invocation.remaining_seconds() - ANSWER_RESERVE_SECONDS
