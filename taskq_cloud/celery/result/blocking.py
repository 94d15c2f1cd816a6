"""Whether a task may wait for another task: a worker that waits can be the one that the other task needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from taskq_cloud.celery import _state
from taskq_cloud.core.execution.run_context import current_invocation
from taskq_cloud.results import waiting

E_WOULDBLOCK: Final = (
    "Never call result.get() within a task! It waits for a worker that may be waiting for this task: let a chain or a "
    "callback pass the value on, or pass disable_sync_subtasks=False"
)


def task_join_will_block() -> bool:
    """Whether a task that waits here can block its worker.

    It can in a worker. A task that runs in its caller's process blocks nobody else.
    """
    if _state.task_join_will_block():
        return True
    run = current_invocation.get()
    return run is not None and run.queue is not None and not waiting.joins_allowed()


def assert_will_not_block() -> None:
    """Refuse to wait where that can block a worker.

    Raises:
        RuntimeError: it can.
    """
    from taskq_cloud.celery import result  # looked up where it is public, so that it can be replaced there

    if result.task_join_will_block():
        raise RuntimeError(E_WOULDBLOCK)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Allow tasks to wait within a ``with`` block."""
    before = _state.task_join_will_block()
    _state._set_task_join_will_block(blocks=False)
    try:
        with waiting.allow_join_result():
            yield
    finally:
        _state._set_task_join_will_block(before)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Refuse to let tasks wait within a ``with`` block."""
    before = _state.task_join_will_block()
    _state._set_task_join_will_block(blocks=True)
    try:
        yield
    finally:
        _state._set_task_join_will_block(before)
