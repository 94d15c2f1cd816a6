"""The exchanges, queues and bindings of a RabbitMQ broker, as methods of AMQP; named and declared as Celery does.

A queue is durable, and bound to a durable exchange of its name. Messages are published to the default exchange, as
Celery publishes to direct exchanges.

A delayed message goes through up to 28 queues, one for each bit of its delay in seconds. The topic exchange of a bit
sends it to a queue that holds it back for that time if the bit is set, and to the next exchange if not. The last
exchange, ``celery_delayed_delivery``, hands it to the queue that the rest of its routing key names.

Source: kombu's "Native Delayed Delivery" (Celery documentation, "Using RabbitMQ", "Using Quorum Queues").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.servers.rabbitmq import RabbitMQOptions
from taskq_cloud.errors import ImproperlyConfigured

BITS: Final = 28
LONGEST_DELAY_SECONDS: Final = 2**BITS - 1
"""Eight and a half years."""
LONGEST_NAME_BYTES: Final = 255 - 2 * BITS
"""A routing key has 255 bytes, of which a delay takes 56."""

Method: TypeAlias = tuple[Any, ...]
Need: TypeAlias = tuple[str, Method | None, tuple[Method, ...]]
"""The name of declarations, a method that succeeds if they are there already or None, and the declarations."""


def queue_need(options: RabbitMQOptions, queue: str, *, dead: bool = False) -> Need:
    """What a queue needs to be used; without ``create_missing_queues`` it only has to be there.

    Args:
        options: the broker's settings.
        queue: the queue.
        dead: whether it is a dead-letter queue, which has no other one behind it.

    Raises:
        ImproperlyConfigured: the queue's name is too long, or means something else to RabbitMQ.
    """
    if len(queue.encode()) > LONGEST_NAME_BYTES:
        raise ImproperlyConfigured(f"queue {queue[:40]!r}...: RabbitMQ takes names of up to {LONGEST_NAME_BYTES} bytes")
    if not {"*", "#"}.isdisjoint(queue.split(".")):
        # Its binding for delayed messages would match those of other queues.
        raise ImproperlyConfigured(f"queue {queue!r}: for RabbitMQ, * and # among the words of a name mean any words")
    if "\n" in queue or "\r" in queue:
        raise ImproperlyConfigured(f"queue {queue!r}: RabbitMQ leaves the ends of lines out of names")
    name = f"queue {queue}"
    if not options.create_missing_queues:
        return name, None, (passive(queue),)
    return name, None, _declarations(options, queue, dead=dead)


def declared_needs(options: RabbitMQOptions, queue: str, *, dead: bool = False) -> list[Need]:
    """What an operator declares for a queue and its delays, whatever ``create_missing_queues`` is."""
    own: Need = (f"queue {queue}", None, _declarations(options, queue, dead=dead))
    return [own] if dead else [own, *delay_needs(options, queue)]


def declaration(options: RabbitMQOptions, queue: str, *, dead: bool = False) -> Method:
    """The method that declares a queue; it is refused if the queue is there with other arguments."""
    return ("queue.declare", 0, queue, False, True, False, False, False, arguments(options, queue, dead=dead))


def _declarations(options: RabbitMQOptions, queue: str, *, dead: bool) -> tuple[Method, ...]:
    exchange: Method = ("exchange.declare", 0, queue, options.exchange_type, False, True, False, False, False, {})
    declared = declaration(options, queue, dead=dead)
    return exchange, declared, ("queue.bind", 0, queue, queue, queue, False, {})


def passive(queue: str) -> Method:
    """The method that asks for a queue: its counts, or ``NOT_FOUND``."""
    return ("queue.declare", 0, queue, True, False, False, False, False, {})


def arguments(options: RabbitMQOptions, queue: str, *, dead: bool = False) -> Mapping[str, Any]:
    """The arguments with which a queue is declared.

    Args:
        options: the broker's settings.
        queue: the queue.
        dead: whether it is a dead-letter queue.
    """
    found: dict[str, Any] = {}
    if options.queue_type != "classic":  # Celery declares classic queues without naming their type
        found["x-queue-type"] = options.queue_type
    if options.max_priority is not None and options.queue_type == "classic":
        found["x-max-priority"] = options.max_priority
    if options.delivery_limit is not None and options.queue_type == "quorum" and not dead:
        found["x-delivery-limit"] = options.delivery_limit
        found["x-dead-letter-exchange"] = ""
        found["x-dead-letter-routing-key"] = dead_letter_queue(queue)
    return {**found, **options.queue_arguments.get(queue, {})}


def delay_needs(options: RabbitMQOptions, queue: str) -> list[Need]:
    """What messages for a queue need to be delayed: the exchanges and queues of the bits, and the queue's binding."""
    delivery = _delivery(options)
    is_there: Method = ("exchange.declare", 0, delivery, "topic", True, True, False, False, False, {})
    # One word for each bit, and not "#": a queue named "b" must not get the messages of "a.b".
    binding: Method = ("queue.bind", 0, queue, delivery, "*." * BITS + queue, False, {})
    return [("delays", is_there, _levels(options)), (f"delayed {queue}", None, (binding,))]


def delayed(options: RabbitMQOptions, queue: str, seconds: float) -> tuple[str, str]:
    """The exchange and the routing key of a message for a queue that is held back.

    Args:
        options: the broker's settings.
        queue: the queue.
        seconds: for how long; rounded up to a whole second, so that no message is early.
    """
    whole = min(math.ceil(seconds), LONGEST_DELAY_SECONDS)
    return _level(options, BITS - 1), ".".join(f"{whole:0{BITS}b}") + f".{queue}"


def _prefix(options: RabbitMQOptions) -> str:
    return f"{options.delayed_delivery_prefix}_" if options.delayed_delivery_prefix else ""


def _delivery(options: RabbitMQOptions) -> str:
    return f"{_prefix(options)}celery_delayed_delivery"


def _level(options: RabbitMQOptions, bit: int) -> str:
    return f"{_prefix(options)}celery_delayed_{bit}"


def _levels(options: RabbitMQOptions) -> tuple[Method, ...]:
    names = [_level(options, bit) for bit in range(BITS)]
    delivery = _delivery(options)
    methods: list[Method] = [
        ("exchange.declare", 0, name, "topic", False, True, False, False, False, {}) for name in [*names, delivery]
    ]
    for bit, name in enumerate(names):
        words, below = "*." * (BITS - 1 - bit), names[bit - 1] if bit else delivery
        held: dict[str, Any] = {
            "x-queue-type": options.delayed_delivery_queue_type,
            "x-overflow": "reject-publish",
            "x-message-ttl": 2**bit * 1000,
            "x-dead-letter-exchange": below,
        }
        if options.delayed_delivery_queue_type == "quorum":
            held["x-dead-letter-strategy"] = "at-least-once"
        methods += [
            ("queue.declare", 0, name, False, True, False, False, False, held),
            ("queue.bind", 0, name, name, f"{words}1.#", False, {}),
            ("exchange.bind", 0, below, name, f"{words}0.#", False, {}),
        ]
    return tuple(methods)
