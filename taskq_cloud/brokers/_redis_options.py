"""The settings of a Redis broker: the options in its URL, and ``broker_transport_options``, which may be Celery's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode

from taskq_cloud.core.servers.redis import SERVICE_OPTIONS
from taskq_cloud.errors import ImproperlyConfigured

KEY_PREFIX: Final = "taskq:"
"""What the keys of this package's layout begin with, unless ``global_keyprefix`` says otherwise."""

LAYOUTS: Final = ("taskq", "celery")

_IN_URL: Final = ("layout", "global_keyprefix")

_KNOWN: Final = frozenset({*_IN_URL, *SERVICE_OPTIONS})

_IGNORED: Final = frozenset(
    {
        "ack_emulation", "client_name", "fanout_patterns", "fanout_prefix", "health_check_interval", "max_connections",
        "max_retries", "min_other_sentinels", "polling_interval", "priority_steps", "queue_order_strategy",
        "reauth_check_interval", "retry_on_timeout", "sep", "socket_connect_timeout", "socket_keepalive",
        "socket_keepalive_options", "socket_timeout", "unacked_index_key", "unacked_key", "unacked_mutex_expire",
        "unacked_mutex_key", "unacked_restore_interval", "unacked_restore_limit", "unacked_restore_throttle",
        "visibility_timeout", "wait_time_seconds",
    }
)  # fmt: skip
"""Options of kombu's that have no use in this package's layout, and settings that the worker reads."""


def layout_of(urls: Sequence[SplitResult], options: Mapping[str, Any]) -> tuple[str, list[SplitResult], dict[str, Any]]:
    """Return the layout of the keys, the URLs without the options that are the broker's own, and all options.

    Raises:
        ImproperlyConfigured: there is no such layout.
    """
    found = dict(options)
    stripped = [_without_own_options(url, found) for url in urls]
    layout = found.pop("layout", LAYOUTS[0])
    if layout not in LAYOUTS:
        raise ImproperlyConfigured(f"layout {layout!r} is unknown: write {' or '.join(map(repr, LAYOUTS))}")
    return layout, stripped, found


def key_prefix(options: Mapping[str, Any]) -> str:
    """Return what the keys of this package's layout begin with, after a look at the names of all options.

    Raises:
        ImproperlyConfigured: an option is unknown, or the prefix isn't a text.
    """
    for name in options:
        if name not in _KNOWN | _IGNORED:
            raise ImproperlyConfigured(
                f"broker_transport_options: {name!r} isn't an option of Redis; known: {', '.join(sorted(_KNOWN))}"
            )
    prefix = options.get("global_keyprefix", KEY_PREFIX)
    if not isinstance(prefix, str) or "{" in prefix:  # the braces around a queue's name are to be the first ones
        raise ImproperlyConfigured(f"global_keyprefix is a text without braces, not {prefix!r}")
    return prefix


def _without_own_options(url: SplitResult, options: dict[str, Any]) -> SplitResult:
    """Move the options of this broker from a URL's query to the options."""
    pairs = parse_qsl(url.query, keep_blank_values=True)
    options.update({name: value for name, value in pairs if name in _IN_URL})
    rest = [(name, value) for name, value in pairs if name not in _IN_URL]
    return url._replace(query=urlencode(rest)) if len(rest) < len(pairs) else url
