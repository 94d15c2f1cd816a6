"""The messages that follow a task: its retry, its callbacks, the next task of its chain, and its errbacks.

Their ids are derived from the parent's id. So a message that is sent twice is one task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.messages.headers import RESERVED_HEADERS
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import NO_EMBED, Message, Signature
from taskq_cloud.core.model.option_values import time_from_option
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
    """Check, before a task is run, that all messages that may follow it can be made.

    Args:
        parent: the task's message.
        now: the time, in seconds since the epoch.

    Raises:
        InvalidTaskError: an option of a signature has the wrong type or value; the error names the task.
    """
    embed = parent.embed
    if embed is NO_EMBED or embed == NO_EMBED:
        return
    try:
        _check_signatures([*(embed.callbacks or ()), *(embed.errbacks or ()), *(embed.chain or ())], embed.chord)
        deque(on_success(parent, None, now), maxlen=0)
        deque(on_failure(parent, now), maxlen=0)
        if any(map(signatures.is_joined, _unread(embed.chain or ()))):
            # It is read only if the task fails, as its end is then the end of all that would have followed.
            rest_of_chain(parent)
        _check_membership(parent)
    except (*_UNREADABLE, RecursionError) as error:
        raise InvalidTaskError(
            f"task {parent.task}: a task that follows it can't be read: {error}", parent.id
        ) from error


def _check_signatures(linked: Sequence[Signature], chord: Signature | None) -> None:
    if linked or chord:
        from taskq_cloud.core.workflows import signature_checks  # most tasks are followed by none

        signature_checks.check((*linked, chord) if chord else linked)


def _unread(chain: Sequence[Signature]) -> Sequence[Signature]:
    """The signatures of a chain that ``on_success`` hands on unread."""
    return chain[:-1] if chain and signatures.is_composed(chain[-1]) else chain


def on_success(
    parent: Message, value: Any, now: float, paging: Paging | None = None, *, resent: bool = False
) -> Iterator[Successor]:
    """Make the messages of the callbacks, and of the next task of the chain, which carries the rest of the chain.

    Args:
        parent: the message of the task that has succeeded.
        value: the task's value, which each of these tasks gets.
        now: the time, in seconds since the epoch.
        paging: the rules for keeping large groups in pages; None: no groups are kept in pages.
        resent: whether the messages may have been sent before, so that each has to look for its task's result first.
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
    """Make the messages of the errbacks.

    Each looks for its task's result before it runs: no failure should be reported twice, and failures are few.

    Args:
        parent: the message of the task that has failed.
        now: the time, in seconds since the epoch.
        paging: the rules for keeping large groups in pages; None: no groups are kept in pages.
        only: the positions of the errbacks to make; None: all errbacks.
        given: the arguments put before their own; None: the id of the failed task.
    """
    origin = origin_of(parent, now, paging, resent=True)
    for index, signature in enumerate(parent.embed.errbacks or ()):
        if only is None or index in only:
            args = (parent.id,) if given is None else given
            yield from _successors(parent, signature, ("errback", index), args, origin)


def rest_of_chain(parent: Message) -> Stages:
    """The stages that follow a task in its chain. The id of the next task is known; later tasks may have none yet."""
    if not parent.embed.chain:
        return ()
    *rest, following = parent.embed.chain
    own_id, stages = derived_id(parent.lineage, "chain"), signatures.parse_all(reversed(rest))
    next_stages = signatures.parse(following)
    if signatures.is_composed(following):
        return planner.with_ids(next_stages + stages, own_id)
    return planner.with_ids(next_stages[:1], own_id) + next_stages[1:] + stages


def membership(message: Message) -> Membership | None:
    """A task's place in a chord; None if it has none, or if only Celery's workers can count the chord's members."""
    chord = message.embed.chord
    if chord is None or not is_sized(chord):
        return None
    return Membership.read(message.group, message.group_index, chord, message.id)


def _check_membership(message: Message) -> Membership | None:
    """A task's place in a chord, whose body can be read."""
    member = membership(message)
    if member is not None:
        member.body()
    return member


def is_member(message: Message) -> bool:
    """Whether a task has a place in a chord, and the place, the body and the rest of the task's chain can be read."""
    try:
        _check_signatures(message.embed.chain or (), message.embed.chord)
        rest_of_chain(message)
        return _check_membership(message) is not None
    except (*_UNREADABLE, RecursionError):
        return False


def on_retry(message: Message, outcome: Retrying, now: float) -> Message:
    """Make the message of a task's retry: its id and the tasks that follow it stay.

    Args:
        message: the message whose run ended.
        outcome: the delay of the retry, and its arguments and options if these are new.
        now: the time, in seconds since the epoch.
    """
    due = datetime.fromtimestamp(now, UTC) + timedelta(seconds=outcome.after_seconds)
    return replace(
        _with_options(message, outcome.options, now) if outcome.options else message,
        retries=message.retries + 1,
        eta=due if outcome.after_seconds > 0 else None,
        args=message.args if outcome.args is None else outcome.args,
        kwargs=message.kwargs if outcome.kwargs is None else outcome.kwargs,
        argsrepr=outcome.options.get("argsrepr", None if outcome.args is not None else message.argsrepr),
        kwargsrepr=outcome.options.get("kwargsrepr", None if outcome.kwargs is not None else message.kwargsrepr),
    )


def _with_options(message: Message, options: Mapping[str, Any], now: float) -> Message:
    """Give a message the options of a call that a message itself carries; the others concern its transport."""
    hard, soft = message.timelimit
    headers = {name: value for name, value in options.get("headers", {}).items() if name not in RESERVED_HEADERS}
    return replace(
        message,
        timelimit=(options.get("time_limit", hard), options.get("soft_time_limit", soft)),
        expires=time_from_option(options.get("expires"), now) or message.expires,
        headers={**message.headers, **headers},
        **{name: options[name] for name in ("ignore_result", "shadow", "priority") if name in options},
    )


def origin_of(parent: Message, now: float, paging: Paging | None, *, resent: bool) -> Origin:
    """Make the origin of the messages that follow a task.

    Args:
        parent: the task's message.
        now: the time, in seconds since the epoch.
        paging: the rules for keeping large groups in pages; None: no groups are kept in pages.
        resent: whether the messages may have been sent before.
    """
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
    own_id = derived_id(parent.lineage, *role)
    if signatures.is_composed(signature):
        stages = signatures.parse(signature) + signatures.parse_all(reversed(chain))
        yield from planner.start(planner.with_ids(stages, own_id), args, {}, origin)
    else:
        # The rest of a long chain is handed on unread.
        task = TaskStage(signature) if TaskStage(signature).id else TaskStage(signature).with_options(task_id=own_id)
        yield planner.to_message(task.signature, args, {}, origin, chain)
