"""The consequences of a task's end: the one place where records are saved, messages sent and errbacks called.

    record        7a  the task's own state, by condition: a final state in the store stays
    follow_up     7b  the messages that follow the task, then its chord, then the errbacks that take the error itself

``steps.chords``, ``steps.fan_out`` and ``steps.errbacks`` decide what is to be done, and this module does it.
Everything here can be done twice: a record is written by condition, and the id of a message is derived from the id of
its parent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskq_cloud.core.execution.context import DeliveryContext, PipelineFlow
from taskq_cloud.core.execution.steps import duplicates
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.sending import Addressed
from taskq_cloud.core.model.message import Message, Settlement
from taskq_cloud.core.model.outcome import ErrorInfo, Ignored, Outcome, Succeeded
from taskq_cloud.core.records.record import FAILURE, SUCCESS
from taskq_cloud.core.workflows.chord_members import Membership
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.errors import PayloadTooLarge

if TYPE_CHECKING:
    from taskq_cloud.core.execution.steps.chords import Decision


def record(
    context: DeliveryContext,
    state: str,
    result: str | ErrorInfo,
    following: Sequence[Successor] = (),
    *,
    last: bool = False,
) -> Flow[bool]:
    """Save a state of the task, unless its results are ignored (7a).

    Args:
        context: the task's context.
        state: the state.
        result: the value as JSON text, or the error.
        following: the messages that follow the task, which are the record's children.
        last: whether the state has no consequences but the acknowledgement of the message.

    Returns:
        False if the store holds a state that this state must not replace.
    """
    if not context.keeps(state):
        return True
    own = context.make_record(state, result, following)
    saved = yield from context.store.save_one(own, last=last)
    if not saved and context.message.call is not None:
        stored = yield from context.load()
        if stored is not None and stored.state == FAILURE and duplicates.is_of_another_call(context, stored):
            # Another call with this id has failed while this one ran: the last one that has ended counts.
            yield from context.store.delete([own.id])
            saved = yield from context.store.save_one(own)
    return saved


def follow_up(
    context: DeliveryContext, state: str, messages: Sequence[Addressed], error: ErrorInfo | None = None
) -> PipelineFlow[None]:
    """Carry out the consequences of a task's end (7b). They are carried out again if it is unknown whether they were.

    Args:
        context: the task's context.
        state: the state in which it has ended.
        messages: the messages that follow it.
        error: the error, if it has not succeeded.
    """
    yield from context.send(messages)
    yield from end_in_chord(context, state, error)
    if state == FAILURE and error is not None:
        yield from call_errbacks(context, error)


def fail_without_run(context: DeliveryContext, error: ErrorInfo) -> PipelineFlow[None]:
    """End a task that can't be run or sent as if it had run and failed."""
    yield from record(context, FAILURE, error)
    yield from follow_up(context, FAILURE, context.address(context.following(FAILURE)), error)


def send_group(context: DeliveryContext) -> PipelineFlow[Settlement]:
    """Send the members of a large group, for a message of the task ``taskq.fan_out``."""
    from taskq_cloud.core.execution.steps import fan_out  # few groups are that large

    decided = yield from fan_out.decide(context)
    for batch in decided.batches:
        for failure in batch.failures:
            yield from fail_without_run(failure.context, failure.error)
        yield from context.send(batch.messages)
    if decided.mark is not None:
        yield from context.store.save([decided.mark])
    decided.report()
    return decided.settlement


def end_in_chord(context: DeliveryContext, state: str, error: ErrorInfo | None = None) -> PipelineFlow[None]:
    """Count the end of a task in its chord, or end the tasks of its chain that will not run."""
    if context.message.embed.chord is None and not context.message.embed.chain:
        return
    from taskq_cloud.core.execution.steps import chords  # few tasks are part of a chain or a chord

    yield from _carry_out(context, chords.decide_end(context, state, error))


def end_unrun(context: DeliveryContext) -> PipelineFlow[None]:
    """End the tasks that would have followed a call that does nothing, so that nobody waits for them."""
    if context.message.embed.chord is None and not context.message.embed.chain:
        return
    from taskq_cloud.core.execution.steps import chords

    yield from _carry_out(context, chords.decide_unrun(context))


def call_errbacks(context: DeliveryContext, error: ErrorInfo) -> PipelineFlow[None]:
    """Call the errbacks of a failed task that take the error itself.

    Raises:
        OperationalError: an errback can't be called now, or its end can't be recorded; all of it is done again.
    """
    if not context.message.embed.errbacks:
        return
    from taskq_cloud.core.execution.steps import errbacks  # few tasks have any

    for call in errbacks.calls(context, error):
        if call.context.keeps(SUCCESS):
            stored = yield from call.context.load()
            if stored is not None and stored.final:
                continue
        yield from _record_errback(call.context, (yield call.invocation))


def _record_errback(context: DeliveryContext, outcome: Outcome) -> Flow[None]:
    from taskq_cloud.core.execution.steps import errbacks

    errbacks.check_has_run(context, outcome)
    if isinstance(outcome, Ignored):
        return
    try:
        if isinstance(outcome, Succeeded):
            yield from record(context, SUCCESS, outcome.payload)
            return
        error = errbacks.error_of(outcome)
    except PayloadTooLarge as refused:
        error = ErrorInfo.of(refused)
    text = "was called as an errback and failed: %s\n%s"
    context.log(logging.ERROR, "errback.failed", text, error.summary, error.traceback or "")
    yield from record(context, FAILURE, error.shortened())


def _carry_out(context: DeliveryContext, decision: Decision) -> PipelineFlow[None]:
    for records in decision.records:
        yield from context.store.save(records)
    yield from context.send(decision.messages)
    for message in decision.not_run:
        assert decision.error is not None  # the error that keeps them from running
        yield from _call_errbacks_of_task_not_run(context, message, decision.error)
    if decision.arrival is not None:
        yield from _arrive(context, decision.arrival)


def _arrive(context: DeliveryContext, member: Membership) -> PipelineFlow[None]:
    from taskq_cloud.core.execution.steps import chords

    completion = yield from chords.arrive(context, member)
    if completion is None:
        return
    yield from _carry_out(context, (yield from chords.decide_completion(context, completion)))
    if completion.mark is not None:
        yield from context.store.save([completion.mark])


def _call_errbacks_of_task_not_run(context: DeliveryContext, message: Message, error: Exception) -> PipelineFlow[None]:
    if context.environment.call_errbacks is not None:
        context.environment.call_errbacks(message, error)
        return
    about = context.about(message)
    yield from about.send(about.address(about.following(FAILURE)))
    yield from call_errbacks(about, ErrorInfo.of(error))
