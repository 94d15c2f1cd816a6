"""The step ``Tasks``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import Tasks

__all__ = ("Tasks",)
