"""What differs from Celery on a broker or a result store that a project names, and stays supported."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

_REDIS: Final = (
    "Queues on Redis have Celery's layout, so Celery's workers can share them. A task whose worker dies comes back "
    "after visibility_timeout (3600 s), and Redis has to write to its disk (appendonly yes): docs/redis.md."
)
_RABBITMQ: Final = (
    "RabbitMQ itself holds back messages with a countdown or an eta, confirms each call's message, and ordered queues "
    "(.fifo) are not supported. Queues are classic unless task_default_queue_type is quorum: docs/rabbitmq.md."
)
_BROKERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("redis", "rediss", "redis+socket", "sentinel"), _REDIS),
    **dict.fromkeys(("amqp", "amqps"), _RABBITMQ),
    "memory": "Messages in memory reach workers of the same process only.",
}
_OWN_CHORDS: Final = (
    "Results are shared with Celery's workers, and chords only if Celery's result_backend has taskq+ before this URL: "
    "docs/migrating-from-celery.md#workflows."
)
_NO_CHORDS: Final = (
    "This store keeps results and counts nothing: chords, once tasks and rate limits are errors: {page}."
)
_STORES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("redis", "rediss", "redis+socket", "sentinel", "db", "django-db", "mongodb"), _OWN_CHORDS),
    "rpc": (
        "A result goes over RabbitMQ to the process that has called the task, and to no other. Chords, once tasks and "
        "rate limits are errors, revoked tasks run, and another broker is an error: "
        "docs/rabbitmq.md#results-as-replies."
    ),
    "memcached": (
        "A server of memcached forgets results, and the members of chords that have ended, when it is full or "
        "restarted: docs/key-value-results.md."
    ),
    "django-cache": _NO_CHORDS.format(page="docs/sql-results.md#djangos-stores"),
    "riak": _NO_CHORDS.format(page="docs/document-results.md#riak"),
    "memory": "Results in memory are seen by the process that has stored them only.",
}
WITHOUT_EFFECT: Final = frozenset(
    {
        "client_name",
        "confirm_timeout",
        "errback",
        "health_check_interval",
        "interval_max",
        "interval_start",
        "interval_step",
        "max_connections",
        "max_retries",
        "min_other_sentinels",
        "polling_interval",
        "queue_order_strategy",
        "read_timeout",
        "reauth_check_interval",
        "retry_on_timeout",
        "retry_policy",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_timeout",
        "unacked_mutex_expire",
        "unacked_mutex_key",
        "unacked_restore_interval",
        "unacked_restore_limit",
        "write_timeout",
    }
)
"""Options of kombu's transports and of Celery's backends that no broker and no store here uses."""


def note_of(setting: str, url: str) -> str:
    """Return what differs from Celery; "": nothing that a project has to know beforehand.

    Args:
        setting: ``broker_url`` or ``result_backend``.
        url: the native URL.
    """
    scheme = url.partition("://")[0]
    if setting == "broker_url":
        return _BROKERS.get(scheme, "")
    return _STORES.get(scheme.partition("+")[0] if scheme.startswith(("db+", "mongodb+")) else scheme, "")


def options_without_effect(options: Collection[object]) -> list[str]:
    """Return which options of a transport have no effect here."""
    return sorted(WITHOUT_EFFECT.intersection(str(option) for option in options))
