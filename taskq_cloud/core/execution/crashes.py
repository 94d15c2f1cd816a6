"""Crashes: a message on which the pipeline itself fails is given back until its receives run out, then dead-lettered.

The pipeline has an answer to any message and any task, so a crash is a fault of this package, of an adapter or of the
platform. It must delay this one message only, and it must come to an end whatever its cause is. So must a message that
this worker's settings, or a stored document, keep from its end: the next worker's may not.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.execution import outcomes
from taskq_cloud.core.execution.context import DeliveryContext, PipelineFlow, logger
from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.model.message import DeadLetter, Delivery, Release, Settlement
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.errors import DecodeError, OperationalError

FIRST_DELAY_SECONDS: Final = 10
MOST_COUNTED: Final = 1000
"""Messages whose crashes are counted in this process, because their broker doesn't count receives."""


@dataclass(frozen=True, slots=True)
class Crashes:
    """The crashes of one pipeline.

    Args:
        most_receives: the number of receives after which a message is dead-lettered.
    """

    most_receives: int
    _counts: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def settlement(self, delivery: Delivery, error: Exception) -> Release | DeadLetter:
        """Log a crash, and decide what becomes of the message."""
        receives = self._receives(delivery)
        extra = {"action": "message.crashed", "queue": delivery.queue, "message_id": delivery.message_id}
        text = "message %s of queue %s could not be processed because of a fault in taskq_cloud, and is %s; report it"
        if receives < self.most_receives:
            after = growing_delay(receives, FIRST_DELAY_SECONDS, outcomes.LONGEST_RELEASE_SECONDS)
            what = f"given back for {after:.0f} s"
            logger.error(text, delivery.message_id, delivery.queue, what, exc_info=error, extra=extra)
            return Release(delivery, after)
        logger.error(text, delivery.message_id, delivery.queue, "dead-lettered", exc_info=error, extra=extra)
        return DeadLetter(delivery, f"{text_of(error)} (a fault in taskq_cloud, met on each of {receives} receives)")

    def last_hindrance(self, context: DeliveryContext, error: Exception) -> str | None:
        """The reason for dead-lettering a message that settings or a stored document keep from its end.

        None: it is to be given back, as its receives have not run out, or the error may pass.

        Args:
            context: the task's, or that of a message that can't be read.
            error: says what is wrong, and the way out; a ``DecodeError`` is of a stored record.
        """
        if isinstance(error, OperationalError):
            return None
        receives = self._receives(context.delivery)
        if receives < self.most_receives or not context.delivery.queued:  # the caller of a function is told
            return None
        context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered after %d receives: %s", receives, error)
        way_out = "to run the task, forget its result" if isinstance(error, DecodeError) else "mend the cause"
        return f"{text_of(error)} (on each of {receives} receives; {way_out} and redrive the message)"

    def settle(self, context: DeliveryContext, error: Exception) -> PipelineFlow[Settlement]:
        """Decide what becomes of a message that could be read; if it is dead-lettered, its task has failed.

        Args:
            context: the task's.
            error: the crash.
        """
        settlement = self.settlement(context.delivery, error)
        if isinstance(settlement, DeadLetter):
            return (yield from self.dead_letter(context, error, settlement.reason))
        return settlement

    def dead_letter(self, context: DeliveryContext, error: Exception, reason: str) -> PipelineFlow[Settlement]:
        """Dead-letter a message, and record as far as possible that its task has failed."""
        from taskq_cloud.core.execution.steps import dead_letters  # few messages are dead-lettered

        try:
            yield from outcomes.record_dead_letter(context, ErrorInfo.of(error))
        except Exception as failure:
            context.log(logging.ERROR, "task.state_not_recorded", "FAILURE not recorded: %r", failure)
        return dead_letters.dead_letter(context, reason)

    def _receives(self, delivery: Delivery) -> int:
        return delivery.receive_count if delivery.counted else self._count(delivery.message_id)

    def _count(self, message_id: str) -> int:
        count = self._counts.pop(message_id, 0) + 1
        self._counts[message_id] = count
        if len(self._counts) > MOST_COUNTED:
            self._counts.popitem(last=False)
        return count


def text_of(error: Exception) -> str:
    """The class and the text of an error, for a reason; an error may quote characters that UTF-8 can't encode."""
    return f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
