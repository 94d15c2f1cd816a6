"""The step ``DelayedDelivery``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import DelayedDelivery

__all__ = ("DelayedDelivery",)
