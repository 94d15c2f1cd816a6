"""Ends a workflow early: revokes every task that has not ended, or removes all records of the workflow.

A running task is not interrupted. But its record stays REVOKED, so its value is dropped and the tasks that follow it
are not sent (step 7a of ``execution.pipeline``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.ports import ResultStore, ScheduleStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FINAL_VERSION, LONGEST_MESSAGE_SECONDS, REVOKED, Record
from taskq_cloud.core.workflows import shape
from taskq_cloud.core.workflows.progress import PAGE_RECORDS, load_view
from taskq_cloud.core.workflows.stages import Stages
from taskq_cloud.errors import TaskRevokedError

MOST_ROUNDS: Final = 5
"""The most times that a workflow is read, while its tasks go on ending and sending others."""


def revocation(task_id: str, results_expire_at: float | None) -> Record:
    """Make the record of a task's revocation.

    Args:
        task_id: the task's id.
        results_expire_at: when a result that is written now expires, in seconds since the epoch; None: never.
    """
    now = time.time()
    # The traceback of an error that nobody has raised is only its text.
    error = replace(ErrorInfo.of(TaskRevokedError("revoked")), traceback=None)
    payload = document.encode(Message(task="", id=task_id), REVOKED, error, now=now)
    # The task's message must not outlive the revocation.
    expires_at = None if results_expire_at is None else max(results_expire_at, now + LONGEST_MESSAGE_SECONDS)
    return Record(task_id, REVOKED, FINAL_VERSION, payload, expires_at, fence=2**31 - 1)


def revoke(
    store: ResultStore, stages: Stages, results_expire_at: float | None, scheduler: ScheduleStore | None = None
) -> Flow[int]:
    """Record every task of a workflow that has not ended as REVOKED.

    Args:
        store: the result store.
        stages: the workflow, with the ids of all tasks.
        results_expire_at: when a result that is written now expires, in seconds since the epoch; None: never.
        scheduler: the scheduler that holds messages that are due late; the schedules of these tasks are removed.

    Returns:
        The number of tasks that were revoked.
    """
    revoked = 0
    for _ in range(MOST_ROUNDS):
        view = yield from load_view(store, stages)
        # The last task comes first: once it is revoked, no task that still ends can change the workflow's result.
        open_ids = list(dict.fromkeys(task.id for task in view.tasks() if task.open))[::-1]
        newly_revoked = yield from revoke_tasks(store, open_ids, results_expire_at, scheduler)
        revoked += newly_revoked
        if newly_revoked == len(open_ids):
            break
        # The other tasks have ended meanwhile, and may have sent callbacks that were unknown until now.
    return revoked


def revoke_tasks(
    store: ResultStore, task_ids: Sequence[str], results_expire_at: float | None, scheduler: ScheduleStore | None = None
) -> Flow[int]:
    """Record tasks as REVOKED, and then remove their schedules: a schedule that fires meanwhile finds the record.

    Args:
        store: see ``revoke``.
        task_ids: the ids of the tasks.
        results_expire_at: see ``revoke``.
        scheduler: see ``revoke``.

    Returns:
        The number of tasks that had not ended. If the store keeps no records, the number that had a schedule.
    """
    revoked = 0
    for page in _pages(task_ids) if store.capabilities.remembers else ():
        revoked += sum((yield from store.save([revocation(task_id, results_expire_at) for task_id in page])))
    if scheduler is not None:
        # The schedules of ended tasks are removed, too, so that a revocation whose second half failed can be repeated.
        removed = yield from late_delivery.cancel(scheduler, task_ids)
        if not store.capabilities.remembers:
            return sum(removed)
    return revoked


def forget(store: ResultStore, stages: Stages, workflow_id: str) -> Flow[None]:
    """Remove the records of a workflow and of all its tasks. The counts of its chords stay until they expire."""
    view = yield from load_view(store, stages)
    ids = [task.id for task in view.tasks()]
    for page in _pages([*ids, *(yield from shape.keys_of(store, workflow_id))]):
        yield from store.delete(page)


def _pages(ids: Sequence[str]) -> list[list[str]]:
    iterator = iter(dict.fromkeys(ids))
    return list(iter(lambda: list(islice(iterator, PAGE_RECORDS)), []))
