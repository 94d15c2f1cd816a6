"""The settings and errors of RabbitMQ, which its broker and its result store share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult

from taskq_cloud.core.flows import CallError, Trouble
from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of, shown, without_secrets
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, OperationalError, QueueNotFound, Unreachable

QUEUE_TYPES: Final = ("classic", "quorum")
CONSUMER_TIMEOUT_SECONDS: Final = 1800.0
"""RabbitMQ's default ``consumer_timeout`` (RabbitMQ documentation, "Consumers", "Acknowledgement Timeout")."""
LARGEST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""RabbitMQ 4's default ``max_message_size``; older servers take 128 MiB."""
LARGEST_PRIORITY: Final = 255
RECEIVES: Final = "x-taskq-receives"
"""The header that says how often a message was received before it was sent again."""
DELIVERY_COUNT: Final = "x-delivery-count"
"""The header by which a quorum queue says how often it has handed a message over before."""

_STRATEGIES: Final = ("round-robin", "shuffle")
_LOGIN_METHODS: Final = ("PLAIN", "EXTERNAL")
_TLS: Final = frozenset({"ca_certs", "certfile", "keyfile", "password", "verify"})
_UNCHECKED: Final = ("none", "0", "verifymode.cert_none")
"""``ssl.CERT_NONE``, its name, and its number, as texts."""

_IN_URL: Final = frozenset(
    {
        "confirm_publish",
        "connect_timeout",
        "connection_name",
        "consumer_timeout",
        "create_missing_queues",
        "delayed_delivery_prefix",
        "delayed_delivery_queue_type",
        "delivery_limit",
        "exchange_type",
        "heartbeat",
        "largest_message_bytes",
        "login_method",
        "max_priority",
        "queue_type",
    }
)
_KNOWN: Final = _IN_URL | {"failover_strategy", "queue_arguments", "ssl"}
_IGNORED: Final = frozenset(
    {
        "client_properties",
        "confirm_timeout",
        "errback",
        "interval_max",
        "interval_start",
        "interval_step",
        "max_retries",
        "read_timeout",
        "visibility_timeout",
        "write_timeout",
    }
)
"""Options of kombu's that have no use here: retries are the core's."""


_HINTS: Final = {
    "Blocked": "free memory or disk space at the server, or change vm_memory_high_watermark or disk_free_limit",
    "ACCESS_REFUSED": "check the user and the password in the URL, and the user's permissions (rabbitmqctl "
    "set_permissions): to configure is needed to declare queues, or set create_missing_queues to false",
    "NOT_ALLOWED": "create the virtual host (rabbitmqctl add_vhost), and give the user permissions on it",
    "PRECONDITION_FAILED": "the queue exists with other arguments: set queue_type, max_priority, delivery_limit or "
    "queue_arguments in broker_transport_options as it was declared, or delete the queue while it is empty",
    "RESOURCE_LOCKED": "the queue is exclusive to another connection: use another name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMQOptions:
    """The settings of a RabbitMQ broker.

    Args:
        urls: the servers, which are alternatives; with the login, without a query.
        queue_type: the type of queues that are declared: ``classic`` or ``quorum``.
        exchange_type: the type of the exchange that is declared with each queue.
        create_missing_queues: whether queues are declared when they are used first.
        confirm_publish: whether a call waits until the server has its message.
        max_priority: the highest priority of queues that are declared; None: they have no priorities.
        delivery_limit: how often a quorum queue hands a message over before it moves it to the dead-letter queue; None:
            the server's own limit.
        queue_arguments: queue -> further arguments of its declaration.
        delayed_delivery_queue_type: the type of the queues that hold delayed messages.
        delayed_delivery_prefix: the prefix of their names.
        consumer_timeout: how long the server lets a delivery be unsettled, in seconds.
        largest_message_bytes: the largest message that the server takes.
        client: the options of the client.
    """

    urls: Sequence[str] = field(repr=False)
    queue_type: str = "classic"
    exchange_type: str = "direct"
    create_missing_queues: bool = True
    confirm_publish: bool = True
    max_priority: int | None = None
    delivery_limit: int | None = None
    queue_arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    delayed_delivery_queue_type: str = "quorum"
    delayed_delivery_prefix: str = ""
    consumer_timeout: float = CONSUMER_TIMEOUT_SECONDS
    largest_message_bytes: int = LARGEST_MESSAGE_BYTES
    client: Mapping[str, Any] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        """The client of the servers."""
        return Service("rabbitmq", (("urls", tuple(self.urls)), *sorted(self.client.items())))

    @property
    def service_name(self) -> str:
        """The name of the client, without a password."""
        return f"rabbitmq:{without_secrets(self.urls[0])}"


def read_options(urls: Sequence[SplitResult], options: Mapping[str, Any]) -> RabbitMQOptions:
    """Read ``amqp://user:password@host:port/vhost``, one or several, and the transport options.

    Args:
        urls: the URLs; an option after the ``?`` of the first one is a transport option.
        options: ``broker_transport_options``; options of the URL win.

    Raises:
        ImproperlyConfigured: a URL or an option is wrong; the error says which.
    """
    unknown = sorted(options.keys() - _KNOWN - _IGNORED)
    if unknown:
        raise ImproperlyConfigured(
            f"broker_transport_options: RabbitMQ has no option {unknown[0]!r}; known: {', '.join(sorted(_KNOWN))}"
        )
    given = {**options, **query_of(urls[0], _IN_URL)}
    for url in urls[1:]:
        query_of(url)
    for url in urls:
        _check_address(url)
    read = _Reader(urls[0], given)
    client: dict[str, Any] = {
        "heartbeat": read.number("heartbeat", 60, 0),
        "connect_timeout": read.number("connect_timeout", 5.0, 0.1),
        "external": read.choice("login_method", _LOGIN_METHODS, "PLAIN") == "EXTERNAL",
        "failover_strategy": read.choice("failover_strategy", _STRATEGIES, "round-robin"),
    }
    if given.get("connection_name"):
        client["connection_name"] = str(given["connection_name"])
    if given.get("ssl"):
        client["ssl"] = _tls(urls[0], given["ssl"])
    return RabbitMQOptions(
        urls=[url._replace(query="", fragment="").geturl() for url in urls],
        queue_type=read.choice("queue_type", QUEUE_TYPES, "classic"),
        exchange_type=read.choice("exchange_type", ("direct", "topic", "fanout"), "direct"),
        create_missing_queues=read.boolean("create_missing_queues", default=True),
        confirm_publish=read.boolean("confirm_publish", default=True),
        max_priority=read.whole("max_priority", LARGEST_PRIORITY),
        delivery_limit=read.whole("delivery_limit", 2**31 - 1),
        queue_arguments=_queue_arguments(given.get("queue_arguments") or {}),
        delayed_delivery_queue_type=read.choice("delayed_delivery_queue_type", QUEUE_TYPES, "quorum"),
        delayed_delivery_prefix=str(given.get("delayed_delivery_prefix", "")),
        consumer_timeout=read.number("consumer_timeout", CONSUMER_TIMEOUT_SECONDS, 1),
        largest_message_bytes=read.whole("largest_message_bytes", 2**29) or LARGEST_MESSAGE_BYTES,
        client=client,
    )


def _check_address(url: SplitResult) -> None:
    try:
        port = url.port
    except ValueError:
        port = 0
    if port == 0:
        raise ImproperlyConfigured(f"{shown(url)} has no valid port: write amqp://user:password@host:5672/vhost")
    if "/" in url.path.removeprefix("/").rstrip("/"):
        raise ImproperlyConfigured(
            f"{shown(url)} names a virtual host with a slash in it: write the slash as %2F, or leave it out for '/'"
        )


class _Reader:
    """Reads options by their types.

    Args:
        url: the URL, for errors.
        given: the options; those of a URL are texts.
    """

    def __init__(self, url: SplitResult, given: Mapping[str, Any]) -> None:
        self._url = url
        self._given = given

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self._given.get(name, default)
        if value not in choices:
            raise self._wrong(name, value, " or ".join(choices))
        return str(value)

    def number(self, name: str, default: float, least: float) -> float:
        value = self._given.get(name)
        if value is None:
            return default
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1
        if not least <= number < float("inf"):
            raise self._wrong(name, value, f"a number from {least:g}")
        return number

    def whole(self, name: str, most: int) -> int | None:
        value = self._given.get(name)
        if value is None:
            return None
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = 0
        if not 1 <= number <= most:
            raise self._wrong(name, value, f"a whole number from 1 to {most}")
        return number

    def boolean(self, name: str, *, default: bool) -> bool:
        value = self._given.get(name, default)
        found = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
        if found is None:
            raise self._wrong(name, value, "true or false")
        return found

    def _wrong(self, name: str, value: object, expected: str) -> ImproperlyConfigured:
        return ImproperlyConfigured(f"{shown(self._url)}: the option {name!r} is {value!r:.60}, and must be {expected}")


def _queue_arguments(given: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping) for each in given.values()):
        raise ImproperlyConfigured(
            "broker_transport_options: queue_arguments maps queues to arguments: {'orders': {'x-max-priority': 9}}"
        )
    return {str(queue): dict(arguments) for queue, arguments in given.items()}


def _tls(url: SplitResult, given: Any) -> tuple[tuple[str, Any], ...]:
    """Read Celery's ``broker_use_ssl``: True, or the files of certificates."""
    if given is True:
        return (("verify", True),)
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{shown(url)}: the option 'ssl' is True, or names files: {sorted(_TLS)}")
    files = dict(given)
    required = files.pop("cert_reqs", None)
    if required is not None:
        files.setdefault("verify", str(required).lower().removeprefix("cert_") not in _UNCHECKED)
    files.pop("ssl_version", None)
    unknown = sorted(files.keys() - _TLS)
    if unknown:
        raise ImproperlyConfigured(f"{shown(url)}: the option 'ssl' has no part {unknown[0]!r}; known: {sorted(_TLS)}")
    return tuple(sorted({"verify": True, **files}.items()))


def operational_error(about: str, error: CallError) -> OperationalError:
    """Turn a failed call into an error that says whether waiting may help.

    Args:
        about: the queue or the store, for the text.
        error: the failed call.
    """
    hint = _HINTS.get(error.code)
    text = f"{about}: RabbitMQ at {error.message}" + (f": {hint}" if hint else "")
    if error.trouble is Trouble.TRANSIENT or error.code == "Blocked":
        return Unreachable(text)
    if error.code == "ACCESS_REFUSED" or (error.code == "NOT_ALLOWED" and "refused" in error.message):
        return AccessDenied(text)
    if error.code == "NOT_FOUND":
        return QueueNotFound(f"{text}: create the queue, or set create_missing_queues to true")
    return OperationalError(text)
