"""Declarations of queues and exchanges, with the attributes of kombu's.

SQS and Pub/Sub have queues, and nothing before them: a message goes to the queue with a queue's name. An exchange and a
routing key only choose that queue among the declared ones (``taskq_cloud.celery.app.amqp.native_queue``). The other
attributes are kept, compared and written as kombu does, and change nothing: the queue itself is made by the deployment.
kombu's own objects are accepted wherever these are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any, ClassVar

__all__ = ("Exchange", "Queue", "binding", "is_exchange", "is_queue", "maybe_delivery_mode")

TRANSIENT_DELIVERY_MODE = 1
PERSISTENT_DELIVERY_MODE = 2
DELIVERY_MODES: dict[Any, int] = {"transient": TRANSIENT_DELIVERY_MODE, "persistent": PERSISTENT_DELIVERY_MODE}

# The attributes in which two declarations must be equal to be equal.
_EXCHANGE_IDENTITY = ("name", "type", "arguments", "durable", "auto_delete", "delivery_mode")
_QUEUE_IDENTITY = (
    "name",
    "exchange",
    "routing_key",
    "queue_arguments",
    "binding_arguments",
    "consumer_arguments",
    "durable",
    "exclusive",
    "auto_delete",
)


def is_queue(value: Any) -> bool:
    """Tell whether ``value`` declares a queue: one of ours or of kombu's."""
    kind = type(value)
    return hasattr(kind, "routing_key") and hasattr(kind, "exchange") and hasattr(kind, "name")


def is_exchange(value: Any) -> bool:
    """Tell whether ``value`` declares an exchange: one of ours or of kombu's."""
    kind = type(value)
    return hasattr(kind, "delivery_mode") and hasattr(kind, "type") and hasattr(kind, "name")


def maybe_delivery_mode(v: Any, modes: dict[Any, int] | None = None, default: Any = PERSISTENT_DELIVERY_MODE) -> Any:
    """Return a delivery mode as a number; it changes nothing here, as every queue keeps its messages."""
    if not v:
        return default
    return v if isinstance(v, Integral) else (modes or DELIVERY_MODES)[v]


def _unquoted(value: Any) -> str:
    return repr(value)[1:-1]


def _rebuilt(kind: type[_Declaration], attributes: dict[str, Any]) -> _Declaration:
    return kind(**attributes)


class _Declaration:
    """Attributes by name, each converted when it is given and None when it isn't."""

    attrs: ClassVar[tuple[tuple[str, Callable[[Any], Any] | None], ...]] = ()

    def __init__(self, **kwargs: Any) -> None:
        for name, convert in self.attrs:
            value = kwargs.get(name)
            if value is not None:
                setattr(self, name, convert(value) if convert else value)
            elif not hasattr(self, name):
                setattr(self, name, None)

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """Return the attributes; with ``recurse``, those of the exchange too."""

        def plain(value: Any, convert: Callable[[Any], Any] | None) -> Any:
            if recurse and hasattr(value, "as_dict"):
                return value.as_dict(recurse=True)
            return convert(value) if convert and value is not None else value

        return {name: plain(getattr(self, name), convert) for name, convert in self.attrs}

    def __reduce__(self) -> Any:
        return _rebuilt, (type(self), self.as_dict())

    def __copy__(self) -> Any:
        return type(self)(**self.as_dict())


class Exchange(_Declaration):
    """The declaration of an exchange, which is a name for choosing queues by.

    Args:
        name: its name; the exchange without a name leads to the queue that the routing key names.
        type: "direct", "topic" or "fanout".
        channel: is not used: there is no connection that an exchange belongs to.
        kwargs: kombu's other attributes: durable, auto_delete, passive, delivery_mode, arguments, no_declare.
    """

    TRANSIENT_DELIVERY_MODE = TRANSIENT_DELIVERY_MODE
    PERSISTENT_DELIVERY_MODE = PERSISTENT_DELIVERY_MODE

    name: Any = ""
    type: Any = "direct"
    arguments: Any
    durable = True
    auto_delete = False
    passive = False
    delivery_mode: Any = None
    no_declare = False

    attrs = (
        ("name", None),
        ("type", None),
        ("arguments", None),
        ("durable", bool),
        ("passive", bool),
        ("auto_delete", bool),
        ("delivery_mode", lambda mode: DELIVERY_MODES.get(mode) or mode),
        ("no_declare", bool),
    )

    def __init__(self, name: Any = "", type: Any = "", channel: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = name or self.name
        self.type = type or self.type

    def binding(self, routing_key: str = "", arguments: Any = None, unbind_arguments: Any = None) -> binding:
        """Return a binding to this exchange."""
        return binding(self, routing_key, arguments, unbind_arguments)

    def __hash__(self) -> int:
        return hash(f"E|{self.name}")

    def __eq__(self, other: object) -> bool:
        if not is_exchange(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _EXCHANGE_IDENTITY)

    def __repr__(self) -> str:
        return f"<unbound {self}>"

    def __str__(self) -> str:
        return f"Exchange {_unquoted(self.name) or repr('')}({self.type})"

    @property
    def can_cache_declaration(self) -> bool:
        """Whether the exchange stays once it was declared."""
        return not self.auto_delete


class binding(_Declaration):
    """A rule by which messages come from an exchange to a queue: the routing key that they have.

    Args:
        exchange: the exchange.
        routing_key: the key, or the pattern of keys if the exchange is a topic.
        arguments: kept, and not used.
        unbind_arguments: kept, and not used.
    """

    attrs = (("exchange", None), ("routing_key", None), ("arguments", None), ("unbind_arguments", None))

    def __init__(
        self, exchange: Any = None, routing_key: Any = "", arguments: Any = None, unbind_arguments: Any = None
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.arguments = arguments
        self.unbind_arguments = unbind_arguments

    def __repr__(self) -> str:
        return f"<binding: {self}>"

    def __str__(self) -> str:
        return f"{_unquoted(self.exchange.name)}->{_unquoted(self.routing_key)}"


class Queue(_Declaration):
    """The declaration of a queue; its name is the name of the native queue.

    Args:
        name: the queue's name.
        exchange: an exchange or its name, or a list of bindings.
        routing_key: the key with which messages come from the exchange to this queue.
        channel: is not used: there is no connection that a queue belongs to.
        bindings: more rules by which messages come to this queue.
        on_declared: kept, and not called: the deployment makes queues.
        kwargs: kombu's other attributes, from ``alias`` to ``max_priority``.
    """

    name: Any = ""
    exchange: Any = Exchange("")
    routing_key: Any = ""

    alias: Any
    queue_arguments: Any
    binding_arguments: Any
    consumer_arguments: Any
    expires: Any
    message_ttl: Any
    max_length: Any
    max_length_bytes: Any
    max_priority: Any
    durable = True
    exclusive = False
    auto_delete = False
    no_ack: Any = False
    no_declare: Any

    attrs = (
        ("name", None),
        ("exchange", None),
        ("routing_key", None),
        ("queue_arguments", None),
        ("binding_arguments", None),
        ("consumer_arguments", None),
        ("durable", bool),
        ("exclusive", bool),
        ("auto_delete", bool),
        ("no_ack", None),
        ("alias", None),
        ("bindings", list),
        ("no_declare", bool),
        ("expires", float),
        ("message_ttl", float),
        ("max_length", int),
        ("max_length_bytes", int),
        ("max_priority", int),
    )

    def __init__(
        self,
        name: Any = "",
        exchange: Any = None,
        routing_key: Any = "",
        channel: Any = None,
        bindings: Iterable[Any] | None = None,
        on_declared: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name or self.name
        if isinstance(exchange, str):
            self.exchange = Exchange(exchange)
        elif is_exchange(exchange):
            self.exchange = exchange
        self.routing_key = routing_key or self.routing_key
        self.bindings = set(bindings or ())
        self.on_declared = on_declared
        if isinstance(exchange, list | tuple | set):
            self.bindings |= set(exchange)
        if self.bindings:
            self.exchange = None
        if self.exclusive:
            self.auto_delete = True

    @classmethod
    def from_dict(cls, queue: str, **options: Any) -> Queue:
        """Return the queue that an entry of a ``task_queues`` dictionary declares.

        Args:
            queue: the queue's name.
            options: attributes of the queue; ``exchange_durable``, ``queue_durable`` and the like tell it from its
                exchange, and ``binding_key`` stands for ``routing_key``.
        """

        def option(name: str, general: str) -> Any:
            value = options.get(name)
            return options.get(general) if value is None else value

        exchange = Exchange(
            options.get("exchange"),
            type=options.get("exchange_type"),
            delivery_mode=options.get("delivery_mode"),
            durable=option("exchange_durable", "durable"),
            auto_delete=option("exchange_auto_delete", "auto_delete"),
            arguments=options.get("exchange_arguments"),
        )
        explicit = {"name", "exchange", "routing_key", "durable", "auto_delete"}
        return Queue(
            queue,
            exchange=exchange,
            routing_key=options.get("binding_key") or options.get("routing_key"),
            durable=option("queue_durable", "durable"),
            auto_delete=option("queue_auto_delete", "auto_delete"),
            **{name: options[name] for name, _ in cls.attrs if name in options and name not in explicit},
        )

    def as_dict(self, recurse: bool = False) -> dict[str, Any]:
        """Return the attributes; with ``recurse``, those of the exchange and the bindings too."""
        attributes = super().as_dict(recurse)
        if recurse and attributes["bindings"]:
            attributes["bindings"] = [each.as_dict(recurse=True) for each in attributes["bindings"]]
        return attributes

    def __hash__(self) -> int:
        return hash(f"Q|{self.name}")

    def __eq__(self, other: object) -> bool:
        if not is_queue(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _QUEUE_IDENTITY)

    def __repr__(self) -> str:
        name = _unquoted(self.name)
        if self.bindings:
            return f"<unbound Queue {name} -> [{', '.join(map(str, self.bindings))}]>"
        return f"<unbound Queue {name} -> {self.exchange!r} -> {_unquoted(self.routing_key)}>"

    @property
    def can_cache_declaration(self) -> bool:
        """Whether the queue stays once it was declared."""
        return "x-expires" not in (self.queue_arguments or {}) and not self.auto_delete
