"""The statements that settle deliveries of the PostgreSQL broker, or extend their leases, in one transaction.

They change nothing if a message has been delivered again, or settled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from taskq_cloud.brokers._postgresql_statements import Statements, array_of
from taskq_cloud.core.model.capabilities import dead_letter_queue, is_ordered
from taskq_cloud.core.model.message import (
    DEAD_LETTER_REASON,
    DEAD_LETTER_SOURCE,
    Acknowledge,
    DeadLetter,
    Delivery,
    Release,
    Settlement,
)

_Statements: TypeAlias = list[tuple[str, dict[str, Any]]]


def statements(sql: Statements, settlements: Sequence[Settlement]) -> _Statements:
    """The statements for settlements of any queues."""
    found: _Statements = []
    done = [each.delivery for each in settlements if isinstance(each, Acknowledge)]
    released = [each for each in settlements if isinstance(each, Release)]
    dead = [each for each in settlements if isinstance(each, DeadLetter)]
    if done:
        found.append((sql.acknowledge, _receipts(done)))
    if released:
        parameters = {
            **_receipts(each.delivery for each in released),
            "delays": array_of(float(each.after_seconds) for each in released),
            "taken_back": array_of(int(not each.counts) for each in released),
        }
        found.append((sql.release, parameters))
    groups = _groups((each.delivery.queue, each.delivery) for each in settlements)
    if dead:
        targets = [(dead_letter_queue(each.delivery.queue), each.delivery) for each in dead]
        parameters = {
            **_receipts(each.delivery for each in dead),
            "queues": array_of(queue for queue, _ in targets),
            "attributes": array_of(_attributes(each) for each in dead),
        }
        found.append((sql.dead_letter, parameters))
        entered = _groups(targets)
        groups |= entered
        if entered:
            delays = array_of([0] * len(entered))
            found.insert(0, (sql.enter_groups, {**_columns(entered), "delays": delays}))
    return _in_groups(sql, groups, found)


def extension(sql: Statements, deliveries: Sequence[Delivery], lease_seconds: float) -> _Statements:
    """The statements that extend leases; the one that does so answers with the receipts."""
    groups = _groups((each.queue, each) for each in deliveries)
    return _in_groups(sql, groups, [(sql.extend, {**_receipts(deliveries), "seconds": lease_seconds})])


def _in_groups(sql: Statements, groups: set[tuple[str, str]], found: _Statements) -> _Statements:
    """Lock the groups of messages before statements that change the messages, and set the groups' times after them."""
    if not groups:
        return found
    columns = _columns(groups)
    return [(sql.lock_groups, columns), *found, (sql.set_times_of_given, columns)]


def _groups(deliveries: Iterable[tuple[str, Delivery]]) -> set[tuple[str, str]]:
    return {(queue, each.group) for queue, each in deliveries if is_ordered(queue) and each.group is not None}


def _columns(groups: set[tuple[str, str]]) -> dict[str, Any]:
    in_order = sorted(groups)
    return {"queues": array_of(queue for queue, _ in in_order), "groups": array_of(group for _, group in in_order)}


def _receipts(deliveries: Iterable[Delivery]) -> dict[str, Any]:
    parts = [each.receipt.partition(".") for each in deliveries]
    return {
        "sequences": array_of(int(sequence) for sequence, _, _ in parts),
        "leases": array_of(int(lease) for _, _, lease in parts),
    }


def _attributes(settlement: DeadLetter) -> str:
    delivery = settlement.delivery
    attributes = {**delivery.attributes, DEAD_LETTER_REASON: settlement.reason, DEAD_LETTER_SOURCE: delivery.queue}
    return json.dumps(attributes)
