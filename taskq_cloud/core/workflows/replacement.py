"""The replacement of a task (``self.replace``): the workflow that runs in its place, and its first messages.

The last task of the replacement has the replaced task's id, its place in a chord, and the tasks that follow it. So
waiting for the replaced task is waiting for the replacement. The attempts of the last task count on from the replaced
task's (``Message.attempt``): no attempt is run by both, and a late write of the replaced task is recognised.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import CALL, EARLIER_RUNS, SCHEDULE, SCHEDULED_TIME, Message, Signature
from taskq_cloud.core.workflows import planner, signatures, successors
from taskq_cloud.core.workflows.group_pages import Paging
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.core.workflows.stages import Stages, TaskStage, as_list, change_every_task, check_depth, set_on_all
from taskq_cloud.errors import InvalidTaskError

_KEPT_HEADERS: Final = (SCHEDULE, SCHEDULED_TIME, CALL)


def in_place_of(message: Message, signature: Signature, fence: int = 0) -> Stages:
    """Make the workflow that runs in a task's place, with ids. As in Celery, the values of a last group are collected.

    Args:
        message: the message of the task that is replaced.
        signature: the signature that replaces it.
        fence: the fencing number of the lock that the task ran under, 0 without one.

    Raises:
        InvalidTaskError: the signature isn't a workflow; the error names the task.
    """
    try:
        stages = planner.ending_in_a_task(signatures.parse(signature))
        check_depth(stages)
        if not stages:
            raise InvalidTaskError("an empty chain has no task")
        embed, nesting = message.embed, {"replaced_task_nesting": message.replaced_task_nesting + 1}
        # Tasks in a chord's header get no errbacks: their failure is the chord's, and so the last task's.
        before = set_on_all(stages, {"link_error": embed.errbacks or None})[:-1]
        last = _last(message, stages[-1], fence)
        # The ids depend on the attempt, too: ids of earlier tasks of the chain are derived from the task's id alone.
        base = derived_id(message.lineage, "replaced", message.attempt)
        return planner.with_ids(change_every_task((*before, last), lambda task: task.with_options(**nesting)), base)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise InvalidTaskError(f"task {message.task}: its replacement can't be read: {error}", message.id) from error


def start(
    message: Message, stages: Stages, now: float, paging: Paging | None, *, resent: bool = False
) -> list[Successor]:
    """Make the first messages of a replacement, which the rest of the task's chain follows.

    Args:
        message: the message of the task that is replaced.
        stages: the workflow that runs in its place.
        now: the time, in seconds since the epoch.
        paging: the rules for keeping large groups in pages; None: no groups are kept in pages.
        resent: whether an earlier delivery of the message may have been replaced already.

    Raises:
        InvalidTaskError: an option has the wrong type or value; the error names the task.
    """
    # The replacement takes the task's place, so it has the task's parent.
    origin = replace(successors.origin_of(message, now, paging, resent=resent), parent_id=message.parent_id)
    nesting = {"replaced_task_nesting": message.replaced_task_nesting + 1}
    rest = [{**each, "options": {**(each.get("options") or {}), **nesting}} for each in message.embed.chain or ()]
    try:
        match stages:
            case (TaskStage() as task,):
                # The rest of a long chain is handed on unread.
                return [planner.to_message(task.signature, (), {}, origin, rest)]
        return list(planner.start(stages + signatures.parse_all(reversed(rest)), (), {}, origin))
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise InvalidTaskError(f"task {message.task}: its replacement can't be read: {error}", message.id) from error


def _last(message: Message, stage: object, fence: int) -> TaskStage:
    assert isinstance(stage, TaskStage)  # ending_in_a_task() has made sure of it
    embed, options = message.embed, stage.options
    return stage.with_options(
        task_id=message.id,
        group_id=message.group,
        group_index=message.group_index,
        chord=embed.chord,
        headers={
            **(options.get("headers") or {}),
            # The replacement of a periodic task's tick is the tick: the next tick may have to wait until it has ended.
            # The replacement of a call is still the same call.
            **{name: message.headers[name] for name in _KEPT_HEADERS if name in message.headers},
            EARLIER_RUNS: [message.attempt + 1, fence or message.fence],
        },
        # The task's own links come first: their ids are derived from their positions, so that each of them is one task,
        # whether the task or its replacement sends it.
        link=_distinct([*(embed.callbacks or ()), *as_list(options.get("link"))]),
        link_error=_distinct([*(embed.errbacks or ()), *as_list(options.get("link_error"))]),
    )


def _distinct(links: list[Signature]) -> list[Signature]:
    """Remove links that occur twice, as Celery does: ``self.signature_from_request()`` has all links of its task."""
    return [each for index, each in enumerate(links) if each not in links[:index]]
