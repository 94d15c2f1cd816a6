"""The registry that finds a broker by the scheme of its URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.ports import Broker
from taskq_cloud.core.urls import Registry

BROKERS: Final = Registry(
    "broker",
    {
        "amqp": "taskq_cloud.brokers.rabbitmq:RabbitMQBroker",
        "amqps": "taskq_cloud.brokers.rabbitmq:RabbitMQBroker",
        "memory": "taskq_cloud.brokers.memory:MemoryBroker",
        "postgresql": "taskq_cloud.brokers.postgresql:PostgreSQLBroker",
        "pubsub": "taskq_cloud.brokers.pubsub:PubSubBroker",
        "redis": "taskq_cloud.brokers.redis:RedisBroker",
        "redis+socket": "taskq_cloud.brokers.redis:RedisBroker",
        "rediss": "taskq_cloud.brokers.redis:RedisBroker",
        "sentinel": "taskq_cloud.brokers.redis:RedisBroker",
        "sqlite": "taskq_cloud.brokers.sqlite:SQLiteBroker",
        "sqs": "taskq_cloud.brokers.sqs:SQSBroker",
    },
    "taskq_cloud.brokers",
)


def broker_from_url(url: str, options: Mapping[str, Any]) -> Broker:
    """Make the broker of a URL, without calling its service.

    Args:
        url: ``sqs://region/prefix``, ``pubsub://project/prefix``, ``redis://host/0``, ``amqp://host/vhost``,
            ``postgresql://host/database``, ``sqlite:///path``, ``memory://``, or the URL of a broker that another
            package registers under the entry points ``taskq_cloud.brokers``. Redis and RabbitMQ take several URLs of
            servers that share their queues, separated by ``;``: the next one is used if one can't be reached.
        options: the ``broker_transport_options`` setting.

    Raises:
        ImproperlyConfigured: no broker has the URL's scheme, or the URL or an option is wrong.
    """
    broker: Broker = BROKERS.open(url, options)
    return broker
