"""The running call as its task sees it: ``self.request``, or ``current_request()`` in a function without ``self``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from taskq_cloud.canvas.workflow import node_of
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.outcome import Invocation


@dataclass(frozen=True, slots=True)
class Request:
    """The running call, as ``self.request``. The names are Celery's.

    Args:
        invocation: the run, with the message that was received.
        called_directly: whether the task was called as a function, without a message.
    """

    invocation: Invocation
    called_directly: bool = False

    @property
    def id(self) -> str:
        """The task's id."""
        return self.invocation.message.id

    @property
    def args(self) -> Sequence[Any]:
        """The positional arguments."""
        return self.invocation.message.args

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The keyword arguments."""
        return self.invocation.message.kwargs

    @property
    def task(self) -> str:
        """The task's name."""
        return self.invocation.message.task

    @property
    def is_eager(self) -> bool:
        """Whether the task runs in place (``apply``), without a message."""
        return self.invocation.queue is None and not self.called_directly

    @property
    def eta(self) -> str | None:
        """The time at which the task was due, in ISO 8601; None if it was due at once."""
        return _iso(self.invocation.message.eta)

    @property
    def expires(self) -> str | None:
        """The time from which the task may no longer run, in ISO 8601; None if it doesn't expire."""
        return _iso(self.invocation.message.expires)

    @property
    def ignore_result(self) -> bool:
        """Whether the call asked for its result not to be stored."""
        return bool(self.invocation.message.ignore_result)

    @property
    def correlation_id(self) -> str:
        """The task's id, by the name that it has in a message's properties."""
        return self.invocation.message.id

    @property
    def reply_to(self) -> str | None:
        """The queue on which the caller waits for a reply. Only Celery's workers use it."""
        return self.invocation.message.reply_to

    @property
    def replaced_task_nesting(self) -> int:
        """The number of tasks that this task has replaced, one after the other."""
        return self.invocation.message.replaced_task_nesting

    @property
    def callbacks(self) -> Sequence[Signature] | None:
        """The signatures of the tasks that run with this task's value, as plain JSON."""
        return self.invocation.message.embed.callbacks

    @property
    def errbacks(self) -> Sequence[Signature] | None:
        """The signatures of the tasks that run if this task fails, as plain JSON."""
        return self.invocation.message.embed.errbacks

    @property
    def chain(self) -> Sequence[Signature] | None:
        """The signatures of the rest of the task's chain, as plain JSON, in reverse order: the last one runs next."""
        return self.invocation.message.embed.chain

    @property
    def chord(self) -> Signature | None:
        """The signature of the body of the chord whose header this task is a member of, as plain JSON."""
        return self.invocation.message.embed.chord

    @property
    def shadow(self) -> str | None:
        """Another name for the task, in logs and monitors."""
        return self.invocation.message.shadow

    @property
    def origin(self) -> str | None:
        """The name of the process that sent the message."""
        return self.invocation.message.origin

    @property
    def argsrepr(self) -> str | None:
        """The text that stands for the positional arguments in logs and monitors."""
        return self.invocation.message.argsrepr

    @property
    def kwargsrepr(self) -> str | None:
        """The text that stands for the keyword arguments in logs and monitors."""
        return self.invocation.message.kwargsrepr

    @property
    def retries(self) -> int:
        """The number of attempts before this one."""
        return self.invocation.message.retries

    @property
    def root_id(self) -> str | None:
        """The id of the first task of the workflow."""
        return self.invocation.message.root_id

    @property
    def parent_id(self) -> str | None:
        """The id of the task that called this one."""
        return self.invocation.message.parent_id

    @property
    def group(self) -> str | None:
        """The id of the group that this task is a member of."""
        return self.invocation.message.group

    @property
    def group_index(self) -> int | None:
        """The task's position in its group, from 0."""
        return self.invocation.message.group_index

    @property
    def headers(self) -> Mapping[str, Any]:
        """The headers that the caller has added to the message."""
        return self.invocation.message.headers

    @property
    def stamped_headers(self) -> Sequence[str]:
        """The names of the message's stamps."""
        return self.invocation.message.stamped_headers or ()

    @property
    def stamps(self) -> Mapping[str, Any]:
        """The message's stamps, by name."""
        return self.invocation.message.stamps

    @property
    def hostname(self) -> str | None:
        """The name of the worker."""
        return self.invocation.hostname

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """The time limits that apply to this run, as (hard, soft), in seconds; None: no limit."""
        return (self.invocation.time_limit, self.invocation.soft_time_limit)

    @property
    def delivery_info(self) -> dict[str, Any]:
        """The delivery: ``routing_key`` (the queue), ``redelivered``, ``receive_count`` and ``message_id``."""
        return {
            "exchange": "",
            "routing_key": self.invocation.queue,
            "redelivered": self.invocation.receive_count > 1,
            "receive_count": self.invocation.receive_count,
            "message_id": self.invocation.message_id,
        }

    @property
    def options(self) -> dict[str, Any]:
        """The options with which a signature repeats this call, as Celery's ``as_execution_options`` gives them."""
        message, (hard, soft) = self.invocation.message, self.invocation.message.timelimit
        known = {
            "task_id": message.id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": _nodes(self.callbacks),
            "link_error": _nodes(self.errbacks),
            "expires": message.expires,
            "time_limit": hard,
            "soft_time_limit": soft,
            "ignore_result": message.ignore_result,
            "headers": dict(self.headers),
            "replaced_task_nesting": self.replaced_task_nesting,
            "reply_to": self.reply_to,
            "priority": message.priority,
            "queue": self.invocation.queue,
            "stamped_headers": list(self.stamped_headers),
            **self.stamps,
        }
        return {name: value for name, value in known.items() if value is not None and value not in ((), [], {})}


def _nodes(linked: Sequence[Signature] | None) -> tuple[Any, ...]:
    return tuple(node_of(each, "link") for each in linked or ())


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
