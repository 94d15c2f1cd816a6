"""Ports that wait by themselves: a store and an outbox that repeat a failed operation while an outage lasts.

They serve a run that is over, whose effects are still to be recorded and sent. Running the task again would cost more
than waiting, so an operation is repeated until the policy's patience ends. Before a run, the message is given back at
once instead: the pipeline uses the plain store there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, Protocol, TypeVar, cast

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.flows import Compute, Flow, Sleep, Together
from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.messages.sending import Addressed, Outbox
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.ports import ResultStore, SavesTogether
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.serializers.compression import QUICK_CHARACTERS
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, StoreNotFound, Unreachable

T = TypeVar("T")

FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 15
TEMPORARY: Final = (Unreachable, AccessDenied, StoreNotFound, QueueNotFound)
"""Errors that may end while a run waits: an outage, an expired token, a missing permission, a missing table."""


class Log(Protocol):
    """Logs a line about the task: level, ``action``, text and its values."""

    def __call__(self, level: int, action: str, text: str, *values: object) -> None:
        """Log the line."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """Repeats a failed operation for a limited time.

    Args:
        seconds: the time after which the error is raised.
        clock: seconds since the epoch, for the times of schedules.
        log: logs each repetition.
    """

    seconds: float
    clock: Callable[[], float]
    log: Log

    def repeat(self, operation: Callable[[], Flow[T]]) -> Flow[T]:
        """Repeat an operation while its error may pass; raises the last error when patience is over."""
        left_seconds = self.seconds
        for attempt in count(1):
            began_at = time.monotonic()  # nobody sets this clock
            try:
                return (yield from operation())
            except TEMPORARY as error:
                wait_seconds = growing_delay(attempt, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
                left_seconds -= time.monotonic() - began_at + wait_seconds
                if left_seconds < 0:
                    raise
                text = "can't be finished yet, because one of its effects failed; next attempt in %.1f s: %s"
                self.log(logging.WARNING, "task.effect_repeated", text, wait_seconds, error)
                yield Sleep(wait_seconds)
        raise AssertionError("count() has no end")


@dataclass(frozen=True, slots=True)
class PatientStore:
    """The operations of a result store that follow a run; see ``ResultStore`` for each.

    Args:
        store: the store.
        patience: how long an operation is repeated.
        offload: whether ``load`` yields ``Compute`` for records whose decoding would keep an event loop busy.
    """

    store: ResultStore
    patience: Patience
    offload: bool = False

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records.

        Raises:
            DecodeError: a large record, which is decoded here, isn't a result document.
        """
        found = yield from self.patience.repeat(partial(self.store.load, ids))
        if self.offload:
            for task_id, record in found.items():
                if len(record.payload) > QUICK_CHARACTERS:
                    content = yield Compute(partial(document.decode, record.payload))
                    found[task_id] = replace(record, document=content)
        return found

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records, each by its condition."""
        return self.patience.repeat(partial(self.store.save, records))

    def save_one(self, record: Record, *, last: bool = False) -> Flow[bool]:
        """Write one record, together with those of other flows if the store gains by that.

        Args:
            record: the record.
            last: whether nothing but the acknowledgement follows in the flow if the record is written.
        """
        return self.patience.repeat(partial(self._save_one, record, last))

    def _save_one(self, record: Record, last: bool) -> Flow[bool]:
        if self.store.capabilities.saves_together:
            saved: bool = yield Together(cast("SavesTogether", self.store).save_each, record, last)
        else:
            (saved,) = yield from self.store.save([record])
        return saved

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        return self.patience.repeat(partial(self.store.delete, ids))

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member of a join."""
        return self.patience.repeat(partial(self.store.join, join_id, member, size, expires_at))

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Claim a lock."""
        return self.patience.repeat(partial(self.store.claim, key, owner, ttl_seconds))


@dataclass(frozen=True, slots=True)
class PatientOutbox:
    """An outbox that sends all messages or raises.

    Args:
        outbox: the outbox.
        patience: how long sending is repeated. Sending a message twice does no harm: its id is made from its parent's.
    """

    outbox: Outbox
    patience: Patience

    def send(self, addressed: Sequence[Addressed]) -> Flow[None]:
        """Send messages.

        Raises:
            OperationalError: one of them was not accepted; sending all of them again does no harm.
        """
        return self.patience.repeat(partial(self._send, addressed))

    def _send(self, addressed: Sequence[Addressed]) -> Flow[None]:
        now = self.patience.clock()
        passed = [each.schedule for each in addressed if each.schedule and each.schedule.at <= now]
        if passed:
            raise OperationalError(f"{passed[0].description}: the time of its schedule passed before it was accepted")
        for answer in (yield from self.outbox.send(addressed)):
            if isinstance(answer, Refused):
                raise answer.error
