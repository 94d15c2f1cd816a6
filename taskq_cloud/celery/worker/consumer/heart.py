"""The step ``Heart``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import Heart

__all__ = ("Heart",)
