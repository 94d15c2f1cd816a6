"""The order of a batch of which some records may have ended an earlier invocation, and must not take the others along.

A task that ends its process (out of memory, a crash in C, a time limit that can't be enforced) ends the invocation, and
all records of the batch come back. Nothing says which of them it was. This much can be known:

- A record that comes for the first time has ended nothing yet.
- A task is noted before its second run and each later one (``core.execution.steps.receives``). A note without an end
  makes its record a suspect.
- A first run is not noted. The invocation ran the records in their order, though, so the records behind the one that
  ended it had not begun. On the next receive they come first: records are run in reverse order on every even receive.

So suspects run last, and before each record that was received before is run, the others are settled as far as they
are done (``sqs_batch``). Of several suspects, one is run in an invocation, and the others are given back to come alone.
A record that has only its last but one receive left counts as a suspect once its batch has one, so that no invocation
ends before each record has had one of its own. A suspect on its last receive is not run any more: the pipeline records
its failure. A group of an ordered queue keeps its order, and comes as late as its most suspicious record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum
from typing import Final, TypeAlias

from taskq_cloud.core.execution.steps import receives
from taskq_cloud.core.execution.steps.receives import Notes
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.ports import ResultStore

APART_SECONDS: Final = 2
"""The time between two suspects that are given back. A poller receives all messages that it finds at once."""


class _Rank(IntEnum):
    NOT_RUN = 0
    LAST_CHANCE = 1
    FIRST_RECEIVE = 2
    RECEIVED_BEFORE = 3
    TO_BE_ALONE = 4
    SUSPECT = 5


_Key: TypeAlias = tuple[_Rank, int, int, int]
"""The place of a record in its batch: its rank, and what decides among records of one rank."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The order of a batch.

    Args:
        stages: the positions of the records. One stage is run after the other. The parts of a stage may be run side by
            side, each part in its order.
        alone: the positions of which an invocation runs only one.
        suspects: the positions of records that may have ended an earlier invocation.
    """

    stages: Sequence[Sequence[Sequence[int]]]
    alone: Collection[int] = ()
    suspects: Collection[int] = ()

    @property
    def order(self) -> list[int]:
        """The positions of the records, in the order of a function that runs one after the other."""
        return [position for stage in self.stages for part in stage for position in part]


def notes_of_all(store: ResultStore, deliveries: Mapping[int, Delivery]) -> Flow[dict[int, Notes]]:
    """Load the notes that the earlier receives of records have left.

    Args:
        store: the application's result store.
        deliveries: the records' deliveries, by position.
    """
    ids = [note_id for each in deliveries.values() for note_id in receives.note_ids(each)]
    if not ids or not store.capabilities.remembers:
        return {}
    found = yield from store.load(ids)
    return {position: receives.notes_of(each, found) for position, each in deliveries.items()}


def first_plan(deliveries: Mapping[int, Delivery], *, side_by_side: bool) -> Plan:
    """The plan of a batch whose records all come for the first time."""
    ordered = side_by_side and any(is_ordered(each.queue) for each in deliveries.values())
    return Plan([_groups(deliveries) if ordered else [[position] for position in deliveries]])


def plan(deliveries: Mapping[int, Delivery], notes: Mapping[int, Notes], most_receives: int) -> Plan:
    """Decide the order of a batch.

    Args:
        deliveries: the records' deliveries, by position.
        notes: the notes of each record, by position; see ``notes_of_all``.
        most_receives: the number of receives after which a message is given up.
    """
    unended = {position: sum(state == receives.BEGUN for state in found.values()) for position, found in notes.items()}
    suspected = any(runs and deliveries[position].receive_count < most_receives for position, runs in unended.items())
    keys: dict[int, _Key] = {}
    for position, delivery in deliveries.items():
        count, runs = delivery.receive_count, unended.get(position, 0)
        if runs:
            given_up = receives.is_given_up(count, notes[position], most_receives)
            rank = _Rank.NOT_RUN if given_up else _Rank.SUSPECT
        elif count == 1:
            rank = _Rank.FIRST_RECEIVE
        elif count >= most_receives:
            rank = _Rank.LAST_CHANCE
        else:
            rank = _Rank.TO_BE_ALONE if suspected and count == most_receives - 1 else _Rank.RECEIVED_BEFORE
        backwards = count % 2 == 0 and not is_ordered(delivery.queue)
        keys[position] = rank, runs, -count, -position if backwards else position
    return Plan(
        stages=_stages(deliveries, keys),
        alone=[position for position, key in keys.items() if key[0] >= _Rank.TO_BE_ALONE],
        suspects=[position for position, key in keys.items() if key[0] == _Rank.SUSPECT],
    )


def _stages(deliveries: Mapping[int, Delivery], keys: Mapping[int, _Key]) -> list[list[list[int]]]:
    stages: list[list[list[int]]] = []
    together = False
    for part in sorted(_groups(deliveries), key=lambda part: max(keys[each] for each in part)):
        first = all(keys[each][0] == _Rank.FIRST_RECEIVE for each in part)
        if first and together:
            stages[-1].append(part)
        else:
            stages.append([part])
        together = first
    return stages


def _groups(deliveries: Mapping[int, Delivery]) -> list[list[int]]:
    """The positions of records that have to be run one after the other."""
    groups: dict[tuple[str, str | None] | int, list[int]] = {}
    for position, delivery in deliveries.items():
        group = (delivery.queue, delivery.group) if is_ordered(delivery.queue) else position
        groups.setdefault(group, []).append(position)
    return [*groups.values()]
