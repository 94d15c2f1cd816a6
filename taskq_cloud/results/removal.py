"""Removes the records of results, and revokes their tasks."""

from __future__ import annotations

from collections.abc import Iterable

from taskq_cloud.core.flows import Flow
from taskq_cloud.results import waiting
from taskq_cloud.results.workflow import TaskResult
from taskq_cloud.runtime.protocols import Backend


def forget_all(app: Backend, results: Iterable[TaskResult]) -> Flow[None]:
    """Remove the records of results from the store."""
    forgotten = [each for each in results if not each.in_place]
    if forgotten:
        yield from app.store.delete([each.id for each in forgotten])
    for each in forgotten:
        each.known = None


def revoke_all(app: Backend, results: Iterable[TaskResult]) -> Flow[int]:
    """Record the tasks of results as REVOKED, unless they have ended, and return their number."""
    from taskq_cloud.core.messages.late_delivery import late_scheduler  # few processes revoke tasks
    from taskq_cloud.core.workflows.revocation import revoke_tasks  # few processes revoke tasks

    ids = [each.id for each in results if not each.in_place]
    if not ids:
        return 0
    scheduler, expires_at = late_scheduler(app.scheduler), app.result_expires_at()
    if scheduler is None:
        waiting.refuse_without_store(app)
    return (yield from revoke_tasks(app.store, ids, expires_at, scheduler))
