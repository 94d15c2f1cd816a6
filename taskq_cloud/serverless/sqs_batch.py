"""Process a batch of SQS records: run them, settle them together, answer with the failed records.

``suspects`` decides the order of a batch that an earlier invocation may have died of.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from taskq_cloud.core.execution.steps import receives
from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Refused, Release, Settlement
from taskq_cloud.core.ports import Broker, KnowsPhysicalNames
from taskq_cloud.errors import OperationalError, TaskQError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless import suspects
from taskq_cloud.serverless.deadlines import LEAST_RUN_SECONDS
from taskq_cloud.serverless.lambda_invocation import LambdaInvocation
from taskq_cloud.serverless.pausing import Paused
from taskq_cloud.serverless.suspects import Plan

logger = logging.getLogger("taskq_cloud.serverless")

LONGEST_UNSAVED_SECONDS: Final = 0.02
"""How long ago a task may have ended whose result is still being saved when the next task begins. If that task ends the
process, the earlier one is run again."""


def sqs_records(event: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return the records of a batch from SQS, which may be empty, or None if the event is of another kind."""
    match event:
        case {"Records": [*_]} if all(map(_is_record, event["Records"])):
            records: Sequence[Mapping[str, Any]] = event["Records"]
            return records
    return None


def _is_record(record: Any) -> bool:
    """Whether a record has the id that the answer to Lambda needs."""
    match record:
        case {"eventSource": "aws:sqs", "messageId": str()}:
            return True
    return False


def naming_of(broker: Broker) -> Callable[[str], str]:
    """Return the function that names a queue by its name in SQS."""
    return broker.queue_named if isinstance(broker, KnowsPhysicalNames) else str


def delivery_of(record: Mapping[str, Any], queue_named: Callable[[str], str], received_at: float) -> Delivery:
    """Return a record as a delivery for the pipeline. The event source mapping holds its lease."""
    attributes = record.get("attributes", {})
    queue = record["eventSourceARN"].rpartition(":")[2]
    sent_ms = attributes.get("SentTimestamp")
    return Delivery(
        queue=queue_named(queue),
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
        side_by_side: whether records are run side by side.
    """

    def __init__(
        self,
        runtime: Runtime,
        invocation: LambdaInvocation,
        records: Sequence[Mapping[str, Any]],
        *,
        side_by_side: bool = False,
    ) -> None:
        self._side_by_side = side_by_side
        self._runtime = runtime
        self._invocation = invocation
        self._records = records
        self._done: set[int] = set()
        self._settlements: dict[int, Settlement] = {}
        # The positions whose settlements the broker has accepted.
        self._settled: set[int] = set()
        # Message group -> seconds after which its records come back.
        self._blocked_groups: dict[str, float] = {}
        self._first: int | None = None
        self._not_started: list[int] = []
        # The records whose results are being saved.
        self._paused: list[tuple[int, Delivery, Paused[Settlement]]] = []

    def stages(self) -> Iterator[Sequence[Callable[[], None]]]:
        """Take every record through the pipeline, as far as the time lasts, and settle what Lambda doesn't.

        Yields:
            Functions to be called before the next stage; those of one stage may be called side by side.
        """
        deliveries = self._deliveries()
        plan = self._plan(deliveries)
        self._first = next(iter(plan.order), None)
        for stage in plan.stages:
            yield [partial(self._process_in_order, part, deliveries, plan) for part in stage]
        if self._not_started:
            logger.warning(
                "%d of %d records were not started and are given back: the time was too short (lower the batch size or "
                "raise the function's timeout), or an earlier record of their message group was given back",
                len(self._not_started),
                len(self._records),
                extra={"action": "lambda.records_not_begun"},
            )
        yield [self.settle]

    def settle(self) -> None:
        """Carry out what Lambda doesn't: send dead letters, and set when each released record comes back."""
        self._finish_paused()
        self._settle([position for position in self._settlements if position not in self._done])

    def _process_in_order(self, positions: Sequence[int], deliveries: Mapping[int, Delivery], plan: Plan) -> None:
        for position in positions:
            if position in self._settlements:
                continue
            self._finish_paused(time.monotonic() - LONGEST_UNSAVED_SECONDS)
            before_run = partial(self._save_others, position, deliveries, plan)
            settlement = self._process(position, deliveries[position], before_run)
            if isinstance(settlement, Paused):
                self._paused.append((position, deliveries[position], settlement))
            else:
                self._note(position, settlement)

    def _finish_paused(self, before: float = math.inf) -> None:
        """Wait until the results of the tasks are saved that had ended before a time by the monotonic clock."""
        while self._paused and self._paused[0][2].paused_at < before:
            position, delivery, paused = self._paused.pop(0)
            try:
                settlement = self._invocation.finish(paused)
            except Exception as error:  # the pipeline has let it through; it must cost this record only
                settlement = self._runtime.pipeline.crashed(delivery, error)
            self._note(position, settlement)

    def _deliveries(self) -> dict[int, Delivery]:
        received_at, deliveries = time.time(), dict[int, Delivery]()
        queue_named = naming_of(self._runtime.broker)
        for position, record in enumerate(self._records):
            try:
                deliveries[position] = delivery_of(record, queue_named, received_at)
            except Exception:  # one record, whatever is wrong with it, must not cost the others
                logger.exception(
                    "message %s could not be read because of a fault in taskq_cloud, and is given back; please report "
                    "the fault",
                    record["messageId"],
                    extra={"action": "lambda.record_failed", "message_id": record["messageId"]},
                )
        return deliveries

    def _plan(self, deliveries: Mapping[int, Delivery]) -> Plan:
        if all(each.receive_count == 1 for each in deliveries.values()):
            return suspects.first_plan(deliveries, side_by_side=self._side_by_side)
        try:
            notes = self._invocation.run(suspects.notes_of_all(self._runtime.store, deliveries))
        except Exception as error:  # the pipeline reports it, if it lasts
            logger.debug("it is unknown which tasks have begun before: %s", error, extra={"action": "lambda.no_notes"})
            notes = {}
        return suspects.plan(deliveries, notes, self._runtime.settings.task_max_receives)

    def _save_others(self, position: int, deliveries: Mapping[int, Delivery], plan: Plan) -> None:
        """Settle the other records, as far as they can be, before a record is run that was received before.

        If its task ends the process, they don't come back, or don't come back with it.
        """
        if deliveries[position].receive_count == 1:
            return
        if position in plan.alone:
            others = [each for each in plan.alone if each not in self._settlements]
            others = [each for each in others if not _in_one_group(deliveries[each], deliveries[position])]
            for number, each in enumerate(others, start=1):
                self._note(each, Release(deliveries[each], number * suspects.APART_SECONDS))
                if each in plan.suspects:
                    self._note_held(deliveries[each])
        self._finish_paused()
        self._settle([*self._settlements])
        if position in plan.suspects:
            logger.warning(
                "message %s may have ended an earlier invocation: its task is run after the other records were settled",
                deliveries[position].message_id,
                extra={"action": "lambda.suspect", "message_id": deliveries[position].message_id},
            )

    def _note_held(self, delivery: Delivery) -> None:
        try:
            self._invocation.run(receives.note_held(self._runtime.store, delivery, time.time()))
        except OperationalError as error:  # it is then run on its last receive
            logger.debug("it could not be noted that a task waits: %s", error, extra={"action": "lambda.no_notes"})

    def _settle(self, positions: Sequence[int]) -> None:
        # The dead letters go first: released records come back in any case.
        waiting = [(each, self._settlements[each]) for each in positions if each not in self._settled]
        ordered = sorted(waiting, key=lambda item: isinstance(item[1], Release))
        if not ordered:
            return
        try:
            answers = self._invocation.run(self._runtime.broker.settle([settlement for _, settlement in ordered]))
        except Exception as error:  # Lambda must get an answer: without one, all records come back, done or not
            answers = [Refused(error)] * len(ordered)
        for (position, settlement), answer in zip(ordered, answers, strict=True):
            if answer is not None:
                _log_refused(settlement, answer.error)
                continue
            self._settled.add(position)
            if not isinstance(settlement, Release):
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

    def _process(
        self, position: int, delivery: Delivery, before_run: Callable[[], None]
    ) -> Settlement | Paused[Settlement]:
        blocked_seconds = self._blocked_groups.get(str(delivery.group)) if _in_order(delivery) else None
        # The first record is processed even if time is short: if its task can never run, the log has to say so.
        first = position == self._first
        too_late = self._invocation.stopped or (not first and self._invocation.seconds_for_tasks() < LEAST_RUN_SECONDS)
        if blocked_seconds is not None or too_late:
            self._not_started.append(position)
            return Release(delivery, blocked_seconds or 0, counts=False)
        try:
            if self._side_by_side or len(self._records) == 1 or _in_order(delivery):
                return self._invocation.process(delivery, before_run=before_run)
            return self._invocation.begin(delivery, before_run)
        except Exception as error:  # the pipeline has let it through; it must cost this record only
            return self._runtime.pipeline.crashed(delivery, error)

    def _note(self, position: int, settlement: Settlement) -> None:
        match settlement:
            case Acknowledge():
                self._done.add(position)
            case Release(delivery, after_seconds) if _in_order(delivery):
                self._blocked_groups.setdefault(str(delivery.group), after_seconds)
        self._settlements[position] = settlement


def _in_order(delivery: Delivery) -> bool:
    return delivery.group is not None and is_ordered(delivery.queue)


def _in_one_group(one: Delivery, other: Delivery) -> bool:
    """Whether two records, or twice the same record, have to be run one after the other."""
    return one is other or (_in_order(one) and one.group == other.group)


_SETTLED: Final = {
    Acknowledge: "deleted before a task that may end the function",
    DeadLetter: "dead-lettered",
    Release: "given its own visibility timeout",
}


def _log_refused(settlement: Settlement, error: Exception) -> None:
    delivery = settlement.delivery
    logger.error(
        "message %s of queue %r could not be %s; it comes back after the queue's visibility timeout: %s",
        delivery.message_id,
        delivery.queue,
        _SETTLED[type(settlement)],
        error,
        exc_info=None if isinstance(error, TaskQError) else error,
        extra={"action": "lambda.settle_failed", "queue": delivery.queue, "message_id": delivery.message_id},
    )
