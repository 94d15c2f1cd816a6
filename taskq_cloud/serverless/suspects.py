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
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from taskq_cloud.core.execution.steps import receives
from taskq_cloud.core.flows import Flow
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
        order: the positions of the records, in the order in which they are to be run.
        alone: the positions of which an invocation runs only one.
        suspects: the positions of records that may have ended an earlier invocation.
    """

    order: Sequence[int]
    alone: Collection[int] = ()
    suspects: Collection[int] = ()


def unended_runs(store: ResultStore, deliveries: Mapping[int, Delivery]) -> Flow[dict[int, int]]:
    """Count the runs of each record that have begun on an earlier receive and never ended.

    Args:
        store: the application's result store.
        deliveries: the records' deliveries, by position.
    """
    notes = {note: position for position, each in deliveries.items() for note in receives.note_ids(each)}
    counts: dict[int, int] = {}
    if notes and store.capabilities.keeps_records:
        for note, record in (yield from store.load([*notes])).items():
            if record.state == receives.BEGUN:
                counts[notes[note]] = counts.get(notes[note], 0) + 1
    return counts


def plan(deliveries: Mapping[int, Delivery], unended: Mapping[int, int], most_receives: int) -> Plan:
    """Decide the order of a batch.

    Args:
        deliveries: the records' deliveries, by position.
        unended: the runs of each record that never ended, by position; see ``unended_runs``.
        most_receives: the number of receives after which a message is given up.
    """
    suspected = any(deliveries[position].receive_count < most_receives for position in unended)
    keys: dict[int, _Key] = {}
    for position, delivery in deliveries.items():
        count, runs = delivery.receive_count, unended.get(position, 0)
        if runs:
            rank = _Rank.NOT_RUN if count >= most_receives else _Rank.SUSPECT
        elif count == 1:
            rank = _Rank.FIRST_RECEIVE
        elif count >= most_receives:
            rank = _Rank.LAST_CHANCE
        else:
            rank = _Rank.TO_BE_ALONE if suspected and count == most_receives - 1 else _Rank.RECEIVED_BEFORE
        backwards = count % 2 == 0 and not is_ordered(delivery.queue)
        keys[position] = rank, runs, -count, -position if backwards else position
    return Plan(
        order=_in_order_of_groups(deliveries, keys),
        alone=[position for position, key in keys.items() if key[0] >= _Rank.TO_BE_ALONE],
        suspects=[position for position, key in keys.items() if key[0] == _Rank.SUSPECT],
    )


def _in_order_of_groups(deliveries: Mapping[int, Delivery], keys: Mapping[int, _Key]) -> list[int]:
    together: dict[tuple[str, str | None] | int, list[int]] = {}
    for position, delivery in deliveries.items():
        key = (delivery.queue, delivery.group) if is_ordered(delivery.queue) else position
        together.setdefault(key, []).append(position)
    by_suspicion = sorted(together.values(), key=lambda positions: max(keys[each] for each in positions))
    return [position for positions in by_suspicion for position in positions]
