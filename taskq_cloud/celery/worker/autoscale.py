"""Celery's step of autoscaling. The native worker scales its pool itself (``taskq_cloud.worker.autoscale``)."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery import bootsteps
from taskq_cloud.celery.worker.components import Pool

__all__ = ("WorkerComponent",)


class WorkerComponent(bootsteps.Step):
    """Notes the limits of ``--autoscale``."""

    label = "Autoscaler"
    conditional = True
    requires = (Pool,)

    def __init__(self, w: Any, **kwargs: Any) -> None:
        self.enabled = bool(w.autoscale)
        w.autoscaler = None
        super().__init__(w, **kwargs)
