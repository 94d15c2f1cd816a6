"""The declared queues of an application, and the choice of one of them for a message."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from taskq_cloud.celery.exceptions import ImproperlyConfigured, QueueNotFound
from taskq_cloud.celery.messaging import Exchange, Queue, is_queue
from taskq_cloud.celery.utils.functional import maybe_list
from taskq_cloud.celery.utils.text import indent as indented

__all__ = ("QUEUE_FORMAT", "Queues", "native_queue")

#: One line of ``Queues.format``.
QUEUE_FORMAT = ".> {0.name:<16} exchange={0.exchange.name}({0.exchange.type}) key={0.routing_key}"

_QUEUE_TYPES = ("classic", "quorum")


class Queues(dict[str, Any]):
    """The declarations of queues by name.

    Args:
        queues: the queues: a list of declarations, or a mapping of names to declarations or to their attributes.
        default_exchange: the exchange of the queues that have none.
        create_missing: whether a name without a declaration is declared when it is asked for.
        create_missing_queue_type: "classic" or "quorum"; RabbitMQ's, kept in the declaration.
        create_missing_queue_exchange_type: the type of the exchange of a queue that is declared when it is asked for.
        autoexchange: makes the exchange of such a queue, by the queue's name.
        max_priority: the highest priority of the queues that have none, kept in the declaration.
        default_routing_key: the routing key of the queues that have none.
    """

    #: The queues that this worker consumes from, if they were chosen; the others are only sent to.
    _consume_from: dict[str, Any] | None = None

    def __init__(
        self,
        queues: Any = None,
        default_exchange: Any = None,
        create_missing: Any = True,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Any = None,
        max_priority: int | None = None,
        default_routing_key: Any = None,
    ) -> None:
        super().__init__()
        self.aliases: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self.default_exchange = default_exchange
        self.default_routing_key = default_routing_key
        self.create_missing = create_missing
        self.create_missing_queue_type = create_missing_queue_type
        self.create_missing_queue_exchange_type = create_missing_queue_exchange_type
        self.autoexchange = Exchange if autoexchange is None else autoexchange
        self.max_priority = max_priority
        if queues is not None and not isinstance(queues, Mapping):
            queues = {queue.name: queue for queue in queues}
        for name, queue in (queues or {}).items():
            if is_queue(queue):
                self.add(queue)
            else:
                self.add_compat(name, **queue)
        self._default_consume_from = dict(self)

    def __getitem__(self, name: str) -> Any:
        try:
            return self.aliases[name]
        except KeyError:
            return super().__getitem__(name)

    def __setitem__(self, name: str, queue: Any) -> None:
        if self.default_exchange and not queue.exchange:
            queue.exchange = self.default_exchange
        if not queue.routing_key:
            queue.routing_key = self.default_routing_key
        if self.max_priority is not None:
            if queue.queue_arguments is None:
                queue.queue_arguments = {}
            queue.queue_arguments.setdefault("x-max-priority", self.max_priority)
        super().__setitem__(name, queue)
        if queue.alias:
            self.aliases[queue.alias] = queue

    def __missing__(self, name: str) -> Any:
        if self.create_missing:
            return self.add(self.new_missing(name))
        raise KeyError(name)

    def add(self, queue: Any, **kwargs: Any) -> Any:
        """Add a queue, and return its declaration.

        Args:
            queue: a declaration, or a name.
            kwargs: the attributes of a queue that is given by its name, as in an entry of ``task_queues``.
        """
        return self._add(queue) if is_queue(queue) else self.add_compat(queue, **kwargs)

    def add_compat(self, name: str, **options: Any) -> Any:
        """Add a queue by its name and attributes; its routing key is the name, if it has none."""
        options.setdefault("routing_key", options.get("binding_key"))
        if options["routing_key"] is None:
            options["routing_key"] = name
        return self._add(Queue.from_dict(name, **options))

    def _add(self, queue: Any) -> Any:
        if self.default_exchange and (queue.exchange is None or queue.exchange.name == ""):
            queue.exchange = self.default_exchange
        self[queue.name] = queue
        return queue

    def format(self, indent: int = 0, indent_first: bool = True) -> str:
        """Return a line for each queue that is consumed from."""
        lines = [QUEUE_FORMAT.format(queue) for _, queue in sorted(self.consume_from.items())]
        if not lines:
            return ""
        if indent_first:
            return indented("\n".join(lines), indent)
        return lines[0] + "\n" + indented("\n".join(lines[1:]), indent)

    def select_add(self, queue: Any, **kwargs: Any) -> Any:
        """Add a queue that is consumed from, even if others were chosen."""
        added = self.add(queue, **kwargs)
        self.consume_from[added.name] = added
        return added

    def select(self, include: Any) -> None:
        """Consume from these queues only; an empty value changes nothing."""
        if include:
            chosen = [self[name] for name in maybe_list(include)]
            self._consume_from = {queue.name: queue for queue in chosen}

    def deselect(self, exclude: Any) -> None:
        """Don't consume from these queues."""
        for name in maybe_list(exclude) if exclude else ():
            queue = self.aliases.get(name)
            self.consume_from.pop(name if queue is None else queue.name, None)

    def new_missing(self, name: str) -> Any:
        """Return the declaration of a queue that was asked for and isn't declared.

        Raises:
            ValueError: if ``create_missing_queue_type`` is unknown.
        """
        kind = self.create_missing_queue_type or "classic"
        if kind not in _QUEUE_TYPES:
            raise ValueError(f"Invalid queue type '{kind}'. Valid types are 'classic' and 'quorum'.")
        if self.create_missing_queue_exchange_type:
            exchange = Exchange(name, self.create_missing_queue_exchange_type)
        else:
            exchange = self.autoexchange(name)
        arguments = None if kind == "classic" else {"x-queue-type": kind}
        return Queue(name, exchange, name, queue_arguments=arguments)

    @property
    def consume_from(self) -> dict[str, Any]:
        """The queues that are consumed from."""
        return self._default_consume_from if self._consume_from is None else self._consume_from


def native_queue(app: Any, options: Mapping[str, Any]) -> str:
    """Return the name of the native queue that a message with these options goes to.

    Messages are sent to queues, and to no exchange. So ``queue`` names the queue, and an exchange with a routing key
    chooses the one queue of ``task_queues`` that is bound to them: with exactly this key in a direct exchange, or with
    a pattern that matches the key in a topic. Unless both are given, a queue of a direct exchange is chosen by its name
    alone, as in Celery.

    Args:
        app: the application.
        options: the options of the call, with its route's: ``queue`` and ``exchange`` (each a name or a declaration),
            ``exchange_type`` and ``routing_key``.

    Raises:
        QueueNotFound: if the queue isn't declared and may not be created, or if none is bound to exchange and key.
        ImproperlyConfigured: if the message would have to go to several queues.
    """
    queues: Any = app.amqp.queues
    wanted: Any = options.get("queue")
    try:
        queue: Any = wanted if is_queue(wanted) else queues[wanted or app.conf.task_default_queue]
    except KeyError:
        raise QueueNotFound(f"Queue {wanted!r} missing from task_queues") from None
    exchange, key = options.get("exchange"), options.get("routing_key")
    if not exchange and not key:
        return _plain_name(queue)
    if (not exchange or not key) and (options.get("exchange_type") or _type_of(queue)) == "direct":
        return _plain_name(queue)
    name = str(getattr(exchange, "name", exchange)) if exchange else queue.exchange.name
    return _bound_queue(queues, name, key or queue.routing_key or app.conf.task_default_routing_key)


def _type_of(queue: Any) -> str:
    return str(queue.exchange.type) if queue.exchange is not None else "direct"


def _plain_name(queue: Any) -> str:
    if queue.auto_delete and queue.exchange is not None and queue.exchange.type == "fanout":
        raise ImproperlyConfigured(
            f"the queue {queue.alias or queue.name!r} is a broadcast, which is not supported: a message goes to one "
            "queue, and one worker runs it; send one message to a queue of each receiver"
        )
    return str(queue.name)


def _bound_queue(queues: Mapping[str, Any], exchange: str, key: str) -> str:
    found = {str(queue.name) for queue in queues.values() if any(_matches(*b, exchange, key) for b in _bindings(queue))}
    if not found:
        raise QueueNotFound(
            f"no queue of task_queues is bound to exchange {exchange!r} with routing key {key!r}: declare one, or "
            "name a queue"
        )
    if len(found) > 1:
        raise ImproperlyConfigured(
            f"exchange {exchange!r} and routing key {key!r} lead to several queues ({', '.join(sorted(found))}); "
            "a message goes to one queue: name it"
        )
    return found.pop()


def _bindings(queue: Any) -> Iterator[tuple[Any, str]]:
    if queue.exchange is not None:
        yield queue.exchange, queue.routing_key
    for each in queue.bindings or ():
        yield each.exchange, each.routing_key


def _matches(bound: Any, pattern: str, exchange: str, key: str) -> bool:
    if bound.name != exchange:
        return False
    if bound.type == "fanout":
        return True
    return _topic(pattern).fullmatch(f".{key}") is not None if bound.type == "topic" else pattern == key


def _topic(pattern: str) -> re.Pattern[str]:
    """Return the expression for a topic's pattern, in which ``*`` is one word and ``#`` is any number of words."""
    words = {"*": r"\.[^.]+", "#": r"(?:\.[^.]*)*"}
    # Each word brings the dot before it, so the key is matched with one more dot in front.
    return re.compile("".join(words.get(word, r"\." + re.escape(word)) for word in pattern.split(".")))
