"""Workers as objects: ``WorkController``. It runs the native worker, of ``taskq_cloud.worker``."""

from __future__ import annotations

from taskq_cloud.celery.worker.worker import WorkController

__all__ = ("WorkController",)
