"""The step ``Control``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import Control

__all__ = ("Control",)
