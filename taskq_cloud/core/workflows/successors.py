"""What follows a task, as messages: the retry, the callbacks, the next of a chain, the errbacks.

Ids are made from the parent's, so that sending the same successor twice is sending the same task twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.outcome import Retrying
from taskq_cloud.core.workflows import planner, signatures
from taskq_cloud.core.workflows.chord_members import Membership, is_sized
from taskq_cloud.core.workflows.planner import Origin, Successor
from taskq_cloud.core.workflows.stages import Stages, TaskStage
from taskq_cloud.errors import InvalidTaskError

if TYPE_CHECKING:  # few groups are kept in pages
    from taskq_cloud.core.workflows.group_pages import Paging

_UNREADABLE: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


def check(parent: Message, now: float) -> None:
    """Whether everything that may follow can be made, before the task is run.

    Raises:
        InvalidTaskError: a signature's options make no message; names the task and the signature.
    """
    try:
        deque(on_success(parent, None, now), maxlen=0)
        deque(on_failure(parent, now), maxlen=0)
        _readable_membership(parent)
    except _UNREADABLE as error:
        raise InvalidTaskError(f"task {parent.task}: what follows it can't be read: {error}", parent.id) from error


def on_success(
    parent: Message, value: Any, now: float, paging: Paging | None = None, *, resent: bool = False
) -> Iterator[Successor]:
    """The callbacks with the value, then the next of the chain, which carries what is left of it.

    Args:
        parent: the message of the task that has succeeded.
        value: its value.
        now: the time, in seconds since the epoch.
        paging: how large groups are kept in pages.
        resent: they may have been sent before, and are to ask the store whether they have run.
    """
    origin = origin_of(parent, now, paging, resent=resent)
    for index, signature in enumerate(parent.embed.callbacks or ()):
        yield from _successors(parent, signature, ("callback", index), (value,), origin)
    if parent.embed.chain:
        *rest, following = parent.embed.chain
        yield from _successors(parent, following, ("chain", 0), (value,), origin, rest)


def on_failure(
    parent: Message,
    now: float,
    paging: Paging | None = None,
    *,
    only: Collection[int] | None = None,
    given: Sequence[Any] | None = None,
) -> Iterator[Successor]:
    """The errbacks.

    They always ask the store whether they have run: nobody should be told of a failure twice, and failures are few.

    Args:
        parent: the message of the task that has failed.
        now: the time, in seconds since the epoch.
        paging: how large groups are kept in pages.
        only: those at these places; None: all.
        given: put before their arguments; None: the id of the failed task.
    """
    origin = origin_of(parent, now, paging, resent=True)
    for index, signature in enumerate(parent.embed.errbacks or ()):
        if only is None or index in only:
            args = (parent.id,) if given is None else given
            yield from _successors(parent, signature, ("errback", index), args, origin)


def left_of_chain(parent: Message) -> Stages:
    """What would have run after a task; ids that are neither fixed nor made from its own are unknown."""
    if not parent.embed.chain:
        return ()
    *rest, following = parent.embed.chain
    own_id, stages = derived_id(parent.id, "chain"), signatures.parse_all(reversed(rest))
    begins = signatures.parse(following)
    if signatures.is_composed(following):
        return planner.fix(begins + stages, own_id)
    return planner.fix(begins[:1], own_id) + begins[1:] + stages


def membership(message: Message) -> Membership | None:
    """A task's place in a chord, or None where it has none, or one that only Celery's workers can fill."""
    chord = message.embed.chord
    if chord is None or not is_sized(chord):
        return None
    return Membership.of(message.group, message.group_index, chord, message.id)


def _readable_membership(message: Message) -> Membership | None:
    member = membership(message)
    if member is not None:
        member.body()
    return member


def is_member(message: Message) -> bool:
    """Whether a task has a place in a chord, and a chain before it that can be read."""
    try:
        left_of_chain(message)
        return _readable_membership(message) is not None
    except _UNREADABLE:
        return False


def on_retry(message: Message, outcome: Retrying, now: float) -> Message:
    """The same task once more: its id, what follows it and its limits stay.

    Args:
        message: the message whose run ended.
        outcome: when to run again, and with what.
        now: the time, in seconds since the epoch.
    """
    due = datetime.fromtimestamp(now, UTC) + timedelta(seconds=outcome.after_seconds)
    return replace(
        message,
        retries=message.retries + 1,
        eta=due if outcome.after_seconds > 0 else None,
        args=message.args if outcome.args is None else outcome.args,
        kwargs=message.kwargs if outcome.kwargs is None else outcome.kwargs,
        argsrepr=None if outcome.args is not None else message.argsrepr,
        kwargsrepr=None if outcome.kwargs is not None else message.kwargsrepr,
    )


def origin_of(parent: Message, now: float, paging: Paging | None, *, resent: bool) -> Origin:
    """Where what follows a task comes from; arguments as ``on_success``'s."""
    headers = {planner.RESENT: True} if resent else {}
    return Origin(now=now, root_id=parent.root_id or parent.id, parent_id=parent.id, headers=headers, paging=paging)


def _successors(
    parent: Message,
    signature: Signature,
    role: tuple[str, int],
    args: Sequence[Any],
    origin: Origin,
    chain: Sequence[Signature] = (),
) -> Iterator[Successor]:
    own_id = derived_id(parent.id, *role)
    if signatures.is_composed(signature):
        stages = signatures.parse(signature) + signatures.parse_all(reversed(chain))
        yield from planner.start(planner.fix(stages, own_id), args, {}, origin)
    else:
        # The rest of a long chain is handed on as it came, unread.
        step = TaskStage(signature) if TaskStage(signature).id else TaskStage(signature).with_options(task_id=own_id)
        yield planner.to_message(step.signature, args, {}, origin, chain)
