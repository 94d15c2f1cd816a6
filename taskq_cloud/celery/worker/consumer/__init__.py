"""``worker.consumer``, and its steps."""

from taskq_cloud.celery.worker.consumer.consumer import Consumer, Evloop
from taskq_cloud.celery.worker.consumer.steps import (
    Agent,
    Connection,
    Control,
    DelayedDelivery,
    Events,
    Gossip,
    Heart,
    Mingle,
    Tasks,
)

__all__ = (
    "Agent",
    "Connection",
    "Consumer",
    "Control",
    "DelayedDelivery",
    "Events",
    "Evloop",
    "Gossip",
    "Heart",
    "Mingle",
    "Tasks",
)
