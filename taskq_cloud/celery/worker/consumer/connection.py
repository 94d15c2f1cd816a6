"""The step ``Connection``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import Connection

__all__ = ("Connection",)
