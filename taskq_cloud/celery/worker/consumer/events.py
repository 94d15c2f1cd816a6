"""The step ``Events``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import Events

__all__ = ("Events",)
