"""Ends a workflow before its time: revokes every task of it that has not ended, or forgets all that is kept of it.

A task that runs already is not interrupted. Its record is REVOKED for good, so its value is dropped and nothing that
follows it is sent (step 7a of ``execution``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.ports import ResultStore, ScheduleStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FINAL_VERSION, LONGEST_MESSAGE_SECONDS, REVOKED, Record
from taskq_cloud.core.workflows import shape
from taskq_cloud.core.workflows.progress import PAGE_RECORDS, look
from taskq_cloud.core.workflows.stages import Stages
from taskq_cloud.errors import TaskRevokedError

MOST_ROUNDS: Final = 5


def revocation(task_id: str, results_expire_at: float | None) -> Record:
    """The record of a task's revocation.

    Args:
        task_id: the task's id.
        results_expire_at: when a result written now ceases to exist, in seconds since the epoch.
    """
    now = time.time()
    error = document.encode_error(ErrorInfo.of(TaskRevokedError("revoked")))
    payload = document.encode(Message(task="", id=task_id), REVOKED, error, now=now)
    # A revocation outlives its message.
    expires_at = None if results_expire_at is None else max(results_expire_at, now + LONGEST_MESSAGE_SECONDS)
    return Record(task_id, REVOKED, FINAL_VERSION, payload, expires_at, fence=2**31 - 1)


def revoke(
    store: ResultStore, stages: Stages, results_expire_at: float | None, scheduler: ScheduleStore | None = None
) -> Flow[int]:
    """Record every task of a workflow that has not ended as REVOKED; how many these were.

    Args:
        store: where its results are.
        stages: the workflow, with all ids fixed.
        results_expire_at: as for ``revocation``.
        scheduler: where messages wait that are due late; what it holds of these tasks is removed.
    """
    revoked = 0
    for _ in range(MOST_ROUNDS):
        view = yield from look(store, stages)
        # The last first: once it is revoked nothing that still ends can change what the workflow has come to.
        left = list(dict.fromkeys(task.id for task in view.tasks() if task.open))[::-1]
        newly = yield from revoke_tasks(store, left, results_expire_at, scheduler)
        revoked += newly
        if newly == len(left):
            break
        # The others have ended meanwhile, and may have sent callbacks that were not known of.
    return revoked


def revoke_tasks(
    store: ResultStore, task_ids: Sequence[str], results_expire_at: float | None, scheduler: ScheduleStore | None = None
) -> Flow[int]:
    """Record tasks as REVOKED, then remove their schedules: what fires meanwhile finds the record.

    Arguments as for ``revoke``.

    Returns:
        How many of them had not ended; where no records are kept, how many were scheduled.
    """
    revoked = 0
    for page in _pages(task_ids) if store.capabilities.keeps_records else ():
        revoked += sum((yield from store.save([revocation(task_id, results_expire_at) for task_id in page])))
    if scheduler is not None:
        # Also of those that have ended: a revocation whose second half has failed can be repeated.
        removed = yield from late_delivery.cancel(scheduler, task_ids)
        if not store.capabilities.keeps_records:
            return sum(removed)
    return revoked


def forget(store: ResultStore, stages: Stages, workflow_id: str) -> Flow[None]:
    """Remove the records of a workflow and of all its tasks. What chords have counted stays until it expires."""
    view = yield from look(store, stages)
    ids = [task.id for task in view.tasks()]
    for page in _pages([*ids, *(yield from shape.keys_of(store, workflow_id))]):
        yield from store.delete(page)


def _pages(ids: Sequence[str]) -> list[list[str]]:
    iterator = iter(dict.fromkeys(ids))
    return list(iter(lambda: list(islice(iterator, PAGE_RECORDS)), []))
