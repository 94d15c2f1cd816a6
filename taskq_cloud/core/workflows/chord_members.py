"""The place of a task in a chord's header, read from the task's message, where ``planner`` or Celery has written it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.option_values import LARGEST_NUMBER
from taskq_cloud.core.model.validation import identifier
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.workflows import chord_life
from taskq_cloud.core.workflows.planner import member_id, with_ids
from taskq_cloud.core.workflows.signatures import CHORD_PLACES, SAVED_CHORD, parse
from taskq_cloud.core.workflows.stages import Stages
from taskq_cloud.errors import ImproperlyConfigured

SHARD_MEMBERS: Final = 200
"""The most members of one join; larger headers have several joins, which are joined. DynamoDB charges an update by the
size of the item."""

_NO_JOINS: Final = (
    "a chord needs a result store that counts its members, and {} doesn't: set TASKQ_RESULTS, for example "
    "dynamodb://my-table"
)


def check_store_counts_members(store: ResultStore) -> None:
    """Check that a result store can count a chord's members.

    Raises:
        ImproperlyConfigured: the store can't count them; the error names the setting.
    """
    if not (store.capabilities.joins and store.capabilities.keeps_records):
        raise ImproperlyConfigured(_NO_JOINS.format(type(store).__name__))


@dataclass(frozen=True, slots=True)
class JoinPlace:
    """A member's place in a join.

    Args:
        join: the join's id.
        member: the member's number in the join, from "0" on.
        size: how many members the join has.
    """

    join: str
    member: str
    size: int


def join_places(join: str, index: int, size: int) -> tuple[JoinPlace, ...]:
    """The places at which a member arrives, each once the one before is complete.

    A member of a large join arrives in its shard first. The shard then arrives in the join itself.

    Args:
        join: the join's id.
        index: the member's index.
        size: how many members there are.
    """
    shard, shards = index // SHARD_MEMBERS, -(-size // SHARD_MEMBERS)
    if shards <= 1:
        return (JoinPlace(join, str(index), size),)
    shard_size = min(SHARD_MEMBERS, size - shard * SHARD_MEMBERS)
    return JoinPlace(f"{join}/{shard}", str(index % SHARD_MEMBERS), shard_size), JoinPlace(join, str(shard), shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A task's place in a chord's header, as the task's message describes it.

    Args:
        group: the header's id.
        index: the task's index in the header.
        size: how many members the header has.
        chord: the signature of the chord's body.
        own_ids: index -> id of the members whose ids were given and are not derived from the header's id.
        saved: the store lists the members (``saved_groups``): Celery has made the chord, or many members have given
            ids.
        due: the time at which the last member is due, in seconds since the epoch; None: the chord doesn't say it.
        path: the joins in which the task arrives before it arrives in the header: it was added to the chord, or has
            added tasks to it.
    """

    group: str
    index: int
    size: int
    chord: Signature
    own_ids: Mapping[str, str]
    saved: bool = False
    due: float | None = None
    path: tuple[JoinPlace, ...] = ()

    @property
    def name(self) -> str:
        """A name that no other task of the chord has."""
        return f"{self.index}" + (f"/{self.path[0].join}/{self.path[0].member}" if self.path else "")

    @classmethod
    def read(cls, group: object, index: object, chord: Signature, task_id: str | None = None) -> Membership:
        """Read a place from the parts of a message.

        Args:
            group: the message's group id.
            index: the message's index in its group.
            chord: the signature of the chord's body.
            task_id: the task's id, which finds its index if Celery may have made the chord.

        Raises:
            TypeError, ValueError, LookupError, AttributeError: a part has the wrong type or value.
        """
        options = chord.get("options") or {}
        size, own_ids = options.get("chord_size"), options.get("chord_ids") or {}
        saved = SAVED_CHORD in options
        if saved:
            # A group inside the header has its own id, and its tasks have indexes in that group.
            group = options[SAVED_CHORD]
            index = next((int(place) for place, own_id in own_ids.items() if own_id == task_id), index)
        if not (
            isinstance(size, int)
            and isinstance(index, int)
            and isinstance(group, str)
            and 0 <= index < size < LARGEST_NUMBER
        ):
            raise ValueError(
                f"this isn't a place in a chord: group {group!r:.100}, index {index!r:.100}, size {size!r:.100}"
            )
        identifier("its group", group)
        own_ids = {str(place): str(own_id) for place, own_id in own_ids.items()}
        path = tuple(_read_join_place(*each) for each in options.get(CHORD_PLACES) or ())
        return cls(
            group=group,
            index=index,
            size=size,
            chord=chord,
            own_ids=own_ids,
            saved=saved,
            due=chord_life.read_due(chord),
            path=path,
        )

    def body(self) -> Stages:
        """Read the stages of the chord's body, which may be long: only the member that ends the chord needs them.

        Raises:
            InvalidTaskError: the body isn't a workflow.
            TypeError, ValueError, LookupError, AttributeError: a part of the body has the wrong type or value.
        """
        return with_ids(parse(self.chord), derived_id(self.group, "body"))

    def ids(self) -> Iterator[str]:
        """The ids of all members, in the header's order."""
        for index in range(self.size):
            yield self.own_ids.get(str(index)) or member_id(self.group, index)


def _read_join_place(join: object, member: object, size: object) -> JoinPlace:
    if not (isinstance(join, str) and isinstance(member, str) and isinstance(size, int) and 0 < size < LARGEST_NUMBER):
        raise ValueError(f"this isn't a place in a join: {join!r:.100}, {member!r:.100}, {size!r:.100}")
    identifier("its join", join)
    # Version 0.1 numbered the members of a shard as those of the header: 200 to 399 in the second shard.
    number = int(member) if int(member) < size else int(member) % SHARD_MEMBERS
    if not 0 <= number < size:
        raise ValueError(f"a join of {size} members has no member {member:.100}")
    return JoinPlace(join, str(number), size)


def is_sized(chord: Signature) -> bool:
    """Whether a chord's body says how many members the header has; Celery's own chords don't."""
    return "chord_size" in (chord.get("options") or {})
