"""A batch of SQS records: run one after the other, settled together, answered with those that failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Refused, Release, Settlement
from taskq_cloud.core.ports import Broker, KnowsPhysicalNames, is_ordered
from taskq_cloud.errors import TaskQError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.deadlines import LEAST_RUN_SECONDS
from taskq_cloud.serverless.lambda_invocation import FunctionCall

logger = logging.getLogger("taskq_cloud.serverless")

UNEXPECTED_FIRST_DELAY_SECONDS: Final = 10
UNEXPECTED_LONGEST_DELAY_SECONDS: Final = 900


def sqs_records(event: Any) -> Sequence[Mapping[str, Any]] | None:
    """The records of a batch from SQS, or None where the event is something else."""
    match event:
        case {"Records": [{"eventSource": "aws:sqs"}, *_]}:
            records: Sequence[Mapping[str, Any]] = event["Records"]
            return records
    return None


def delivery_of(record: Mapping[str, Any], broker: Broker, received_at: float) -> Delivery:
    """A record as the pipeline takes it. Its lease is the event source mapping's."""
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
    """What has become of a batch so far. What is not known to be done when the answer is due has failed.

    Args:
        runtime: the application's.
        call: the call of the function.
        records: the event's.
    """

    def __init__(self, runtime: Runtime, call: FunctionCall, records: Sequence[Mapping[str, Any]]) -> None:
        self._runtime = runtime
        self._call = call
        self._records = records
        self._done: set[int] = set()
        self._settlements: dict[int, Settlement] = {}
        self._held_groups: dict[str, float] = {}
        self._unstarted = 0

    def process(self) -> None:
        """Take every record through the pipeline, as far as the time goes."""
        received_at = time.time()
        for position, record in enumerate(self._records):
            delivery: Delivery | None = None
            try:
                delivery = delivery_of(record, self._runtime.broker, received_at)
                settlement = self._process(delivery, first=position == 0)
            except Exception:
                # Whatever a message or a task does, the pipeline answers: this is a fault of ours, and of one record.
                logger.exception(
                    "message %s could not be handled; it is given back",
                    record["messageId"],
                    extra={"action": "lambda.record_failed", "message_id": record["messageId"]},
                )
                if delivery is None:
                    continue
                settlement = _release_after_fault(delivery)
            self._note(position, settlement)
        if self._unstarted:
            logger.warning(
                "%d of %d records were not begun, for want of time or behind one of their group; they are given back",
                self._unstarted,
                len(self._records),
                extra={"action": "lambda.records_not_begun"},
            )

    def settle(self) -> None:
        """Carry out what Lambda does not: dead letters, and how soon what was given back comes again."""
        # The dead letters first: what was given back comes again in any case.
        ordered = sorted(self._settlements.items(), key=lambda item: isinstance(item[1], Release))
        if not ordered:
            return
        try:
            answers = self._call.run(self._runtime.broker.settle([settlement for _, settlement in ordered]))
        except Exception as error:  # Lambda must have its answer: without one, all that is done returns
            answers = [Refused(error)] * len(ordered)
        for (position, settlement), answer in zip(ordered, answers, strict=True):
            if answer is not None:
                _log_refused(settlement, answer.error)
            elif isinstance(settlement, DeadLetter):
                self._done.add(position)

    def log_out_of_time(self) -> None:
        """Say that the batch was cut short."""
        logger.error(
            "the function's time was over with %d of %d records done; the others come back when the queue's visibility "
            "timeout is over",
            len(self._done),
            len(self._records),
            extra={"action": "lambda.out_of_time"},
        )

    def answer(self) -> dict[str, Any]:
        """What Lambda is told: the records it must not delete."""
        failed = [record["messageId"] for position, record in enumerate(self._records) if position not in self._done]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in dict.fromkeys(failed)]}

    def _process(self, delivery: Delivery, *, first: bool) -> Settlement:
        held_seconds = self._held_groups.get(str(delivery.group)) if _in_order(delivery) else None
        # The first record is looked at however little time there is: if it can never run, its log line says so.
        too_late = self._call.stopped or (not first and self._call.seconds_for_tasks() < LEAST_RUN_SECONDS)
        if held_seconds is None and not too_late:
            return self._call.process(delivery)
        self._unstarted += 1
        return Release(delivery, held_seconds or 0)

    def _note(self, position: int, settlement: Settlement) -> None:
        match settlement:
            case Acknowledge():
                self._done.add(position)
                return
            case Release(delivery, after_seconds) if _in_order(delivery):
                self._held_groups.setdefault(str(delivery.group), after_seconds)
        self._settlements[position] = settlement


def _in_order(delivery: Delivery) -> bool:
    return delivery.group is not None and is_ordered(delivery.queue)


def _release_after_fault(delivery: Delivery) -> Release:
    after = growing_delay(delivery.receive_count, UNEXPECTED_FIRST_DELAY_SECONDS, UNEXPECTED_LONGEST_DELAY_SECONDS)
    return Release(delivery, after)


def _log_refused(settlement: Settlement, error: Exception) -> None:
    delivery = settlement.delivery
    logger.error(
        "message %s of queue %r could not be %s; it comes back when the queue's visibility timeout is over: %s",
        delivery.message_id,
        delivery.queue,
        "dead-lettered" if isinstance(settlement, DeadLetter) else "given back at once",
        error,
        exc_info=None if isinstance(error, TaskQError) else error,
        extra={"action": "lambda.settle_failed", "queue": delivery.queue, "message_id": delivery.message_id},
    )
