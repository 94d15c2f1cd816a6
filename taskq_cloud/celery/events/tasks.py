"""``Task``: what events have said about a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from weakref import WeakSet

from taskq_cloud.celery import states
from taskq_cloud.celery.utils import cached_property

__all__ = ("TASK_EVENT_TO_STATE", "Task")

TASK_EVENT_TO_STATE = {
    "sent": states.PENDING,
    "received": states.RECEIVED,
    "started": states.STARTED,
    "failed": states.FAILURE,
    "retried": states.RETRY,
    "succeeded": states.SUCCESS,
    "revoked": states.REVOKED,
    "rejected": states.REJECTED,
}
"""The states of a task, by the event that says so."""


def _depickle_task(cls: Any, fields: dict[str, Any]) -> Any:
    return cls(**fields)


class Task:
    """A task. Each event's name is an attribute with the time of that event.

    Args:
        uuid: the task's id.
        cluster_state: the state that the task belongs to.
        children: the ids of the tasks that it has called.
        kwargs: more attributes.
    """

    __slots__ = ("__dict__", "__weakref__")

    name: Any = None
    received: Any = None
    sent: Any = None
    started: Any = None
    succeeded: Any = None
    failed: Any = None
    retried: Any = None
    revoked: Any = None
    rejected: Any = None
    args: Any = None
    kwargs: Any = None
    eta: Any = None
    expires: Any = None
    retries: Any = None
    worker: Any = None
    result: Any = None
    exception: Any = None
    timestamp: Any = None
    runtime: Any = None
    traceback: Any = None
    exchange: Any = None
    routing_key: Any = None
    root_id: Any = None
    parent_id: Any = None
    client: Any = None
    state: str = states.PENDING
    clock: int = 0

    _fields: ClassVar[tuple[str, ...]] = (
        *("uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried"),
        *("revoked", "args", "kwargs", "eta", "expires", "retries", "worker", "result", "exception", "timestamp"),
        *("runtime", "traceback", "exchange", "routing_key", "clock", "client", "root", "root_id", "parent"),
        *("parent_id", "children"),
    )
    _info_fields: ClassVar[tuple[str, ...]] = (
        *("args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange"),
        *("routing_key", "root_id", "parent_id"),
    )
    """The fields that ``info`` has by default."""

    merge_rules: ClassVar[dict[str, tuple[str, ...]]] = {
        states.RECEIVED: ("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires"),
    }
    """The fields that an event still sets if it comes after an event that it has preceded, by its state."""

    def __init__(
        self, uuid: Any = None, cluster_state: Any = None, children: Iterable[Any] | None = None, **kwargs: Any
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        self.children: WeakSet[Any] = WeakSet()
        if cluster_state is not None:
            known = cluster_state.tasks
            self.children.update(known.get(each) for each in children or () if each in known)
        vars(self).update(kwargs)

    def __eq__(self, other: object) -> bool:
        return self.uuid == other.uuid if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Any = None,
        precedence: Callable[[str], int] = states.precedence,
        setattr: Callable[..., Any] = setattr,
        task_event_to_state: Callable[[str], str | None] = TASK_EVENT_TO_STATE.get,
        RETRY: str = states.RETRY,
    ) -> None:
        """Take over what an event says.

        Args:
            type_: the event's type without its group; another one than Celery's is the name of a state.
            timestamp: the event's time.
            local_received: when it was received.
            fields: the event.
            precedence: returns the precedence of a state.
            setattr: sets an attribute.
            task_event_to_state: returns the state that a type means.
            RETRY: the state in which events come in any order.
        """
        fields = fields or {}
        state = task_event_to_state(type_)
        if state is None:
            state = type_.upper()
        else:
            setattr(self, type_, timestamp)
        if RETRY in (state, self.state) or precedence(state) <= precedence(self.state):
            fields.update(state=state, timestamp=timestamp)
        elif state in self.merge_rules:
            kept = self.merge_rules[state]
            fields = {name: value for name, value in fields.items() if name in kept}
        vars(self).update(fields)

    def info(self, fields: Iterable[str] | None = None, extra: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the fields that are known, for a person to read.

        Args:
            fields: the names of the fields; None: those of ``_info_fields``.
            extra: more names.
        """
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        known = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in known.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, with ids in place of other tasks."""
        found = {name: getattr(self, name) for name in self._fields}
        return found | {
            "children": [task.id for task in self.children],
            "root": self.root_id,
            "parent": self.parent_id,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _depickle_task, (type(self), self.as_dict())

    @property
    def id(self) -> Any:
        """The task's id."""
        return self.uuid

    @property
    def origin(self) -> Any:
        """The worker's id; before a worker has the task, the name of the client that has called it."""
        return self.client if self.worker is None else self.worker.id

    @property
    def ready(self) -> bool:
        """Whether the task has ended."""
        return self.state in states.READY_STATES

    @cached_property
    def parent(self) -> Any:
        """The task that has called this one; None if it isn't known."""
        return self._task_with(self.parent_id)

    @cached_property
    def root(self) -> Any:
        """The first task of the workflow; None if it isn't known."""
        return self._task_with(self.root_id)

    def _task_with(self, uuid: Any) -> Any:
        # Reading the data itself doesn't make the task the last used one.
        return uuid and self.cluster_state.tasks.data.get(uuid)
