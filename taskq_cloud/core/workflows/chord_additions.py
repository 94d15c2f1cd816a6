"""What a task adds to the chord it is a member of (``self.add_to_chord``), and where all of that is counted.

The number of a chord's members is fixed, and each of them carries it. So what a member adds is counted in its place: in
a join of its own, of the member and all that it adds, and only when that is complete has the place's member arrived.
Added tasks may add in their turn. What was added stands in the member's record, with its value: a member that was done
already sends it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.workflows import planner, successors
from taskq_cloud.core.workflows.chord_members import Membership, Place, places
from taskq_cloud.core.workflows.planner import Origin, Successor
from taskq_cloud.core.workflows.signatures import CHORD_PLACES, parse, to_signature
from taskq_cloud.core.workflows.stages import set_on_last

LAZY: Final = "lazy"
"""The key of what was added to be sent by the task itself: its id."""


def with_id(message: Message, signature: Signature, before: Sequence[Signature]) -> tuple[str, Signature]:
    """What is added as it is kept: it ends in a task, whose id is made from the adding task's and from what it says.

    Args:
        message: of the task that adds.
        signature: what it adds.
        before: what it has added before.
    """
    line = planner.ending_in_a_task(parse(signature))
    own_id = getattr(line[-1], "id", None)
    task_id = own_id or derived_id(message.id, f"added {_digest(signature)}", len(before))
    return task_id, to_signature(set_on_last(line, {"task_id": task_id}))


def lazily(message: Message, task_id: str, signature: Signature, before: Sequence[Signature]) -> Signature:
    """What is added as the task itself may send it: with its place in the chord."""
    member = successors.membership(message)
    assert member is not None  # the task has looked
    path = _beside_lazy(message, member, before).path
    return to_signature(
        set_on_last(parse(signature), _place(message, member, (Place(_pair(message, task_id), "1", 2), *path)))
    )


def of(message: Message, added: Sequence[Signature], origin: Origin) -> Iterator[Successor]:
    """The messages of what a task has added, once it has succeeded."""
    member, sent = successors.membership(message), _sent(added)
    if member is None:
        return
    path = _beside_lazy(message, member, added).path
    for index, signature in enumerate(sent):
        place = _place(message, member, (*places(_join(message, added), index + 1, len(sent) + 1), *path))
        line = set_on_last(parse(signature), place)
        yield from planner.start(planner.fix(line, str(line[-1].id)), (), {}, origin)


def own_place(message: Message, member: Membership, added: Sequence[Signature]) -> Membership:
    """Where a task arrives that has succeeded and has added this."""
    member, sent = _beside_lazy(message, member, added), _sent(added)
    if not sent:
        return member
    return replace(member, path=(*places(_join(message, added), 0, len(sent) + 1), *member.path))


def ids(added: Iterable[Signature]) -> Iterator[str]:
    """The ids of what was added: those whose values the chord's body gets."""
    for each in added:
        yield each[LAZY] if LAZY in each else str(parse(each)[-1].id)


def _beside_lazy(message: Message, member: Membership, added: Sequence[Signature]) -> Membership:
    path = member.path
    for each in added:
        if LAZY in each:
            # Each for itself, of two: it may be sent before it is known how many there will be.
            path = (Place(_pair(message, each[LAZY]), "0", 2), *path)
    return replace(member, path=path)


def _place(message: Message, member: Membership, path: Sequence[Place]) -> dict[str, Any]:
    chord: Mapping[str, Any] = message.embed.chord or {}
    options = {**(chord.get("options") or {}), CHORD_PLACES: [[each.join, each.member, each.size] for each in path]}
    return {"group_id": message.group, "group_index": member.index, "chord": {**chord, "options": options}}


def _sent(added: Sequence[Signature]) -> list[Signature]:
    return [each for each in added if LAZY not in each]


def _join(message: Message, added: Sequence[Signature]) -> str:
    # Of what is added, too: a second run of the task that adds something else counts something else.
    return derived_id(message.id, f"additions {_digest(list(added))}")


def _pair(message: Message, task_id: str) -> str:
    return derived_id(message.id, f"added {task_id}")


def _digest(value: Any) -> str:
    return hashlib.sha256(serializers.dumps(value).encode()).hexdigest()
