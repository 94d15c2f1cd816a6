"""Tasks that have moved: only their imports have changed."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery import Task, shared_task
from taskq_cloud.celery.utils.log import get_task_logger

logger = get_task_logger(__name__)


class Moved(Task):
    abstract = True
    side = "taskq"


@shared_task
def mul(x: int, y: int) -> int:
    return x * y


@shared_task
def total(values: list[int]) -> int:
    return sum(values)


@shared_task(base=Moved, bind=True)
def calls_kept(self: Any, x: int) -> list[Any]:
    import kept  # which imports this module

    return [self.side, kept.add.delay(x, 10).id]
