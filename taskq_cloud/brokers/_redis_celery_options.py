"""The settings of Celery's layout on Redis: kombu's ``broker_transport_options``, by kombu's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.errors import ImproperlyConfigured

SEPARATOR: Final = "\x06\x16"
PRIORITY_STEPS: Final = (0, 3, 6, 9)
VISIBILITY_TIMEOUT_SECONDS: Final = 3600.0

CONNECTION_OPTIONS: Final = frozenset({"failover_strategy", "layout", "master_name", "sentinel_kwargs"})
"""Options of both layouts, which ``core.servers.redis`` and ``brokers.redis`` read."""

_IGNORED_OPTIONS: Final = frozenset(
    {
        "client_name",
        "health_check_interval",
        "max_connections",
        "max_retries",
        "min_other_sentinels",
        "polling_interval",
        "queue_order_strategy",
        "reauth_check_interval",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_timeout",
        "unacked_mutex_expire",
        "unacked_mutex_key",
        "unacked_restore_interval",
        "unacked_restore_limit",
        "unacked_restore_throttle",
        "wait_time_seconds",
    }
)
"""Options that have no use here: kombu's, and one that the worker reads. Timeouts and connections are the client's,
every receive puts messages back whose time is over, in one step that needs no mutex, and each queue is received from by
itself."""

_STRATEGIES: Final = ("round_robin", "sorted", "priority")
_MOST_STEPS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOptions:
    """The names and times of the layout. All programs that share the queues must have the same.

    Args:
        visibility_timeout: after how many seconds a consumer of Celery's puts back a message that is not acknowledged.
        prefix: the beginning of all keys and channels (``global_keyprefix``).
        separator: the text between a queue's name and a priority (``sep``).
        steps: the priorities that have a list (``priority_steps``); 0 is the most urgent.
        unacked: the hash of messages that are being worked on.
        unacked_index: the sorted set of their times.
        fanout_prefix: the beginning of the channels of fanout exchanges, with ``{db}`` for the database.
        fanout_patterns: whether these channels also have the routing key.
    """

    visibility_timeout: float = VISIBILITY_TIMEOUT_SECONDS
    prefix: str = ""
    separator: str = SEPARATOR
    steps: tuple[int, ...] = PRIORITY_STEPS
    unacked: str = "unacked"
    unacked_index: str = "unacked_index"
    fanout_prefix: str = "/{db}."
    fanout_patterns: bool = True


def read_options(options: Mapping[str, Any]) -> LayoutOptions:
    """Read ``broker_transport_options``.

    Raises:
        ImproperlyConfigured: an option is unknown, or its value can't be right; the error says which.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name == "queue_order_strategy" and value not in _STRATEGIES:
            raise _wrong(name, value, "is round_robin, sorted or priority")
        if name in _IGNORED_OPTIONS or name in CONNECTION_OPTIONS:
            continue
        if name not in _READERS:
            known = ", ".join(sorted({*_READERS, *CONNECTION_OPTIONS}))
            raise ImproperlyConfigured(f"broker_transport_options: {name!r} is unknown; known: {known}")
        field, reader = _READERS[name]
        if field is None:
            reader(name, value)
        else:
            found[field] = reader(name, value)
    return LayoutOptions(**found)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "is a text")
    return value


def _name(name: str, value: Any) -> str:
    if not _text(name, value):
        raise _wrong(name, value, "is not empty")
    return str(value)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < float("inf"):
        raise _wrong(name, value, "is a number of seconds, at least 1")
    return float(value)


def _steps(name: str, value: Any) -> tuple[int, ...]:
    is_list = isinstance(value, list | tuple) and all(type(each) is int for each in value)
    if not is_list or not 1 <= len(value) <= _MOST_STEPS or list(value) != sorted({*value}) or value[0] < 0:
        raise _wrong(name, value, "is a list of growing numbers from 0 to 9, such as [0, 3, 6, 9]")
    return tuple(value)


def _fanout_prefix(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, bool):
        raise _wrong(name, value, "is True, False or a text")
    return "/{db}." if value else ""


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "is True or False")
    return value


def _acknowledged(name: str, value: Any) -> bool:
    if value is not True:
        raise _wrong(name, value, "must be True: without it a message is lost with the worker that has it")
    return True


def _wrong(name: str, value: Any, remedy: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"broker_transport_options: {name} {remedy}, not {value!r}")


_READERS: Final[dict[str, tuple[str | None, Any]]] = {
    "ack_emulation": (None, _acknowledged),
    "fanout_patterns": ("fanout_patterns", _flag),
    "fanout_prefix": ("fanout_prefix", _fanout_prefix),
    "global_keyprefix": ("prefix", _text),
    "priority_steps": ("steps", _steps),
    "sep": ("separator", _name),
    "unacked_index_key": ("unacked_index", _name),
    "unacked_key": ("unacked", _name),
    "visibility_timeout": ("visibility_timeout", _seconds),
}
"""The name of an option -> the field that it sets, and the function that reads its value."""
