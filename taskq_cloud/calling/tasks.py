"""The sending of one task's calls: options and arguments become messages, and messages go to the broker.

``send`` is where every call of a single task ends: ``delay``, ``apply_async``, ``map_async`` and ``send_task``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from taskq_cloud.calling.options import CallOptions, call_options, make_message, make_transport, with_defaults
from taskq_cloud.core.execution.run_context import note_called
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Refused, Sent
from taskq_cloud.core.model.options import ignores_result
from taskq_cloud.errors import SendError
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.runtime.protocols import Application

Arguments: TypeAlias = tuple[Sequence[Any], Mapping[str, Any]]
"""The positional and the keyword arguments of one call."""


def send(app: Application, task: str, calls: Sequence[Arguments], options: CallOptions) -> Flow[list[AsyncResult[Any]]]:
    """Send calls of one task, in as few requests as the broker allows.

    Args:
        app: the application.
        task: the task's name; it need not be registered here.
        calls: the arguments of each call.
        options: the options of all of them.

    Raises:
        TypeError: one ``task_id`` or ``MessageDeduplicationId`` is given for several calls.
        SendError: some of several calls were not accepted.
        OperationalError: the only call was not accepted.
    """
    if len(calls) != 1 and (options.task_id is not None or options.MessageDeduplicationId is not None):
        one = "task_id" if options.task_id is not None else "MessageDeduplicationId"
        raise TypeError(f"task {task}: {len(calls)} calls can't share one {one}: leave it out, or send them one by one")
    declared, options = app.options_of(task), with_defaults(options, app.route_options(task))
    if options.link or options.link_error:
        from taskq_cloud.calling import defaults  # few calls have links

        link, link_error = (defaults.of_links(app, each or ()) for each in (options.link, options.link_error))
        options = replace(options, link=link or None, link_error=link_error or None)
    queue, transport = options.queue or app.route(task), make_transport(options, declared)
    messages = [make_message(task, args, kwargs, options, declared) for args, kwargs in calls]
    outbox, now = app.outbox, time.time()
    answers = yield from outbox.send([outbox.address(each, queue, now, transport) for each in messages])
    ignored = ignores_result(options.ignore_result, declared, app.conf.task_ignore_result)
    results: list[AsyncResult[Any]] = [AsyncResult(message.id, app, ignored=ignored) for message in messages]
    if options.add_to_parent and not ignored:
        sent = zip(messages, answers, strict=True)
        note_called(message.id for message, answer in sent if not isinstance(answer, Refused))
    raise_refusals(
        answers,
        results,
        one="".join(f"task {task}[{message.id}]" for message in messages[:1]),
        all_of_them=f"{len(calls)} calls of task {task} to queue {queue!r}",
    )
    return results


def send_named(
    app: Application,
    task: str,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Flow[AsyncResult[Any]]:
    """Send one call of a task that need not be registered here; raises the errors of ``send`` and ``call_options``."""
    arguments = (() if args is None else args, kwargs or {})
    (result,) = yield from send(app, task, [arguments], call_options(task, options))
    return result


def raise_refusals(
    answers: Sequence[Sent | Refused], results: Sequence[AsyncResult[Any]], *, one: str, all_of_them: str
) -> None:
    """Raise an error if the broker has refused messages.

    Args:
        answers: the broker's answer to each message.
        results: the result of each message, for ``SendError.results``; may be empty.
        one: the name of a single message, for the note of its error.
        all_of_them: the name of several messages, for the text of their error.

    Raises:
        OperationalError: the only message was refused.
        SendError: some of several messages were refused.
    """
    failures = {index: answer.error for index, answer in enumerate(answers) if isinstance(answer, Refused)}
    if not failures:
        return
    first = failures[min(failures)]
    if len(answers) == 1:
        first.add_note(f"{one} was not sent")
        raise first
    accepted = [None if index in failures else result for index, result in enumerate(results)]
    raise SendError(
        f"{len(failures)} of {all_of_them} were not accepted; the first: {first}", failures, accepted
    ) from first
