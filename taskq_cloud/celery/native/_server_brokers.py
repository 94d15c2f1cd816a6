"""Turns Celery's settings of Redis and RabbitMQ as brokers into native URLs and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from taskq_cloud.celery.native._server_queues import queue_options
from taskq_cloud.errors import ImproperlyConfigured

REDIS: Final = frozenset({"redis", "rediss", "redis+socket", "sentinel"})
RABBITMQ: Final = frozenset({"amqp", "amqps"})

_SCHEMES: Final = {"pyamqp": "amqp", "librabbitmq": "amqp", "redis+rediss": "rediss", "socket": "redis+socket"}
"""Celery's names of transports -> the schemes of native URLs."""
_TLS_NAMES: Final = ("ca_certs", "certfile", "keyfile", "cert_reqs", "check_hostname")
_CHECKS: Final = {0: "none", 1: "optional", 2: "required"}
"""The values of ``ssl.CERT_NONE``, ``CERT_OPTIONAL`` and ``CERT_REQUIRED`` -> how a URL names them."""


def server_url(conf: Any, url: str) -> str | None:
    """Return the native URL of a server of Redis or RabbitMQ; None: the URL is of another system.

    Args:
        conf: the configuration.
        url: one URL, as Celery writes it; RabbitMQ's may be ``amqp://`` alone.
    """
    given, _, rest = url.partition("://")
    scheme = _SCHEMES.get(given.lower(), given.lower())
    if scheme in RABBITMQ:
        return f"{'amqps' if conf.get('broker_use_ssl') else scheme}://{_without_slash(rest)}"
    if scheme in REDIS:
        return with_tls(f"{scheme}://{rest}", conf.get("broker_use_ssl"), "broker_use_ssl")
    return None


def _without_slash(rest: str) -> str:
    """Write the virtual host ``/`` as native URLs do: Celery's ``amqp://host//`` names it by a second slash."""
    address, slash, host = rest.partition("/")
    return f"{address}{slash}{host.removeprefix('/')}" if host.startswith("/") else rest


def server_options(conf: Any, broker: str) -> dict[str, Any]:
    """Return the options of a broker on Redis or RabbitMQ that settings of Celery's stand for.

    Celery's workers may share the queues, so Redis has Celery's layout, unless the options name one.
    """
    scheme = broker.partition("://")[0]
    found: dict[str, Any] = {}
    if scheme in REDIS:
        found["layout"] = "celery"
    elif scheme in RABBITMQ:
        found |= _rabbitmq_options(conf)
    else:
        return found
    if strategy := conf.get("broker_failover_strategy"):
        if not isinstance(strategy, str):
            raise ImproperlyConfigured(
                f"broker_failover_strategy is {strategy!r:.100}; supported are 'round-robin' and 'shuffle'"
            )
        found["failover_strategy"] = strategy
    return found


def orders_by_priority(broker: str, options: Mapping[str, Any]) -> bool:
    """Return whether the broker itself orders the messages of a queue by their priorities, as it does for Celery.

    Args:
        broker: the native URL.
        options: the broker's options.
    """
    scheme = broker.partition("://")[0]
    return scheme in RABBITMQ or (scheme in REDIS and options.get("layout") == "celery")


def _rabbitmq_options(conf: Any) -> dict[str, Any]:
    found = queue_options(conf)
    tls = conf.get("broker_use_ssl")
    if isinstance(tls, Mapping):
        found["ssl"] = {name.removeprefix("ssl_"): value for name, value in tls.items()}
    names = {
        "broker_heartbeat": "heartbeat",
        "broker_login_method": "login_method",
        "broker_native_delayed_delivery_queue_type": "delayed_delivery_queue_type",
        "task_queue_max_priority": "max_priority",
    }
    for name, option in names.items():
        if (value := conf.get(name)) is not None:
            found[option] = value
    if found.get("login_method") == "AMQPLAIN":  # the same user and password, written in another way
        found["login_method"] = "PLAIN"
    return found


def with_tls(url: str, tls: Any, setting: str) -> str:
    """Return Redis's URL with TLS and the files of a setting such as ``broker_use_ssl``.

    Args:
        url: the URL.
        tls: False or None: the URL says whether there is TLS; True; or the files by their names in Celery.
        setting: the setting's name, for the error.

    Raises:
        ImproperlyConfigured: the setting has another value, or an unknown part, or the servers are found by sentinels.
    """
    if not tls or url.startswith("redis+socket:"):  # a socket is of this machine
        return url
    if url.startswith("sentinel:"):
        raise ImproperlyConfigured(
            f"{setting} is set, and servers that sentinels find are connected to without TLS: name the servers "
            "themselves (rediss://one;rediss://two), or remove the setting"
        )
    if tls is not True and not isinstance(tls, Mapping):
        raise ImproperlyConfigured(f"{setting} is {tls!r:.100}: set it to True or to a dict of ssl_... options")
    split = urlsplit(url)
    options = {} if tls is True else {name.removeprefix("ssl_"): value for name, value in tls.items()}
    unknown = sorted(options.keys() - set(_TLS_NAMES))
    if unknown:
        known = ", ".join(f"ssl_{name}" for name in _TLS_NAMES)
        raise ImproperlyConfigured(f"{setting} has the unknown option {unknown[0]!r}; known: {known}")
    query = {f"ssl_{name}": _text(value) for name, value in options.items() if value is not None}
    parts = "&".join(part for part in (split.query, urlencode(query)) if part)
    return split._replace(scheme="rediss", query=parts).geturl()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _CHECKS.get(value, str(value)) if isinstance(value, int) else str(value)
