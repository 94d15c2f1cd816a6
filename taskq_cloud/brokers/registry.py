"""The registry that finds a broker by the scheme of its URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.ports import Broker
from taskq_cloud.core.urls import Registry

BROKERS: Final = Registry(
    "broker",
    {
        "memory": "taskq_cloud.brokers.memory:MemoryBroker",
        "pubsub": "taskq_cloud.brokers.pubsub:PubSubBroker",
        "sqlite": "taskq_cloud.brokers.sqlite:SQLiteBroker",
        "sqs": "taskq_cloud.brokers.sqs:SQSBroker",
    },
    "taskq_cloud.brokers",
)


def broker_from_url(url: str, options: Mapping[str, Any]) -> Broker:
    """Make the broker of a URL, without calling its service.

    Args:
        url: ``sqs://region/prefix``, ``pubsub://project/prefix``, ``sqlite:///path``, ``memory://``, or the URL of a
            broker that another package registers under the entry points ``taskq_cloud.brokers``.
        options: the ``broker_transport_options`` setting.

    Raises:
        ImproperlyConfigured: no broker has the URL's scheme, or the URL or an option is wrong.
    """
    broker: Broker = BROKERS.open(url, options)
    return broker
