"""The call that runs, as the task sees it: ``self.request``, and ``current_request()`` where there is no ``self``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskq_cloud.canvas.workflow import node_of
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.outcome import Invocation


@dataclass(frozen=True, slots=True)
class Request:
    """The call that runs, as ``self.request``; names are Celery's."""

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
        """Whether the task runs in place (``apply``), so that there is no message."""
        return self.invocation.queue is None and not self.called_directly

    @property
    def eta(self) -> str | None:
        """When it was due, as ISO 8601."""
        return _iso(self.invocation.message.eta)

    @property
    def expires(self) -> str | None:
        """From when on it is not to run, as ISO 8601."""
        return _iso(self.invocation.message.expires)

    @property
    def ignore_result(self) -> bool:
        """Whether the call said that its result is not to be stored."""
        return bool(self.invocation.message.ignore_result)

    @property
    def correlation_id(self) -> str:
        """The task's id, as the broker has it."""
        return self.invocation.message.id

    @property
    def reply_to(self) -> str | None:
        """What the caller has said where it waits; Celery's workers know what to do with it."""
        return self.invocation.message.reply_to

    @property
    def replaced_task_nesting(self) -> int:
        """How many tasks it has replaced, one after the other."""
        return self.invocation.message.replaced_task_nesting

    @property
    def callbacks(self) -> Sequence[Signature] | None:
        """What runs with its value, as plain JSON."""
        return self.invocation.message.embed.callbacks

    @property
    def errbacks(self) -> Sequence[Signature] | None:
        """What runs when it fails."""
        return self.invocation.message.embed.errbacks

    @property
    def chain(self) -> Sequence[Signature] | None:
        """What is left of its chain, the last first."""
        return self.invocation.message.embed.chain

    @property
    def chord(self) -> Signature | None:
        """The body of the chord that it is a header's member of."""
        return self.invocation.message.embed.chord

    @property
    def shadow(self) -> str | None:
        """Another name, for logs and monitors."""
        return self.invocation.message.shadow

    @property
    def origin(self) -> str | None:
        """Who has sent it."""
        return self.invocation.message.origin

    @property
    def argsrepr(self) -> str | None:
        """What its sender shows of its positional arguments."""
        return self.invocation.message.argsrepr

    @property
    def kwargsrepr(self) -> str | None:
        """What its sender shows of its keyword arguments."""
        return self.invocation.message.kwargsrepr

    @property
    def retries(self) -> int:
        """The attempts before this one."""
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
        """The id of the group it is a member of."""
        return self.invocation.message.group

    @property
    def group_index(self) -> int | None:
        """Its place in the group."""
        return self.invocation.message.group_index

    @property
    def headers(self) -> Mapping[str, Any]:
        """The caller's own headers."""
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
        """The limits in force: (hard, soft), in seconds."""
        return (self.invocation.time_limit, self.invocation.soft_time_limit)

    @property
    def delivery_info(self) -> dict[str, Any]:
        """Where the message came from: ``routing_key``, ``redelivered``, and the broker's ``message_id``."""
        return {
            "exchange": "",
            "routing_key": self.invocation.queue,
            "redelivered": self.invocation.receive_count > 1,
            "receive_count": self.invocation.receive_count,
            "message_id": self.invocation.message_id,
        }

    @property
    def options(self) -> dict[str, Any]:
        """The options of a signature that is this call once more: Celery's ``as_execution_options``."""
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
