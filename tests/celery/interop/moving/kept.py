"""Tasks that have not moved yet."""

from __future__ import annotations

from typing import Any

import moved
from celery import Task, shared_task
from celery.utils.log import get_task_logger

logger = get_task_logger(__name__)


class Kept(Task):
    abstract = True
    side = "celery"


@shared_task
def add(x: int, y: int) -> int:
    return x + y


@shared_task
def total(values: list[int]) -> int:
    return sum(values)


@shared_task(base=Kept, bind=True)
def calls_moved(self: Any, x: int) -> list[Any]:
    return [self.side, moved.mul.delay(x, 10).id]
