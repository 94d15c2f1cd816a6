"""Celery's settings: the table of their options, and functions that find a setting by its new or old name."""

from __future__ import annotations

from collections import deque, namedtuple
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from taskq_cloud.celery.app._settings_tables import (
    DEFAULT_ACCEPT_CONTENT,
    DEFAULT_POOL,
    DEFAULT_PROCESS_LOG_FMT,
    DEFAULT_SECURITY_DIGEST,
    DEFAULT_TASK_LOG_FMT,
    MESSAGES,
    OLD_NS,
    OLD_NS_BEAT,
    OLD_NS_WORKER,
    STORES,
    TASK,
    WORKER,
    Namespace,
    Option,
    flag,
    number,
    old_ns,
    on,
    row,
    sequence,
    table,
    text,
    whole,
)

__all__ = (
    "DEFAULTS",
    "DEFAULT_ACCEPT_CONTENT",
    "DEFAULT_POOL",
    "DEFAULT_PROCESS_LOG_FMT",
    "DEFAULT_SECURITY_DIGEST",
    "DEFAULT_TASK_LOG_FMT",
    "NAMESPACES",
    "OLD_NS",
    "OLD_NS_BEAT",
    "OLD_NS_WORKER",
    "SETTING_KEYS",
    "Namespace",
    "Option",
    "find",
    "flatten",
    "old_ns",
)

NAMESPACES: Final[dict[str, Any]] = {
    "accept_content": sequence(DEFAULT_ACCEPT_CONTENT, old=OLD_NS),
    "result_accept_content": sequence(),
    "enable_utc": on(),
    "imports": row(old=OLD_NS),
    "include": row(old=OLD_NS),
    "timezone": text(old=OLD_NS),
    "beat": Namespace(
        OLD_NS_BEAT,
        enable_remote_control=flag(),
        remote_control_max_tick_age=number(),
        max_loop_interval=number(0),
        schedule=table({}),
        scheduler=text("taskq_cloud.celery.beat:PersistentScheduler"),
        schedule_filename=text("celerybeat-schedule"),
        sync_every=whole(0),
        cron_starting_deadline=Option(None, type=int),
    ),
    "broker": Namespace(
        url=text(),
        read_url=text(),
        write_url=text(),
        transport=text(),
        transport_options=table({}),
        connection_timeout=number(4),
        connection_retry=on(),
        connection_retry_on_startup=flag(None),
        connection_max_retries=whole(100),
        channel_error_retry=flag(),
        failover_strategy=text(),
        heartbeat=whole(120),
        heartbeat_checkrate=whole(3.0),
        login_method=text(),
        native_delayed_delivery_queue_type=text("quorum"),
        pool_limit=whole(10),
        pool_acquire_timeout=number(),
        use_ssl=flag(),
        host=text(),
        port=whole(),
        user=text(),
        password=text(),
        vhost=text(),
    ),
    "cache": Namespace(old_ns("celery_cache"), backend=text(), backend_options=table({})),
    **STORES,
    **MESSAGES,
    "task": TASK,
    "worker": WORKER,
}
"""Namespace -> name without the namespace -> setting. Settings without a namespace are in the first level."""

searchresult = namedtuple("searchresult", ("namespace", "key", "type"))  # noqa: PYI024 - Celery's class
"""A setting that ``find`` found: its namespace, its name in the namespace, and its option."""

KeyFilter = Callable[[str, str, Option], Any]


def _flatten_keys(ns: str, key: str, opt: Option) -> list[tuple[str, Option]]:
    return [(ns + key, opt)]


def _to_compat(ns: str, key: str, opt: Option) -> list[tuple[str, str, Option]]:
    """Return the old names of a setting, each with the new name and the option."""
    old = [pattern.format(key) for pattern in opt.old] or [ns + key]
    return [(name.upper(), ns + key, opt) for name in old]


def flatten(d: dict[str, Any], root: str = "", keyfilter: KeyFilter = _flatten_keys) -> Iterator[Any]:
    """Iterate over the settings of nested namespaces, level by level.

    Args:
        d: the namespaces.
        root: the text before every name.
        keyfilter: makes items of a namespace with its underscore, a name in it and the option; by default a pair of the
            full name and the option.
    """
    left = deque([(root, d)])
    while left:
        ns, options = left.popleft()
        for key, option in options.items():
            if isinstance(option, dict):
                left.append((f"{ns}{key}_", option))
            else:
                yield from keyfilter(ns, key, option)


_OPTIONS: Final[dict[str, Option]] = dict(flatten(NAMESPACES))
_COMPAT: Final[list[tuple[str, str, Option]]] = list(flatten(NAMESPACES, keyfilter=_to_compat))

DEFAULTS: Final[dict[str, Any]] = {name: option.default for name, option in _OPTIONS.items()}
"""Setting -> default."""
SETTING_KEYS: Final = set(DEFAULTS)

_OLD_DEFAULTS: Final = {old: option.default for old, _, option in _COMPAT}
_TO_OLD_KEY: Final = {new: old for old, new, _ in _COMPAT}
_TO_NEW_KEY: Final = {old: new for old, new, _ in _COMPAT}
_OLD_SETTING_KEYS: Final = set(_TO_NEW_KEY)


def find_deprecated_settings(source: Any) -> Any:
    """Warn of the deprecated settings that an object sets, and return the object."""
    from taskq_cloud.celery.utils import deprecated  # few applications set any

    for name, option in _OPTIONS.items():
        if (option.deprecate_by or option.remove_by) and getattr(source, name, None) is not None:
            deprecated.warn(
                description=f"The {name!r} setting",
                deprecation=option.deprecate_by,
                removal=option.remove_by,
                alternative=f"Use the {option.alt} instead",
            )
    return source


@cache
def find(name: str, namespace: str = "celery") -> searchresult:
    """Find a setting by its name, with or without its namespace, in any case.

    Args:
        name: the name.
        namespace: the namespace that is searched first.

    Raises:
        KeyError: there is no such setting.
    """
    name, namespace = name.lower(), namespace.lower()
    try:
        return searchresult(namespace, name, NAMESPACES[namespace][name])
    except KeyError:
        pass
    for ns, options in NAMESPACES.items():
        if ns == name:
            return searchresult(None, ns, options)
        if isinstance(options, dict) and name in options:
            return searchresult(ns, name, options[name])
    return searchresult(None, name, _OPTIONS[name])
