"""What has become of the calls: looks at results and queues until every call is accounted for, or no more can be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.infrastructure.places import QUEUES
from demo.workload import SentCall
from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import DEAD_LETTER_REASON
from taskq_cloud.core.ports import dead_letter_queue
from taskq_cloud.core.records.record import READY_STATES

LOOK_SECONDS = 0.5
EMPTY_LOOKS = 3
"""SQS's counts are approximate: queues are taken for empty when they look so this often, one after the other."""

DEAD_LETTER_LEASE_SECONDS = 3600
"""Longer than the demo runs, where the broker allows it: dead letters are read once."""


@dataclass(frozen=True)
class Outcome:
    """What the result store says of a call."""

    state: str
    attempts: int
    worker: str
    error: str | None
    result: Any
    done_at: float | None

    @classmethod
    def of(cls, payload: str) -> Outcome:
        """Read a result document."""
        document = json.loads(payload)
        done, result = document["date_done"], document["result"]
        return cls(
            state=document["status"],
            attempts=document["retries"] + 1,
            worker=document["worker"],
            error=result["exc_type"] if document["status"] in ("FAILURE", "RETRY", "REVOKED") else None,
            result=result,
            done_at=datetime.fromisoformat(done).timestamp() if done else None,
        )


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead-letter queue."""

    queue: str
    body: str
    reason: str


@dataclass(frozen=True)
class View:
    """How things stand at one moment.

    Args:
        sent: the calls.
        outcomes: task id -> what its result says, as far as there is one.
        dead_letters: what is in the dead-letter queues.
        idle: the queues hold nothing any more, so that nothing more will come.
        seconds: since the calls were sent.
    """

    sent: Sequence[SentCall]
    outcomes: Mapping[str, Outcome]
    dead_letters: Sequence[DeadLetter]
    idle: bool
    seconds: float

    def is_done(self, sent: SentCall) -> bool:
        """Whether a call has its final state."""
        outcome = self.outcomes.get(sent.id)
        return outcome is not None and outcome.state in READY_STATES

    def missing(self, unreadable: Sequence[str]) -> list[str]:
        """Calls without a final state, and unreadable messages, that are in no dead-letter queue either."""
        bodies = [letter.body for letter in self.dead_letters if letter.reason]
        calls = [sent for sent in self.sent if not self.is_done(sent) and not any(sent.id in body for body in bodies)]
        return [f"{each.call.task.name}[{each.id}]" for each in calls] + [
            f"message {body!r}" for body in unreadable if body not in bodies
        ]

    def surprises(self) -> list[str]:
        """Calls that came to something else than they must have."""
        pairs = [(each, self.outcomes[each.id]) for each in self.sent if self.is_done(each)]
        return [
            f"{sent.call.task.name}{sent.call.args} was {outcome.state} ({outcome.error}) after {outcome.attempts} "
            f"attempts, and not {sent.call.state} ({sent.call.error}) after {sent.call.attempts}"
            for sent, outcome in pairs
            if (outcome.state, outcome.error, outcome.attempts)
            != (sent.call.state, sent.call.error, sent.call.attempts)
        ]


class Watch:
    """Looks again and again. Dead letters stay where they are, as they would for an operator.

    Args:
        app: an application of the demo's own, whose calls go past the call counters.
        sent: the calls.
        unreadable: bodies of the messages that must come to a dead-letter queue.
        prefix: what a queue's name begins with at the broker.
    """

    def __init__(self, app: TaskQ, sent: Sequence[SentCall], unreadable: Sequence[str], prefix: str) -> None:
        self._app = app
        self._sent = sent
        self._unreadable = unreadable
        self._prefix = prefix
        self._outcomes: dict[str, Outcome] = {}
        self._dead_letters: dict[str, DeadLetter] = {}
        self._began = time.monotonic()

    def looks(self, deadline: float) -> Iterator[View]:
        """Views, until nothing is missing, the queues stay empty, or the deadline (``time.monotonic()``) has come."""
        empty_looks, look_began = 0, 0.0
        view: View | None = None
        while view is None or (
            view.missing(self._unreadable) and not view.idle and time.monotonic() + LOOK_SECONDS < deadline
        ):
            if view is not None:
                # Object stores answer for one result at a time: half of their time is the shop's.
                time.sleep(max(LOOK_SECONDS, time.monotonic() - look_began))
            look_began = time.monotonic()
            # The queues first: a message leaves its queue last, so that what is in none by now is in the results.
            empty_looks = empty_looks + 1 if self._queues_are_empty() else 0
            self._read_results()
            self._read_dead_letters()
            seconds = time.monotonic() - self._began
            dead_letters, idle = list(self._dead_letters.values()), empty_looks >= EMPTY_LOOKS
            view = View(self._sent, dict(self._outcomes), dead_letters, idle, seconds)
            yield view

    def _queues_are_empty(self) -> bool:
        depths = [self._app.run(self._app.broker.depth(queue)) for queue in QUEUES]
        # None from a broker that counts no messages: then only the deadline ends the wait for a call that is lost.
        return all(depth is not None and depth.total == 0 for depth in depths)

    def _read_results(self) -> None:
        open_ids = [
            sent.id
            for sent in self._sent
            if sent.id not in self._outcomes or self._outcomes[sent.id].state not in READY_STATES
        ]
        records = self._app.run(self._app.store.load(open_ids))
        self._outcomes |= {task_id: Outcome.of(record.payload) for task_id, record in records.items()}

    def _read_dead_letters(self) -> None:
        for queue in QUEUES:
            dead = dead_letter_queue(queue)
            for delivery in self._app.run(self._app.broker.receive(dead, 10, 0, DEAD_LETTER_LEASE_SECONDS)):
                reason = delivery.attributes.get(DEAD_LETTER_REASON, "")
                self._dead_letters[delivery.message_id] = DeadLetter(self._prefix + dead, delivery.body, reason)
