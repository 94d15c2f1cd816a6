"""A task's place in a chord's header, read from its message: what ``planner`` or Celery has written there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.validation import text_bytes
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.workflows.planner import fix, member_id
from taskq_cloud.core.workflows.signatures import CHORD_PLACES, SAVED_CHORD, parse
from taskq_cloud.core.workflows.stages import Stages
from taskq_cloud.errors import ImproperlyConfigured

SHARD_MEMBERS: Final = 200
"""Members of one join; of more, joins are joined. DynamoDB charges an update by the size of the item."""


_NO_JOINS: Final = (
    "a chord needs a result store that counts its members, and {} doesn't: set TASKQ_RESULTS, for example "
    "dynamodb://my-table"
)


def check_store_counts_members(store: ResultStore) -> None:
    """Whether a result store can count a chord's members; raises ``ImproperlyConfigured``."""
    if not (store.capabilities.joins and store.capabilities.keeps_records):
        raise ImproperlyConfigured(_NO_JOINS.format(type(store).__name__))


@dataclass(frozen=True, slots=True)
class Place:
    """One place in one join: whose id it is, which member arrives there, how many there are."""

    join: str
    member: str
    size: int


def places(join: str, index: int, size: int) -> tuple[Place, ...]:
    """Where a member arrives, one after the other as each is complete: in its shard of a large join, then in that."""
    shard, shards = index // SHARD_MEMBERS, -(-size // SHARD_MEMBERS)
    if shards <= 1:
        return (Place(join, str(index), size),)
    of_shard = min(SHARD_MEMBERS, size - shard * SHARD_MEMBERS)
    return Place(f"{join}/{shard}", str(index), of_shard), Place(join, str(shard), shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A task's place in a chord's header, as its message has it.

    Args:
        group: the header's id.
        index: the task's place.
        size: how many there are.
        chord: what it waits to run, as it is written.
        own_ids: of members whose ids are not made from the group's, by place.
        saved: the store says which they are (``saved_groups``): Celery has made the chord, or many have own ids.
        path: where it arrives before its place in the header is taken: it was added to it, or has added to it.
    """

    group: str
    index: int
    size: int
    chord: Signature
    own_ids: Mapping[str, str]
    saved: bool = False
    path: tuple[Place, ...] = ()

    @property
    def name(self) -> str:
        """What tells it from all others that may arrive."""
        return f"{self.index}" + (f"/{self.path[0].join}/{self.path[0].member}" if self.path else "")

    @classmethod
    def of(cls, group: Any, index: Any, chord: Signature, task_id: str | None = None) -> Membership:
        """Read it.

        Args:
            group: of the message.
            index: likewise.
            chord: the body.
            task_id: the member's, where the chord may be Celery's.

        Raises:
            TypeError, ValueError, LookupError, AttributeError: it makes no sense.
        """
        options = chord.get("options") or {}
        size, own_ids = options.get("chord_size"), options.get("chord_ids") or {}
        saved = SAVED_CHORD in options
        if saved:
            # A group inside the header has an id of its own, and its tasks indexes of their own.
            group = options[SAVED_CHORD]
            index = next((int(place) for place, own_id in own_ids.items() if own_id == task_id), index)
        if not (isinstance(size, int) and isinstance(index, int) and 0 <= index < size and isinstance(group, str)):
            raise ValueError(f"no place in a chord: group {group!r:.100}, index {index!r:.100}, size {size!r:.100}")
        text_bytes("its group", group)
        own_ids = {str(place): str(own_id) for place, own_id in own_ids.items()}
        path = tuple(_place(*each) for each in options.get(CHORD_PLACES) or ())
        return cls(group=group, index=index, size=size, chord=chord, own_ids=own_ids, saved=saved, path=path)

    def body(self) -> Stages:
        """What the chord waits to run, read: as long as what is left of a workflow, and so for the last member only.

        Raises:
            InvalidTaskError: it is no workflow.
            TypeError, ValueError, LookupError, AttributeError: it makes no sense.
        """
        return fix(parse(self.chord), derived_id(self.group, "body"))

    def ids(self) -> Iterator[str]:
        """The ids of all members, in their order."""
        for index in range(self.size):
            yield self.own_ids.get(str(index)) or member_id(self.group, index)


def _place(join: Any, member: Any, size: Any) -> Place:
    if not (isinstance(join, str) and isinstance(member, str) and isinstance(size, int) and size > 0):
        raise ValueError(f"no place in a join: {join!r:.100}, {member!r:.100}, {size!r:.100}")
    text_bytes("its join", join + member)
    return Place(join, member, size)


def is_sized(chord: Signature) -> bool:
    """Whether a chord says how many members it has: Celery's don't."""
    return "chord_size" in (chord.get("options") or {})
