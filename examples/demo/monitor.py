"""Monitors the calls: reads results and queues until every call is accounted for, or no more outcomes can come."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.infrastructure.interface import QUEUES
from demo.workload import SentCall
from taskq_cloud import TaskQ
from taskq_cloud.adapters import DEAD_LETTER_REASON, dead_letter_queue

FINAL_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED"})

PAUSE_SECONDS = 0.5
EMPTY_SNAPSHOTS = 3
"""Queues count as empty after this many empty snapshots in a row, because the counts of SQS are approximate."""

DEAD_LETTER_LEASE_SECONDS = 3600
"""The lease on a dead letter: longer than the demo runs, if the broker allows it, so that it is read only once."""


@dataclass(frozen=True)
class Outcome:
    """The stored result of a call."""

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
class Snapshot:
    """The state of all calls at one moment.

    Args:
        sent: the calls.
        outcomes: task id -> outcome, for calls that have one.
        dead_letters: the messages in the dead-letter queues.
        idle: whether the queues are empty, so that no more outcomes will come.
        seconds: the time since the calls were sent.
    """

    sent: Sequence[SentCall]
    outcomes: Mapping[str, Outcome]
    dead_letters: Sequence[DeadLetter]
    idle: bool
    seconds: float

    def is_done(self, sent: SentCall) -> bool:
        """Return whether a call has its final state."""
        outcome = self.outcomes.get(sent.id)
        return outcome is not None and outcome.state in FINAL_STATES

    def missing(self, unreadable: Sequence[str]) -> list[str]:
        """Return the calls without a final state, and the unreadable messages, that are not dead-lettered either."""
        bodies = [letter.body for letter in self.dead_letters if letter.reason]
        calls = [sent for sent in self.sent if not self.is_done(sent) and not any(sent.id in body for body in bodies)]
        return [f"{each.call.task.name}[{each.id}]" for each in calls] + [
            f"message {body!r}" for body in unreadable if body not in bodies
        ]

    def unexpected(self) -> list[str]:
        """Return a description of each call whose outcome is not the expected one."""
        pairs = [(each, self.outcomes[each.id]) for each in self.sent if self.is_done(each)]
        return [
            f"{sent.call.task.name}{sent.call.args} ended in {outcome.state} ({outcome.error}) after "
            f"{outcome.attempts} attempts; expected: {sent.call.state} ({sent.call.error}) after {sent.call.attempts}"
            for sent, outcome in pairs
            if (outcome.state, outcome.error, outcome.attempts)
            != (sent.call.state, sent.call.error, sent.call.attempts)
        ]


class Monitor:
    """Takes snapshots of the calls. Dead letters are read but not removed, as an operator would do it.

    Args:
        app: an application of the demo's own, whose requests are not counted.
        sent: the calls.
        unreadable: the bodies of messages that must reach a dead-letter queue.
        prefix: the prefix of queue names at the broker.
    """

    def __init__(self, app: TaskQ, sent: Sequence[SentCall], unreadable: Sequence[str], prefix: str) -> None:
        self._app = app
        self._sent = sent
        self._unreadable = unreadable
        self._prefix = prefix
        self._outcomes: dict[str, Outcome] = {}
        self._dead_letters: dict[str, DeadLetter] = {}
        self._began = time.monotonic()

    def snapshots(self, deadline: float) -> Iterator[Snapshot]:
        """Yield snapshots until nothing is missing, the queues stay empty, or the deadline has come.

        Args:
            deadline: the time at which to give up, by ``time.monotonic()``.
        """
        empty, began = 0, 0.0
        snapshot: Snapshot | None = None
        while snapshot is None or (
            snapshot.missing(self._unreadable) and not snapshot.idle and time.monotonic() + PAUSE_SECONDS < deadline
        ):
            if snapshot is not None:
                # Object stores need a request for each result, so half of the time is left to the shop.
                time.sleep(max(PAUSE_SECONDS, time.monotonic() - began))
            began = time.monotonic()
            # Queues are read before results: a message leaves its queue only after its result is stored, so the
            # results of all messages that have left the queues are seen.
            empty = empty + 1 if self._queues_are_empty() else 0
            self._read_results()
            self._read_dead_letters()
            seconds = time.monotonic() - self._began
            dead_letters, idle = list(self._dead_letters.values()), empty >= EMPTY_SNAPSHOTS
            snapshot = Snapshot(self._sent, dict(self._outcomes), dead_letters, idle, seconds)
            yield snapshot

    def _queues_are_empty(self) -> bool:
        depths = [self._app.run(self._app.broker.depth(queue)) for queue in QUEUES]
        # The depth is None if the broker counts no messages; then a lost call is only noticed at the deadline.
        return all(depth is not None and depth.total == 0 for depth in depths)

    def _read_results(self) -> None:
        open_ids = [
            sent.id
            for sent in self._sent
            if sent.id not in self._outcomes or self._outcomes[sent.id].state not in FINAL_STATES
        ]
        records = self._app.run(self._app.store.load(open_ids))
        self._outcomes |= {task_id: Outcome.of(record.payload) for task_id, record in records.items()}

    def _read_dead_letters(self) -> None:
        for queue in QUEUES:
            dead = dead_letter_queue(queue)
            for delivery in self._app.run(self._app.broker.receive(dead, 10, 0, DEAD_LETTER_LEASE_SECONDS)):
                reason = delivery.attributes.get(DEAD_LETTER_REASON, "")
                self._dead_letters[delivery.message_id] = DeadLetter(self._prefix + dead, delivery.body, reason)
