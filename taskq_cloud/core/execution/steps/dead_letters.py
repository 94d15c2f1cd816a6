"""Dead letters, and the mark by which a message that an operator has moved back is told from any other copy.

A redriven message starts afresh: the FAILURE that was recorded for it is removed, and a periodic task's rules for late
calls don't hold. A message attribute says so, which everyone who can write to the queue could add. So in an application
that signs messages, the worker that dead-letters a message adds the attribute ``dead_letter_signature``, a seal of the
task's id and the time (``core.security.signing``). It is good for the failures before that time only.
"""

from __future__ import annotations

import math
from typing import Final

from taskq_cloud.core.execution import hooked_deliveries
from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, DEAD_LETTER_SEAL, DeadLetter, Message
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import SecurityError

CLOCKS_DIFFER_SECONDS: Final = 60
"""The assumed difference between the clocks of the worker that recorded a failure and the one that sealed the mark."""

UNPROVEN: Final = (
    "SecurityError: the message has a dead_letter_reason that no worker has signed for this failure, so its task was "
    "not run again; to run it all the same, forget the task's result and redrive the message"
)


def dead_letter(context: DeliveryContext, reason: str) -> DeadLetter:
    """Settle a delivery with a dead letter that is recognised when it is moved back.

    Args:
        context: the context of a message whose id can be trusted.
        reason: why it is dead-lettered.
    """
    delivery, message = context.delivery, context.message
    hooked_deliveries.tell(context, "task_rejected", reason)
    seal = None if message.unsigned else context.outbox.codec.seal(_statement(message))
    # A mark of an earlier time is removed. The new one comes first, as brokers limit the number of attributes.
    others = {name: value for name, value in delivery.attributes.items() if name != DEAD_LETTER_SEAL}
    attributes = others if seal is None else {DEAD_LETTER_SEAL: seal, **others}
    return DeadLetter(replace(delivery, attributes=attributes), reason)


def redriven_at(context: DeliveryContext) -> float | None:
    """When a redriven message was dead-lettered, in seconds since the epoch; None: the message isn't redriven.

    Infinite in an application without signatures, where the time isn't known.
    """
    attributes = context.delivery.attributes
    if DEAD_LETTER_REASON not in attributes:
        return None
    try:
        sealed_at = context.outbox.codec.sealed_at(_statement(context.message), attributes.get(DEAD_LETTER_SEAL))
    except SecurityError:
        return None
    return math.inf if sealed_at is None else sealed_at


def is_redriven(context: DeliveryContext, failure: Record) -> bool:
    """Whether the message was dead-lettered for a failure that is recorded, and not for an earlier one."""
    redriven, done = redriven_at(context), document.date_done(document.of(failure))
    if redriven is None or done is None:
        return redriven is not None
    return done.timestamp() <= redriven + CLOCKS_DIFFER_SECONDS


def _statement(message: Message) -> dict[str, str]:
    return {"kind": DEAD_LETTER_REASON, "id": message.id}
