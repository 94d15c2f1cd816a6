"""What follows a task, as messages: the retry, the callbacks, the next of a chain, the errbacks.

Ids are made from the parent's, so that sending the same successor twice is sending the same task twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from taskq_cloud.core.header_values import text_bytes
from taskq_cloud.core.ids import derived_id
from taskq_cloud.core.message import Embed, Message, Signature
from taskq_cloud.core.outcome import Retrying
from taskq_cloud.core.protocol import RESERVED_HEADERS
from taskq_cloud.errors import InvalidTaskError


@dataclass(frozen=True, slots=True)
class Successor:
    """A message to send, and the queue its signature asks for (None: wherever its task is routed)."""

    message: Message
    queue: str | None = None


def check(parent: Message, now: float) -> None:
    """Whether everything that may follow can be made, before the task is run.

    Raises:
        InvalidTaskError: a signature's options make no message; names the task and the signature.
    """
    try:
        deque(on_success(parent, None, now), maxlen=0)
        deque(on_failure(parent, now), maxlen=0)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise InvalidTaskError(f"task {parent.task}: what follows it can't be read: {error}", parent.id) from error


def on_success(parent: Message, value: Any, now: float) -> Iterator[Successor]:
    """The callbacks with the value, then the next of the chain, which carries what is left of it."""
    for index, signature in enumerate(parent.embed.callbacks or ()):
        yield _successor(parent, signature, ("callback", index), value, now)
    if parent.embed.chain:
        *rest, following = parent.embed.chain
        yield _successor(parent, following, ("chain", 0), value, now, rest)


def on_failure(parent: Message, now: float) -> Iterator[Successor]:
    """The errbacks, each with the id of the failed task."""
    for index, signature in enumerate(parent.embed.errbacks or ()):
        yield _successor(parent, signature, ("errback", index), parent.id, now)


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


def _successor(
    parent: Message,
    signature: Signature,
    role: tuple[str, int],
    value: Any,
    now: float,
    chain: Sequence[Signature] = (),
) -> Successor:
    options: Mapping[str, Any] = signature.get("options") or {}
    queue = options.get("queue")
    if not isinstance(queue, str | None):
        raise TypeError(f"the queue of {signature['task']} is no name: {queue!r:.100}")
    task_id = str(options.get("task_id") or derived_id(parent.id, *role))
    text_bytes("its id", task_id + signature["task"] + (queue or ""))
    arguments = list(signature.get("args") or ())
    if not signature.get("immutable"):
        arguments = [value, *arguments]
    message = Message(
        task=signature["task"],
        id=task_id,
        args=arguments,
        kwargs=dict(signature.get("kwargs") or {}),
        embed=Embed(
            callbacks=options.get("link") or None,
            errbacks=options.get("link_error") or None,
            chain=list(chain) or options.get("chain") or None,
            chord=options.get("chord"),
        ),
        root_id=parent.root_id or parent.id,
        parent_id=parent.id,
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        timelimit=(options.get("time_limit"), options.get("soft_time_limit")),
        ignore_result=options.get("ignore_result"),
        reply_to=options.get("reply_to"),
        priority=options.get("priority") or 0,
        headers={k: v for k, v in dict(options.get("headers") or {}).items() if k not in RESERVED_HEADERS},
        eta=_moment(options.get("eta") if options.get("countdown") is None else options["countdown"], now),
        expires=_moment(options.get("expires"), now),
    )
    return Successor(message, queue)


def _moment(value: Any, now: float) -> datetime | None:
    """A time as a signature's options give it: seconds from now, or ISO 8601."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(now, UTC) + timedelta(seconds=value)
    parsed = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
