"""The tasks that a member of a chord adds to it (``self.add_to_chord``): their messages, and the joins that count them.

The number of a chord's members is fixed, and each member carries it. So additions are counted in the place of the
member that adds: in a join of that member and all that it adds. Once that join is complete, the member itself counts as
arrived. Added tasks can add further tasks. The additions are in the member's record, next to its value: a member that
has ended already sends them again when its message is delivered again.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.workflows import planner, successors
from taskq_cloud.core.workflows.chord_members import JoinPlace, Membership, join_places
from taskq_cloud.core.workflows.planner import Origin, Successor
from taskq_cloud.core.workflows.signatures import CHORD_PLACES, parse, to_signature
from taskq_cloud.core.workflows.stages import set_on_last
from taskq_cloud.errors import DecodeError, SecurityError

ADDED: Final = "added"
"""The key of a record's additions."""
SEAL: Final = "added_signature"
"""The key of their seal: a redelivered member sends what its record holds, so in an application that signs messages the
additions are signed too. Whoever can write to the result store could otherwise have any task sent."""
LAZY: Final = "lazy"
"""The key of an addition that the task sends itself (``lazy=True``): the value is the added task's id."""


def with_id(message: Message, signature: Signature, before: Sequence[Signature]) -> tuple[str, Signature]:
    """Complete the signature of an addition: it has to end in a task, and that task needs an id.

    Args:
        message: the message of the task that adds.
        signature: the signature that the task adds.
        before: the signatures that it has added before.

    Returns:
        The id, which is derived from the adding task's id and from the signature, and the signature with it.
    """
    stages = planner.ending_in_a_task(parse(signature))
    own_id = getattr(stages[-1], "id", None)
    task_id = own_id or derived_id(message.id, f"added {_digest(signature)}", len(before))
    return task_id, to_signature(set_on_last(stages, {"task_id": task_id}))


def with_place(message: Message, task_id: str, signature: Signature, before: Sequence[Signature]) -> Signature:
    """Give an addition its place in the chord, for a task that sends it itself.

    Args:
        message: the message of the task that adds.
        task_id: the id of the added task.
        signature: the signature that the task adds, with that id.
        before: the signatures that it has added before.
    """
    member = successors.membership(message)
    assert member is not None  # the task has checked this
    path = (JoinPlace(_pair_id(message, task_id), "1", 2), *_after_lazy_additions(message, member, before).path)
    return to_signature(set_on_last(parse(signature), _place_options(message, member, path)))


def messages(message: Message, added: Sequence[Signature], origin: Origin) -> Iterator[Successor]:
    """The messages of the additions of a task that has succeeded.

    Args:
        message: the task's message.
        added: the signatures that it has added.
        origin: the origin of the messages.
    """
    member, sent = successors.membership(message), _not_lazy(added)
    if member is None:
        return
    path = _after_lazy_additions(message, member, added).path
    for index, signature in enumerate(sent):
        own_places = join_places(_join_id(message, added), index + 1, len(sent) + 1)
        options = _place_options(message, member, (*own_places, *path))
        stages = set_on_last(parse(signature), options)
        yield from planner.start(planner.with_ids(stages, str(stages[-1].id)), (), {}, origin)


def own_place(message: Message, member: Membership, added: Sequence[Signature]) -> Membership:
    """The place at which a task that has added signatures arrives once it has succeeded.

    Args:
        message: the task's message.
        member: its place in the chord.
        added: the signatures that it has added.
    """
    member, sent = _after_lazy_additions(message, member, added), _not_lazy(added)
    if not sent:
        return member
    return replace(member, path=(*join_places(_join_id(message, added), 0, len(sent) + 1), *member.path))


def added_ids(added: Iterable[Signature]) -> Iterator[str]:
    """The ids of added tasks, whose values the chord's body gets."""
    for each in added:
        added_id = each[LAZY] if LAZY in each else parse(each)[-1].id
        if not isinstance(added_id, str):
            raise TypeError(f"this isn't the id of an added task: {added_id!r:.100}")
        yield added_id


def seal_statement(task_id: str, added: Sequence[Signature]) -> dict[str, str]:
    """The statement that is signed about a task's additions."""
    return {"kind": ADDED, "id": task_id, "digest": _digest(list(added))}


def read(task_id: str, result: Mapping[str, Any], codec: Codec) -> tuple[list[Signature], bool]:
    """Read the additions in a task's result document.

    Args:
        task_id: the task's id.
        result: the document.
        codec: the application's.

    Returns:
        The additions, and whether they are signed as the application asks for. False: they are accepted nevertheless,
        while signing is being introduced.

    Raises:
        SecurityError: the application signs messages, and the additions aren't signed or were altered.
        DecodeError: the additions can't be read.
    """
    added = result.get(ADDED)
    if not added:
        return [], True
    try:
        sealed_at = codec.sealed_at(seal_statement(task_id, added), result.get(SEAL))
        deque(added_ids(added), maxlen=0)
    except SecurityError as error:
        raise SecurityError(f"task {task_id}: the tasks that its record adds to its chord: {error}") from None
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise DecodeError(
            f"task {task_id}: the tasks that its record adds to its chord can't be read: {error}"
        ) from None
    return list(added), sealed_at is not None or codec.security is None or codec.security.signing is None


def _after_lazy_additions(message: Message, member: Membership, added: Sequence[Signature]) -> Membership:
    """The place of a member that first arrives in a join with each of its lazy additions.

    Each of these is counted in a join of two, as it may be sent before the number of additions is known.
    """
    path = member.path
    for each in added:
        if LAZY in each:
            path = (JoinPlace(_pair_id(message, each[LAZY]), "0", 2), *path)
    return replace(member, path=path)


def _place_options(message: Message, member: Membership, path: Sequence[JoinPlace]) -> dict[str, Any]:
    """The options that give an added task its place in the chord."""
    chord: Mapping[str, Any] = message.embed.chord or {}
    options = {**(chord.get("options") or {}), CHORD_PLACES: [[each.join, each.member, each.size] for each in path]}
    return {"group_id": message.group, "group_index": member.index, "chord": {**chord, "options": options}}


def _not_lazy(added: Sequence[Signature]) -> list[Signature]:
    return [each for each in added if LAZY not in each]


def _join_id(message: Message, added: Sequence[Signature]) -> str:
    # The id depends on the additions, too, so that a second run that adds something else counts in another join.
    return derived_id(message.id, f"additions {_digest(list(added))}")


def _pair_id(message: Message, task_id: str) -> str:
    return derived_id(message.id, f"added {task_id}")


def _digest(value: Any) -> str:
    return hashlib.sha256(serializers.dumps(value).encode()).hexdigest()
