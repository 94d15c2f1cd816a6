"""The step ``Gossip``, at its place in Celery."""

from taskq_cloud.celery.worker.consumer.steps import Gossip

__all__ = ("Gossip",)
