"""The AWS Lambda runtime: an event in, the answer that Lambda expects out.

``app.lambda_handler()`` makes a function's handler of an application. It needs botocore and no other package of AWS's,
and opens nothing before the first event. What it does with each event:

**A batch from SQS.** Each record goes through the pipeline of ``core.execution``. What is done, and what has been
dead-lettered, is not among the ``batchItemFailures``, so that Lambda deletes it. What is given back is, and gets a
visibility timeout of its own, so that it need not wait for the queue's to end. The event source mapping must say
``FunctionResponseTypes = ["ReportBatchItemFailures"]``: without it Lambda takes any answer for "all done" and deletes
what was given back.

**Time.** A record is begun only while its task's time limit fits into what is left of the function's time, with a
margin for recording and answering. The first that does not fit, and all behind it, go back to the queue at once. That
uses up a receive of theirs: the batch size times the tasks' time limit should fit into the function's timeout. A task
whose limit alone is over the function's timeout goes back with a growing delay, and to the dead-letter queue when its
receives run out; the log says which timeout to raise. ``limits`` says what becomes of a task that takes too long.

**FIFO queues.** After a record that is given back, the later ones of its message group are not run: they go back too,
for as long.

**Anything else** is one message: ``{"task": ..., "args": [...], "kwargs": {...}}``, a Celery message, or an event that
``task_event_routes`` gives a task (EventBridge, S3, SNS). The answer is Celery's result document. A task that fails
has an outcome, which is recorded and answered like any other (``"status": "FAILURE"``), whether someone waits for the
answer or not: Lambda does not invoke again for it, the task's own retries are sent to its queue. What could not be run
at all, or was rejected, raises, so that Lambda's retries and the function's on-failure destination apply.

Sources: "Handling errors for an SQS event source in Lambda", "Invoking a Lambda function asynchronously".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from taskq_cloud.core.model.ids import new_id
from taskq_cloud.errors import OperationalError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless import direct_invocation
from taskq_cloud.serverless.lambda_invocation import LAST_WORD_SECONDS, FunctionCall
from taskq_cloud.serverless.sqs_batch import Batch, sqs_records
from taskq_cloud.serverless.time_limits import OutOfTime, TimeKeeper

Handler: TypeAlias = Callable[[Any, Any], Any]


def make_handler(runtime: Runtime) -> Handler:
    """The handler of a Lambda function that serves an application: see this module's docstring."""
    keeper = TimeKeeper()

    def handler(event: Any, context: Any) -> Any:
        """Answer an event.

        Args:
            event: what the function was invoked with.
            context: Lambda's context object; None where it is called by hand, and has all the time it wants.
        """
        call = FunctionCall(runtime, keeper, context)
        records = sqs_records(event)
        if records is not None:
            return _answer_batch(Batch(runtime, call, records), call, keeper)
        request_id = getattr(context, "aws_request_id", None) or new_id()
        try:
            with keeper.invocation(call.remaining_seconds() - LAST_WORD_SECONDS):
                return direct_invocation.answer(runtime, call, event, request_id)
        except OutOfTime:
            raise OperationalError(
                f"invocation {request_id}: the function's time was over before the task was at its end and recorded"
            ) from None

    return handler


def _answer_batch(batch: Batch, call: FunctionCall, keeper: TimeKeeper) -> dict[str, Any]:
    try:
        with keeper.invocation(call.remaining_seconds() - LAST_WORD_SECONDS):
            batch.process()
            batch.settle()
    except OutOfTime:
        batch.log_out_of_time()
    return batch.answer()
