"""Calls that are collected in place of being sent: the members of a group, which is sent as a whole (``collected``).

The native planner derives the size of a chord from the form of a workflow, so it has to see the whole. Celery calls
each task that runs first by the task's own ``apply_async``, which a user may have overridden. So these calls are made
here too, and what they would send is collected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from taskq_cloud.core.model.message import Message

_collection: Final[ContextVar[tuple[list[dict[str, Any]], frozenset[str]] | None]] = ContextVar(
    "taskq_celery_collected_calls", default=None
)

_sent_by_caller: Final[ContextVar[str | None]] = ContextVar("taskq_celery_sent_by_caller", default=None)
CALLED: Final = "taskq_called"
"""The header of a member of a group whose task's own ``apply_async`` has been called."""


@contextmanager
def sent_by_caller(task_id: str | None) -> Iterator[None]:
    """Note that the task with this id is sent by the ``apply_async`` of its class."""
    token = _sent_by_caller.set(task_id)
    try:
        yield
    finally:
        _sent_by_caller.reset(token)


def is_sent_by_caller(message: Message) -> bool:
    """Whether a message that is being sent comes from the ``apply_async`` of its task's class."""
    return _sent_by_caller.get() == message.id or CALLED in message.headers


@contextmanager
def collected(ids: Iterable[str]) -> Iterator[list[dict[str, Any]]]:
    """Collect the calls and workflows that are sent within, in place of sending them; gives the list of them.

    Args:
        ids: the ids of the tasks to be collected. Another task, which an overridden ``apply_async`` calls, is sent.
    """
    calls: list[dict[str, Any]] = []
    token = _collection.set((calls, frozenset(ids)))
    try:
        yield calls
    finally:
        _collection.reset(token)


def is_collected(task_id: Any) -> bool:
    """Whether the call with this id is collected here."""
    collection = _collection.get()
    return collection is not None and task_id in collection[1]


def add(written: dict[str, Any]) -> None:
    """Add a call to those that are collected here."""
    collection = _collection.get()
    assert collection is not None
    collection[0].append(written)


def send(app: Any, written: dict[str, Any]) -> None:
    """Send a group or a chord; one that is a part of another is collected.

    Args:
        app: the application.
        written: the workflow, as plain dicts.
    """
    if _collection.get() is not None:
        add(written)
        return
    from taskq_cloud.calling import workflows  # few processes send workflows

    app.native.run(workflows.send(app.native, written))


def without_place(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the options that give a task a place in a group or a chord, which is written around it."""
    return {name: value for name, value in options.items() if name not in ("group_id", "group_index", "chord")}
