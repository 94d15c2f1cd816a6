"""Which tasks a group is, kept in a result store: for ``GroupResult.restore``, and for chords.

Of Celery's chords it is all that says who their members are; of ours, where many members have ids of their own.

A group is Celery's tuple of it as JSON, ``[[id, parent], [member, ...]]``, where a member that is a task has None in
place of members of its own. What results and values are made of it is ``result_set``'s and ``joins``' part.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeAlias

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, PENDING, Record

PAGE_MEMBERS: Final = 2000
"""Members of a saved group in one record: half of what DynamoDB's items take."""

Group: TypeAlias = Sequence[Any]
"""``[[id, parent], members]``."""


@dataclass(frozen=True, slots=True)
class PageOfGroup:
    """Some of a group's members, as they are kept.

    Args:
        group: the group.
        number: which page.
    """

    group: Group
    number: int

    def record(self, now: float) -> Record:
        """It, kept for longer than any queue keeps the message of a member."""
        return self.kept_until(now + FENCE_KEPT_SECONDS, now)

    def kept_until(self, expires_at: float | None, now: float) -> Record:
        """It, kept for as long as it is told."""
        (group_id, parent), members = self.group
        content = [[group_id, parent], members[self.number * PAGE_MEMBERS : (self.number + 1) * PAGE_MEMBERS]]
        key = _key(group_id, self.number)
        text = document.encode(Message(task="", id=key), PENDING, serializers.dumps(content), now=now)
        return Record(key, PENDING, 0, text, expires_at)


def pages(group: Group) -> list[PageOfGroup]:
    """All of a group, as it is kept."""
    return [PageOfGroup(group, number) for number in range(_pages(len(group[1])))]


def of_tasks(group_id: str, task_ids: Iterable[str]) -> Group:
    """A group of tasks."""
    return [[group_id, None], [[[task_id, None], None] for task_id in task_ids]]


def save(store: ResultStore, group: Group, expires_at: float | None) -> Flow[None]:
    """Keep a group.

    Args:
        store: where.
        group: the group.
        expires_at: when it ceases to exist, in seconds since the epoch; None: never.
    """
    now = time.time()
    yield from store.save([page.kept_until(expires_at, now) for page in pages(group)])


def load(store: ResultStore, group_id: str) -> Flow[Group | None]:
    """Read a group; None where it was not saved, or has expired."""
    members: list[Any] = []
    parent: Any = None
    for page in count():
        key = _key(group_id, page)
        found = yield from store.load([key])
        if key not in found:
            if page == 0:
                return None
            break
        (_, parent), of_page = document.decode(found[key].payload)["result"]
        members += of_page
        if len(of_page) < PAGE_MEMBERS:
            break
    return [[group_id, parent], members]


def delete(store: ResultStore, group_id: str, size: int) -> Flow[None]:
    """Remove a group of so many members."""
    yield from store.delete([_key(group_id, page) for page in range(_pages(size))])


def leaves(group: Group) -> Iterator[str]:
    """The ids of its tasks, those of groups in it too, in their order."""
    for member in group[1]:
        if member[1] is None:
            yield member[0][0]
        else:
            yield from leaves(member)


def nest(group: Group, values: Iterator[Any]) -> list[Any]:
    """Values in the order of ``leaves``, in lists as the group has groups."""
    return [next(values) if member[1] is None else nest(member, values) for member in group[1]]


def _pages(size: int) -> int:
    return max(1, -(-size // PAGE_MEMBERS))


def _key(group_id: str, page: int) -> str:
    return f"taskset-{group_id}" + (f"-{page}" if page else "")
