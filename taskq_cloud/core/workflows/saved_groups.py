"""Lists of a group's tasks in the result store, for ``GroupResult.restore`` and for chords.

For Celery's chords, only such a list names the members; our own chords need one if many ids were given.

A group is written as Celery writes it in JSON: ``[[id, parent], [member, ...]]``. A member that is a task has None
in place of the list of its members. ``results`` makes results from a list, and ``execution.steps.chords`` values.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, Final, TypeAlias

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, PENDING, Record
from taskq_cloud.core.workflows.signatures import SAVED_CHORD
from taskq_cloud.core.workflows.stages import MOST_NESTED, MOST_TASKS
from taskq_cloud.errors import DecodeError

PAGE_MEMBERS: Final = 2000
"""The members of a saved group in one record: half of the number that DynamoDB's largest item could hold."""

Group: TypeAlias = Sequence[Any]
"""A group as ``[[id, parent], members]``."""


@dataclass(frozen=True, slots=True)
class PageOfGroup:
    """A page of a group's members.

    Args:
        group: the whole group.
        number: the number of the page, from 0.
        due: the time at which the group's last task is due, in seconds since the epoch.
    """

    group: Group
    number: int
    due: float = 0

    def record(self, now: float) -> Record:
        """The record of the page; it is kept for longer than any queue keeps a member's message."""
        return self.kept_until(max(now, self.due) + FENCE_KEPT_SECONDS, now)

    def kept_until(self, expires_at: float | None, now: float) -> Record:
        """The record of the page.

        Args:
            expires_at: when the record expires, in seconds since the epoch; None: never.
            now: the time, in seconds since the epoch.
        """
        (group_id, parent), members = self.group
        content = [[group_id, parent], members[self.number * PAGE_MEMBERS : (self.number + 1) * PAGE_MEMBERS]]
        key = _key(group_id, self.number)
        text = document.encode(Message(task="", id=key), PENDING, serializers.dumps(content), now=now)
        return Record(key, PENDING, 0, text, expires_at)


def pages(group: Group, due: float = 0) -> list[PageOfGroup]:
    """Divide a group into the pages that are stored; ``due`` is the time at which its last task is due."""
    return [PageOfGroup(group, number, due) for number in range(_pages(len(group[1])))]


def pages_of_tasks(group_id: str, task_ids: Iterable[str], due: float) -> list[PageOfGroup]:
    """The pages of a group whose members are tasks, of which the last is due at ``due``."""
    return pages(group_of_tasks(group_id, task_ids), due)


def group_of_tasks(group_id: str, task_ids: Iterable[str]) -> Group:
    """Make a group whose members are tasks."""
    return [[group_id, None], [[[task_id, None], None] for task_id in task_ids]]


def save(store: ResultStore, group: Group, expires_at: float | None) -> Flow[None]:
    """Save a group.

    Args:
        store: the result store.
        group: the group.
        expires_at: when the group expires, in seconds since the epoch; None: never.
    """
    now = time.time()
    yield from store.save([page.kept_until(expires_at, now) for page in pages(group)])


def load(store: ResultStore, group_id: str) -> Flow[Group | None]:
    """Read a group; None if it was not saved, or has expired.

    Raises:
        DecodeError: the record isn't a group's, or the group nests too deeply or has more than ``MOST_TASKS`` members.
    """
    members: list[Any] = []
    parent: Any = None
    for page in count():
        key = _key(group_id, page)
        found = yield from store.load([key])
        if key not in found:
            if page == 0:
                return None
            break
        parent, members_of_page = _page(group_id, document.decode(found[key].payload).get("result"))
        members += members_of_page
        if len(members) > MOST_TASKS:
            raise DecodeError(f"the saved group {group_id} has more than {MOST_TASKS} members")
        if len(members_of_page) < PAGE_MEMBERS:
            break
    return [[group_id, parent], members]


def _page(group_id: str, content: Any) -> tuple[Any, list[Any]]:
    """The parent and the members in a record, which may be anyone's."""
    match content:
        case [[str(), parent], [*members]]:
            left, depth = members, 0
            while left:
                if depth > MOST_NESTED:
                    raise DecodeError(f"the saved group {group_id} nests too deeply")
                inner: list[Any] = []
                for member in left:
                    match member:
                        case [[str(), *_], None]:
                            pass
                        case [[str(), *_], [*inside]]:
                            inner += inside
                        case _:
                            raise DecodeError(f"this isn't a member of the saved group {group_id}: {member!r:.100}")
                left, depth = inner, depth + 1
            return parent, members
    raise DecodeError(f"this isn't the record of a saved group: {content!r:.200}")


def delete(store: ResultStore, group_id: str, size: int) -> Flow[None]:
    """Remove a group.

    Args:
        store: the result store.
        group_id: the group's id.
        size: how many members the group has.
    """
    yield from store.delete([_key(group_id, page) for page in range(_pages(size))])


def leaves(group: Group) -> Iterator[str]:
    """The ids of a group's tasks in order, including the tasks of groups inside it."""
    for member in group[1]:
        if member[1] is None:
            yield member[0][0]
        else:
            yield from leaves(member)


def counting_options(group: Group) -> dict[str, Any]:
    """The options of a chord's body by which every member, who carries the body, is counted.

    Args:
        group: the header, which is saved.
    """
    members = list(leaves(group))
    options: dict[str, Any] = {"chord_size": len(members), SAVED_CHORD: group[0][0]}
    if any(member[1] is not None for member in group[1]):
        # The tasks of a group in the header count from 0 again, so these members are recognised by their ids.
        options["chord_ids"] = {str(index): task_id for index, task_id in enumerate(members)}
    return options


def nest(group: Group, values: Iterator[Any]) -> list[Any]:
    """Arrange values in lists that are nested as the group is.

    Args:
        group: the group.
        values: one value for each task, in the order of ``leaves``.
    """
    return [next(values) if member[1] is None else nest(member, values) for member in group[1]]


def _pages(size: int) -> int:
    return max(1, -(-size // PAGE_MEMBERS))


def _key(group_id: str, page: int) -> str:
    return f"taskset-{group_id}" + (f"-{page}" if page else "")
