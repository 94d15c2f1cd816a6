"""Fanout exchanges in kombu's layout on Redis: the channels and bytes of Celery's events and control commands.

A fanout exchange is a channel that is published to (``PUBLISH``); nobody keeps its messages. Its name begins with the
number of the database, as channels are shared by all databases: ``/0.celeryev/worker.heartbeat``, ``/0.celery.pidbox``.
Consumers subscribe to patterns: ``/0.celeryev/*`` for all events.

Source: the bytes of kombu 5.7.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.brokers._redis_celery_options import LayoutOptions

EVENTS: Final = "celeryev"
"""The exchange of Celery's events. The routing key is the event's type, with dots for hyphens."""

CONTROL: Final = "celery.pidbox"
"""The exchange of control commands that all workers hear."""

_TRANSIENT, _PERSISTENT = 1, 2


def fanout_topic(options: LayoutOptions, database: int, exchange: str, routing_key: str = "") -> str:
    """The channel of a fanout exchange, without ``global_keyprefix``.

    Args:
        options: the layout's names.
        database: the number of the database.
        exchange: the exchange.
        routing_key: the routing key, or a pattern with ``*`` to subscribe to.
    """
    channel = options.fanout_prefix.format(db=database) + exchange
    return f"{channel}/{routing_key}" if routing_key and options.fanout_patterns else channel


def fanout_message(exchange: str, routing_key: str, body: Any, headers: Mapping[str, Any], tag: str) -> str:
    """Write a message to a fanout exchange, byte for byte as kombu does.

    Args:
        exchange: the exchange. Messages of ``celeryev`` are marked as transient, as Celery marks them.
        routing_key: the routing key.
        body: the message, as plain JSON.
        headers: the message's headers.
        tag: its delivery tag.
    """
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": dict(headers),
            "properties": {
                "delivery_mode": _TRANSIENT if exchange == EVENTS else _PERSISTENT,
                "delivery_info": {"exchange": exchange, "routing_key": routing_key},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": tag,
            },
        }
    )
