"""Process a batch of SQS records: run them one by one, settle them together, answer with the failed records."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Refused, Release, Settlement
from taskq_cloud.core.ports import Broker, KnowsPhysicalNames
from taskq_cloud.errors import TaskQError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.deadlines import LEAST_RUN_SECONDS
from taskq_cloud.serverless.lambda_invocation import LambdaInvocation

logger = logging.getLogger("taskq_cloud.serverless")


def sqs_records(event: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return the records of a batch from SQS, or None if the event is of another kind."""
    match event:
        case {"Records": [_, *_]} if all(map(_is_record, event["Records"])):
            records: Sequence[Mapping[str, Any]] = event["Records"]
            return records
    return None


def _is_record(record: Any) -> bool:
    """Whether a record has the id that the answer to Lambda needs."""
    match record:
        case {"eventSource": "aws:sqs", "messageId": str()}:
            return True
    return False


def delivery_of(record: Mapping[str, Any], broker: Broker, received_at: float) -> Delivery:
    """Return a record as a delivery for the pipeline. The event source mapping holds its lease."""
    attributes = record.get("attributes", {})
    queue = record["eventSourceARN"].rpartition(":")[2]
    sent_ms = attributes.get("SentTimestamp")
    return Delivery(
        queue=broker.queue_named(queue) if isinstance(broker, KnowsPhysicalNames) else queue,
        message_id=record["messageId"],
        receipt=record["receiptHandle"],
        body=record["body"],
        receive_count=int(attributes.get("ApproximateReceiveCount", 1)),
        sent_at=None if sent_ms is None else int(sent_ms) / 1000,
        received_at=received_at,
        group=attributes.get("MessageGroupId"),
        attributes={
            name: value["stringValue"]
            for name, value in record.get("messageAttributes", {}).items()
            if isinstance(value.get("stringValue"), str)
        },
    )


class Batch:
    """A batch and its progress. A record that isn't known to be done when the answer is due counts as failed.

    Args:
        runtime: the application's runtime.
        invocation: the invocation of the Lambda function.
        records: the event's records.
    """

    def __init__(self, runtime: Runtime, invocation: LambdaInvocation, records: Sequence[Mapping[str, Any]]) -> None:
        self._runtime = runtime
        self._invocation = invocation
        self._records = records
        self._done: set[int] = set()
        self._settlements: dict[int, Settlement] = {}
        # Message group -> seconds after which its records come back.
        self._blocked_groups: dict[str, float] = {}
        self._not_started = 0

    def process(self) -> None:
        """Take every record through the pipeline, as far as the time lasts."""
        received_at = time.time()
        for position, record in enumerate(self._records):
            try:
                delivery = delivery_of(record, self._runtime.broker, received_at)
            except Exception:  # one record, whatever is wrong with it, must not cost the others
                logger.exception(
                    "message %s could not be read because of a fault in taskq_cloud, and is given back; please report "
                    "the fault",
                    record["messageId"],
                    extra={"action": "lambda.record_failed", "message_id": record["messageId"]},
                )
                continue
            self._note(position, self._process(delivery, first=position == 0))
        if self._not_started:
            logger.warning(
                "%d of %d records were not started and are given back: the time was too short (lower the batch size or "
                "raise the function's timeout), or an earlier record of their message group was given back",
                self._not_started,
                len(self._records),
                extra={"action": "lambda.records_not_begun"},
            )

    def settle(self) -> None:
        """Carry out what Lambda doesn't: send dead letters, and set when each released record comes back."""
        # The dead letters go first: released records come back in any case.
        ordered = sorted(self._settlements.items(), key=lambda item: isinstance(item[1], Release))
        if not ordered:
            return
        try:
            answers = self._invocation.run(self._runtime.broker.settle([settlement for _, settlement in ordered]))
        except Exception as error:  # Lambda must get an answer: without one, all records come back, done or not
            answers = [Refused(error)] * len(ordered)
        for (position, settlement), answer in zip(ordered, answers, strict=True):
            if answer is not None:
                _log_refused(settlement, answer.error)
            elif isinstance(settlement, DeadLetter):
                self._done.add(position)

    def log_out_of_time(self) -> None:
        """Log that the batch was cut short."""
        logger.error(
            "the function's time was over with %d of %d records done; the others come back after the queue's "
            "visibility timeout. Lower the batch size, or raise the function's timeout",
            len(self._done),
            len(self._records),
            extra={"action": "lambda.out_of_time"},
        )

    def answer(self) -> dict[str, Any]:
        """Return the answer to Lambda: the records that it must not delete."""
        failed = [record["messageId"] for position, record in enumerate(self._records) if position not in self._done]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in dict.fromkeys(failed)]}

    def _process(self, delivery: Delivery, *, first: bool) -> Settlement:
        blocked_seconds = self._blocked_groups.get(str(delivery.group)) if _in_order(delivery) else None
        # The first record is processed even if time is short: if its task can never run, the log has to say so.
        too_late = self._invocation.stopped or (not first and self._invocation.seconds_for_tasks() < LEAST_RUN_SECONDS)
        if blocked_seconds is not None or too_late:
            self._not_started += 1
            return Release(delivery, blocked_seconds or 0, counts=False)
        try:
            return self._invocation.process(delivery)
        except Exception as error:  # the pipeline has let it through; it must cost this record only
            return self._runtime.pipeline.crashed(delivery, error)

    def _note(self, position: int, settlement: Settlement) -> None:
        match settlement:
            case Acknowledge():
                self._done.add(position)
                return
            case Release(delivery, after_seconds) if _in_order(delivery):
                self._blocked_groups.setdefault(str(delivery.group), after_seconds)
        self._settlements[position] = settlement


def _in_order(delivery: Delivery) -> bool:
    return delivery.group is not None and is_ordered(delivery.queue)


def _log_refused(settlement: Settlement, error: Exception) -> None:
    delivery = settlement.delivery
    logger.error(
        "message %s of queue %r could not be %s; it comes back after the queue's visibility timeout: %s",
        delivery.message_id,
        delivery.queue,
        "dead-lettered" if isinstance(settlement, DeadLetter) else "given its own visibility timeout",
        error,
        exc_info=None if isinstance(error, TaskQError) else error,
        extra={"action": "lambda.settle_failed", "queue": delivery.queue, "message_id": delivery.message_id},
    )
