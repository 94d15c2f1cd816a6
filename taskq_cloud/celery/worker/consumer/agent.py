"""The step ``Agent``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import Agent

__all__ = ("Agent",)
