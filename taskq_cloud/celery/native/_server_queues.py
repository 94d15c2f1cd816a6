"""Turns the queues that a configuration declares into the options by which RabbitMQ declares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from taskq_cloud.celery.messaging import Queue, is_queue

_TYPE: Final = "x-queue-type"
_ARGUMENTS: Final = {
    "expires": ("x-expires", 1000),
    "message_ttl": ("x-message-ttl", 1000),
    "max_length": ("x-max-length", 1),
    "max_length_bytes": ("x-max-length-bytes", 1),
    "max_priority": ("x-max-priority", 1),
}
"""A queue's attribute -> the argument that RabbitMQ has for it, and by how much its number is larger there."""


def queue_options(conf: Any) -> dict[str, Any]:
    """Return the broker's options for the types, the arguments and the exchanges of queues, as Celery declares them.

    ``task_default_queue_type`` is the type of the default queue if ``task_queues`` declares none, and
    ``task_create_missing_queue_type`` that of all queues that aren't declared.

    Args:
        conf: the configuration.
    """
    queues = [*_declared(conf)]
    found: dict[str, Any] = {"queue_type": conf.get("task_create_missing_queue_type") or "classic"}
    arguments = {str(queue.name): given for queue in queues if (given := _arguments(queue))}
    if not queues and conf.get("task_default_queue_type") == "quorum":
        arguments[str(conf.get("task_default_queue"))] = {_TYPE: "quorum"}
    if arguments:
        found["queue_arguments"] = arguments
    exchanges = {str(queue.exchange.type) for queue in queues if queue.exchange and queue.exchange.name == queue.name}
    default = conf.get("task_create_missing_queue_exchange_type") or conf.get("task_default_exchange_type")
    kind = exchanges.pop() if len(exchanges) == 1 else default
    if kind and kind != "direct":
        found["exchange_type"] = str(kind)
    return found


def _declared(conf: Any) -> Iterator[Any]:
    queues = conf.get("task_queues") or ()
    if isinstance(queues, Mapping):
        yield from (given if is_queue(given) else Queue.from_dict(name, **given) for name, given in queues.items())
    else:
        yield from (each if is_queue(each) else Queue(str(each)) for each in queues)


def _arguments(queue: Any) -> dict[str, Any]:
    found = {
        argument: int(value * factor)
        for name, (argument, factor) in _ARGUMENTS.items()
        if (value := getattr(queue, name, None)) is not None
    }
    return {**found, **(queue.queue_arguments or {})}
