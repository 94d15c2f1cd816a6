"""Where the slots of a rate-limited task are kept while its message waits, and how it is put back: for ``rate_limits``.

===================  ==================================================  ==========================================
queue                how it is put back                                  where its slots are kept
===================  ==================================================  ==========================================
with delays          sent again with an eta, the old one acknowledged:   in a header; one that is delivered again
                     no receive is used up                               takes new slots, as it may have run on them
parking              released until then, which uses up a receive;       in a record, removed when the task runs;
                     sent again at once, before too many are             of what was sent again in a header
ordered              released until then: it keeps its place, and uses   in a record, removed when the task runs
                     up receives
===================  ==================================================  ==========================================

A message that is sent again begins to count its receives anew. Those of them that were no putting back (its worker
died) go along, so that a task which kills whoever runs it isn't kept from the dead-letter queue by its rate limit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Acknowledge, Message, Release, Settlement
from taskq_cloud.core.ports import BrokerCapabilities, is_ordered
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.workflows.planner import RESENT, Successor

SLOTS: Final = "taskq_rate_slots"
"""The header of a message that was put back: key -> slot, and whose they are, as a task may hand its headers on."""
STATE: Final = "RATE_LIMITED"
"""Of the record that keeps the slots where the message itself can't."""

_KEPT_LONGER_SECONDS: Final = 3600
_USED_AT_MOST: Final = 0.5
"""What part of a message's receives may go into putting it back: the others are for workers that die."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What a message that was put back has with it.

    Args:
        slots: key -> time.
        releases: how often it was released for its slots.
        failures: how many receives were used up otherwise, before it was sent again.
    """

    slots: Mapping[str, float] = field(default_factory=dict)
    releases: int = 0
    failures: int = 0


class Keeper:
    """Keeps the slots of one delivery's message."""

    def __init__(self, effects: DeliveryContext) -> None:
        self._effects = effects
        # Of the broker itself: whoever answers a push sends a message again that others would give back.
        broker: BrokerCapabilities = effects.environment.broker.capabilities
        queue, message = effects.delivery.queue, effects.message
        self._in_records = is_ordered(queue) or broker.parks(queue, 0) or not broker.counts_receives
        self._record_id = f"taskq-slots-{message.id}-{message.attempt}"
        self._has_record = False
        self._held = _read(message.headers.get(SLOTS), message)

    def load(self) -> Flow[dict[str, float]]:
        """The slots that the message holds: key -> time."""
        if not self._effects.delivery.redelivered:
            return dict(self._held.slots)
        self._held = _Held(failures=self._held.failures)
        if not self._in_records:
            return {}
        found = yield from self._effects.environment.store.load([self._record_id])
        self._has_record = self._record_id in found
        if self._has_record:
            document = json.loads(found[self._record_id].payload)
            # Sent again by one that died before it was acknowledged, there are two messages, and one has the slots.
            if not self._effects.delivery.counted or document.get("message_id") == self._effects.delivery.message_id:
                self._held = _read(document, self._effects.message)
        return dict(self._held.slots)

    def put_back(self, slots: Mapping[str, float], due: float, good_for_seconds: float) -> Flow[Settlement]:
        """Put the message back, to come again when its slot does.

        Args:
            slots: what it holds.
            due: when the first of them comes that is not there yet.
            good_for_seconds: how long a slot can be used.
        """
        effects, delivery, capabilities = self._effects, self._effects.delivery, self._effects.capabilities
        wait_seconds = due - effects.environment.clock()
        parks = capabilities.parks(delivery.queue, wait_seconds)
        worn_out = self._failures >= effects.environment.policy.max_receives
        released = is_ordered(delivery.queue) or worn_out or (parks and not self._used_up)
        if self._in_records and (released or not delivery.counted):
            held = _Held(slots, self._held.releases + 1, self._held.failures)
            document = {**self._document(held), "message_id": delivery.message_id}
            expires_at = due + good_for_seconds + _KEPT_LONGER_SECONDS
            record = Record(self._record_id, STATE, 0, json.dumps(document), expires_at)
            yield from effects.environment.store.save([record])
        else:
            yield from self.forget()
        if released:
            return Release(delivery, max(0.0, min(wait_seconds, capabilities.longest_lease_seconds)))
        # Not acknowledged, this message may run before the new one comes, which has no eta to have it ask the store.
        header = {SLOTS: self._document(_Held(slots, failures=self._failures)), **({RESENT: True} if parks else {})}
        message = replace(
            effects.message,
            # Where it is parked, whoever receives it gives it back until its slot, which may be farther than an eta.
            eta=effects.message.eta if parks else datetime.fromtimestamp(due, UTC),
            headers={**effects.message.headers, **header},
        )
        # About this very message: it keeps its attributes.
        again = replace(effects, message=message)
        yield from again.send(again.address([Successor(message, delivery.queue)]))
        return Acknowledge(delivery)

    def forget(self) -> Flow[None]:
        """Before the run: were it delivered once more, the message would run twice on the same slots."""
        if self._has_record:
            yield from self._effects.environment.store.delete([self._record_id])

    @property
    def _failures(self) -> int:
        """Receives that were no putting back."""
        return self._held.failures + max(0, self._effects.delivery.receive_count - 1 - self._held.releases)

    @property
    def _used_up(self) -> bool:
        """Whether the message has used up what it may of its receives; where nobody counts, they don't run out."""
        delivery, most = self._effects.delivery, self._effects.environment.policy.max_receives
        return delivery.counted and delivery.receive_count > most * _USED_AT_MOST

    def _document(self, held: _Held) -> dict[str, Any]:
        message = self._effects.message
        counts = {"releases": held.releases, "failures": held.failures}
        return {"id": message.id, "attempt": message.attempt, "slots": dict(held.slots), **counts}


def _read(held: Any, message: Message) -> _Held:
    """What a header or a record says; nothing where it is another task's or attempt's, or anything else."""
    match held:
        case {"id": message.id, "attempt": message.attempt, "slots": dict(slots)}:
            return _Held(
                {key: slot for key, slot in slots.items() if isinstance(slot, float)},
                _count(held.get("releases")),
                _count(held.get("failures")),
            )
    return _Held()


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
