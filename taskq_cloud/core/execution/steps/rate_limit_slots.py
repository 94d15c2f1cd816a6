"""The slots of a rate-limited task while its message waits: where they are kept, and how the message is put back.

===================  ==================================================  ==========================================
queue                how the message is put back                         where its slots are kept
===================  ==================================================  ==========================================
with delays          sent again with an eta, the old one acknowledged:   in a header; a message that is delivered
                     no receive is used up                               again takes new slots, as it may have run
parking              released until then, which uses up a receive;       in a record, removed when the task runs;
                     sent again at once, before too many are used up     in a header, once it is sent again
ordered              released until then: it keeps its place, and uses   in a record, removed when the task runs
                     up receives
===================  ==================================================  ==========================================

A message that is sent again begins to count its receives again. Receives caused by a crashed worker are carried over.
Otherwise a rate limit would keep a task that kills its workers out of the dead-letter queue for ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass, field, replace
from taskq_cloud.core.model.capabilities import BrokerCapabilities, is_ordered
from taskq_cloud.core.model.message import Acknowledge, Message, Release, Settlement
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.workflows.planner import RESENT, Successor

SLOTS: Final = "taskq_rate_slots"
"""The header of a message that was put back: its slots by key, and the id and the attempt of its task, because a task
may hand headers on to other tasks."""
STATE: Final = "RATE_LIMITED"
"""The state of the record that keeps the slots where the message can't."""

_KEPT_LONGER_SECONDS: Final = 3600
_USED_AT_MOST: Final = 0.5
"""The part of a message's receives that may go into putting it back; the rest is for workers that die."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The slots and counts that belong to a message that was put back.

    Args:
        slots: key -> time of the slot, in seconds since the epoch.
        releases: how often the message was released to wait for its slots.
        failures: the receives that were used up otherwise, before the message was sent again.
    """

    slots: Mapping[str, float] = field(default_factory=dict)
    releases: int = 0
    failures: int = 0


class SlotKeeper:
    """Keeps the slots of one delivery's message."""

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        # The broker's own capabilities: a push endpoint sends a message again where a worker would give it back.
        broker: BrokerCapabilities = context.environment.outbox.capabilities
        queue, message = context.delivery.queue, context.message
        self._in_records = is_ordered(queue) or broker.parks(queue, 0) or not broker.counts_receives
        self._releases_count = broker.waiting_uses_receives(queue)
        self._record_id = f"taskq-slots-{message.id}-{message.attempt}"
        self._has_record = False
        self._kept = _read(message.headers.get(SLOTS), message)

    def load(self) -> Flow[dict[str, float]]:
        """Read the slots that the message has: key -> time of the slot, in seconds since the epoch."""
        if not self._context.delivery.redelivered and (self._releases_count or not self._in_records):
            return dict(self._kept.slots)
        self._kept = _Kept(failures=self._kept.failures)
        if not self._in_records:
            return {}
        found = yield from self._context.environment.store.load([self._record_id])
        self._has_record = self._record_id in found
        if self._has_record:
            document = _json_object(found[self._record_id].payload)
            # If a worker sent the message again and died before the acknowledgement, one of the two has the slots.
            if not self._context.delivery.counted or document.get("message_id") == self._context.delivery.message_id:
                self._kept = _read(document, self._context.message)
        return dict(self._kept.slots)

    def put_back(self, slots: Mapping[str, float], due: float, good_for_seconds: float) -> Flow[Settlement]:
        """Put the message back, to come again at the time of its slot.

        Args:
            slots: the slots that the message has.
            due: the time of the first slot that is still ahead.
            good_for_seconds: how long a slot can be used.
        """
        context, delivery, capabilities = self._context, self._context.delivery, self._context.capabilities
        wait_seconds = due - context.now
        parks = capabilities.parks(delivery.queue, wait_seconds)
        worn_out = self.failures >= context.environment.policy.max_receives
        released = is_ordered(delivery.queue) or worn_out or (parks and not self._used_up)
        if self._in_records and (released or not delivery.counted):
            kept = _Kept(slots, self._kept.releases + self._releases_count, self._kept.failures)
            document = {**self._document(kept), "message_id": delivery.message_id}
            expires_at = due + good_for_seconds + _KEPT_LONGER_SECONDS
            record = Record(self._record_id, STATE, 0, json.dumps(document), expires_at)
            yield from context.environment.store.save([record])
        else:
            yield from self.forget()
        if released:
            after_seconds = max(0.0, min(wait_seconds, capabilities.longest_lease_seconds))
            return Release(delivery, after_seconds, counts=self._releases_count)
        yield from self._send_again(slots, due, parks=parks)
        return Acknowledge(delivery)

    def forget(self) -> Flow[None]:
        """Remove the record before the run. A message that is delivered once more must not run on the same slots."""
        if self._has_record:
            yield from self._context.environment.store.delete([self._record_id])

    def _send_again(self, slots: Mapping[str, float], due: float, *, parks: bool) -> Flow[None]:
        # If the acknowledgement fails, this message may run first. Then the new one has to ask the store. A parked
        # message has no eta that would make it ask, so a header does.
        header = {SLOTS: self._document(_Kept(slots, failures=self.failures)), **({RESENT: True} if parks else {})}
        message = self._context.message
        again = replace(
            self._context,
            message=replace(
                message,
                # A parked message is given back until the time of its slot, which may be further ahead than an eta.
                eta=message.eta if parks else datetime.fromtimestamp(due, UTC),
                headers={**message.headers, **header},
            ),
        )
        # The new message is sent in the context of this message, so that it keeps the attributes.
        yield from again.send(again.address([Successor(again.message, again.delivery.queue)]))

    @property
    def failures(self) -> int:
        """The receives that did not put the message back."""
        return self._kept.failures + max(0, self._context.delivery.receive_count - 1 - self._kept.releases)

    @property
    def _used_up(self) -> bool:
        """Whether putting the message back has used up its share of receives; uncounted receives never run out."""
        delivery, most = self._context.delivery, self._context.environment.policy.max_receives
        return delivery.counted and delivery.receive_count > most * _USED_AT_MOST

    def _document(self, kept: _Kept) -> dict[str, Any]:
        message = self._context.message
        counts = {"releases": kept.releases, "failures": kept.failures}
        return {"id": message.id, "attempt": message.attempt, "slots": dict(kept.slots), **counts}


def _read(kept: Any, message: Message) -> _Kept:
    """Read a header or a record; empty if it belongs to another task or attempt, or can't be read."""
    match kept:
        case {"id": message.id, "attempt": message.attempt, "slots": dict(slots)}:
            return _Kept(
                {key: slot for key, slot in slots.items() if isinstance(slot, float)},
                _count(kept.get("releases")),
                _count(kept.get("failures")),
            )
    return _Kept()


def _json_object(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
