"""The step ``Mingle``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import Mingle

__all__ = ("Mingle",)
