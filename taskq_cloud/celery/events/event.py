"""The form of events, and the name of their exchange."""

import time
from collections.abc import Callable
from copy import copy
from typing import Any, Final

from taskq_cloud.celery.messaging import Exchange

__all__ = ("Event", "event_exchange", "get_exchange", "group_from")

EVENT_EXCHANGE_NAME: Final = "celeryev"
event_exchange: Final = Exchange(EVENT_EXCHANGE_NAME, type="topic")

# On these transports of kombu an exchange can't choose by routing keys.
_WITHOUT_TOPICS: Final = frozenset({"redis", "gcpubsub"})


def Event(
    type: str,
    _fields: Any = None,
    __dict__: Callable[..., Any] = dict,
    __now__: Callable[[], float] = time.time,
    **fields: Any,
) -> Any:
    """Make an event: a mapping with at least ``type`` and ``timestamp``.

    Args:
        type: the type, such as ``task-sent``: the group, a dash and what has happened.
        _fields: a mapping of fields.
        __dict__: the class of the event, if ``_fields`` is given.
        __now__: returns the time of an event without a timestamp.
        fields: more fields.
    """
    event = __dict__(_fields, **fields) if _fields else fields
    if "timestamp" not in event:
        event["timestamp"] = __now__()
    event["type"] = type
    return event


def group_from(type: str) -> str:
    """Return the group of a type: ``task`` of ``task-sent``."""
    return type.partition("-")[0]


def driver_type(connection: Any) -> str | None:
    """Return the kind of broker that a connection of kombu's leads to; None: the connection is one of ours."""
    kind: str | None = getattr(getattr(connection, "transport", None), "driver_type", None)
    return kind


def get_exchange(conn: Any, name: str = EVENT_EXCHANGE_NAME) -> Exchange:
    """Return the exchange of events.

    Args:
        conn: the connection to the broker.
        name: the exchange's name.
    """
    exchange = copy(event_exchange)
    exchange.name = name
    if driver_type(conn) in _WITHOUT_TOPICS:
        exchange.type = "fanout"
    return exchange
