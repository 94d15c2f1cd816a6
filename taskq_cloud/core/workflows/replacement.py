"""What runs in a task's place when it has been replaced (``self.replace``), as messages.

The last task of it has the replaced task's id, and with it what follows that task and its place in a chord; whoever
waits for the one waits for the other. Both are never under way as runs of one attempt: the last task's attempts count
on from those of the task that it replaces (``Message.attempt``), so that a late writer stays one.
"""

from __future__ import annotations

from dataclasses import replace

from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import EARLIER_RUNS, SCHEDULE, SCHEDULED_TIME, Message, Signature
from taskq_cloud.core.workflows import planner, signatures, successors
from taskq_cloud.core.workflows.group_pages import Paging
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.core.workflows.stages import Stages, TaskStage, as_list, change_every_task, check_depth, set_on_all
from taskq_cloud.errors import InvalidTaskError


def in_place_of(message: Message, signature: Signature, fence: int = 0) -> Stages:
    """What is to run in a task's place, with its ids, as Celery has it: a group's values are collected.

    Args:
        message: the message whose run ended.
        signature: what to run instead.
        fence: the number of the claim it ran under, 0 without one.

    Raises:
        InvalidTaskError: it is no workflow; names the task.
    """
    try:
        stages = planner.ending_in_a_task(signatures.parse(signature))
        check_depth(stages)
        if not stages:
            raise InvalidTaskError("there is no task in an empty chain")
        embed, nesting = message.embed, {"replaced_task_nesting": message.replaced_task_nesting + 1}
        # Those of a chord's header hear of nothing: their failure is the chord's, and so the last task's.
        before = set_on_all(stages, {"link_error": embed.errbacks or None})[:-1]
        last = _last(message, stages[-1], fence)
        # Not made from the task's own id as it stands: so are those of the tasks before it in its chain.
        base = derived_id(message.id, "replaced", message.attempt)
        return planner.fix(change_every_task((*before, last), lambda step: step.with_options(**nesting)), base)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise InvalidTaskError(f"task {message.task}: it can't be replaced so: {error}", message.id) from error


def start(
    message: Message, stages: Stages, now: float, paging: Paging | None, *, resent: bool = False
) -> list[Successor]:
    """The first messages of what ``in_place_of`` has made, followed by what is left of the task's chain.

    Args:
        message: the message whose run ended.
        stages: what runs in its place.
        now: the time, in seconds since the epoch.
        paging: how large groups are kept in pages.
        resent: an earlier delivery of the message may have been replaced already.

    Raises:
        InvalidTaskError: an option makes no message; names the task.
    """
    # It stands where the task stood, so what the task followed from is its parent too.
    origin = replace(successors.origin_of(message, now, paging, resent=resent), parent_id=message.parent_id)
    nesting = {"replaced_task_nesting": message.replaced_task_nesting + 1}
    rest = [{**each, "options": {**(each.get("options") or {}), **nesting}} for each in message.embed.chain or ()]
    try:
        match stages:
            case (TaskStage() as step,):
                # The rest of a long chain is handed on as it came, unread.
                return [planner.to_message(step.signature, (), {}, origin, rest)]
        return list(planner.start(stages + signatures.parse_all(reversed(rest)), (), {}, origin))
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise InvalidTaskError(f"task {message.task}: it can't be replaced so: {error}", message.id) from error


def _last(message: Message, stage: object, fence: int) -> TaskStage:
    assert isinstance(stage, TaskStage)  # a line that ends in a task
    embed, options = message.embed, stage.options
    return stage.with_options(
        task_id=message.id,
        group_id=message.group,
        group_index=message.group_index,
        chord=embed.chord,
        headers={
            **(options.get("headers") or {}),
            # A periodic task's: the next call is not to run beside what runs in the place of this one.
            **{name: message.headers[name] for name in (SCHEDULE, SCHEDULED_TIME) if name in message.headers},
            EARLIER_RUNS: [message.attempt + 1, fence or message.fence],
        },
        # The task's own come first, as their ids are made from their places: sent by it or in its place, they are one.
        link=_distinct([*(embed.callbacks or ()), *as_list(options.get("link"))]),
        link_error=_distinct([*(embed.errbacks or ()), *as_list(options.get("link_error"))]),
    )


def _distinct(links: list[Signature]) -> list[Signature]:
    """As Celery links: what is there already is not there twice, and ``self.signature_from_request()`` has them all."""
    return [each for place, each in enumerate(links) if each not in links[:place]]
