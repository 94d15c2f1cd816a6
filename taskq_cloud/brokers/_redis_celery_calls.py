"""The calls of Celery's layout on Redis, and the putting back of messages whose lease or delay is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from taskq_cloud.brokers import _redis_celery_messages as messages_of_kombu
from taskq_cloud.brokers import _redis_celery_scripts as scripts
from taskq_cloud.brokers._redis_celery_options import LayoutOptions
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.servers.redis import redis_error

Scored: TypeAlias = tuple[bytes, bytes, bytes | None]
"""A tag, its time, and what ``unacked`` holds under it."""


class LayoutCalls:
    """Makes calls to the server, with the layout's keys.

    Args:
        service: the name of the server's client.
        options: the layout's names and times.
        clock: returns the time, in seconds since the epoch; None: the server's own.
    """

    def __init__(self, service: str, options: LayoutOptions, clock: Callable[[], float] | None) -> None:
        self.options = options
        self._service = service
        self._clock = clock
        self._bound: set[str] = set()

    def bind(self, queue: str) -> Flow[None]:
        """Declare a queue as kombu does, so that what is sent to the exchange of its name gets there."""
        if queue in self._bound:
            return
        member = messages_of_kombu.binding(queue, self.options.separator)
        tables = [self.key(f"_kombu.binding{kind}.{queue}") for kind in ("", "_permanent")]
        yield from self.call(f"queue {queue!r}", "script", {"script": scripts.BIND, "keys": tables, "args": [member]})
        self._bound.add(queue)

    def put_back(self, queue: str, found: Iterable[Scored]) -> Flow[None]:
        """Put messages of any queues back into their lists, unless somebody else has done so.

        Args:
            queue: the queue that is being used, for errors.
            found: the messages, the one that has waited longest first; it is received first, too.
        """
        keys: list[str] = []
        parts: list[Any] = []
        for tag, score, value in reversed(list(found)):
            if value is None:
                parts += [tag, score, 0, ""]
                continue
            content = messages_of_kombu.holding(value)
            if content is None:
                parts += [tag, score, 0, value]
                continue
            message, exchange, routing_key = content
            queues = yield from self._routed(exchange, routing_key)
            keys += [self.list_for(each, messages_of_kombu.priority_of(message)) for each in queues]
            text = messages_of_kombu.put_back(message, redelivered=not tag.startswith(b"taskq.d."))
            parts += [tag, score, len(queues), text]
        yield from self.script(f"queue {queue!r}", scripts.PUT_BACK, keys, parts)

    def _routed(self, exchange: str, routing_key: str) -> Flow[list[str]]:
        if not exchange:
            return [routing_key] if routing_key else []
        table = self.key(f"_kombu.binding.{exchange}")
        bindings = yield from self.command(f"exchange {exchange!r}", "SMEMBERS", table)
        queues = messages_of_kombu.bound_queues(bindings, routing_key, self.options.separator)
        return queues or ([routing_key] if routing_key else [])

    def lists(self, queue: str) -> list[str]:
        """The lists of a queue, the most urgent first."""
        return [self.list_for(queue, step) for step in self.options.steps]

    def list_for(self, queue: str, priority: int) -> str:
        """The list of a queue's messages of a priority."""
        return self.key(messages_of_kombu.list_of(queue, priority, self.options.steps, self.options.separator))

    def key(self, name: str) -> str:
        """A key with the prefix of all keys."""
        return self.options.prefix + name

    def now(self) -> float:
        """The time of this machine, or of the clock."""
        return time.time() if self._clock is None else self._clock()

    def script(self, about: str, script: str, keys: Sequence[str], parts: Sequence[Any]) -> Flow[Any]:
        """Run a script of ``_redis_celery_scripts``.

        Args:
            about: what the call is about, for errors.
            script: the script.
            keys: its keys after the first two.
            parts: its arguments after the first two.
        """
        return (yield from self.call(about, "script", self.script_parameters(script, keys, parts)))

    def script_parameters(self, script: str, keys: Sequence[str], parts: Sequence[Any]) -> dict[str, Any]:
        """The parameters of the call that runs a script: see ``script``."""
        options = self.options
        now = "" if self._clock is None else repr(self._clock())
        return {
            "script": script,
            "keys": [self.key(options.unacked), self.key(options.unacked_index), *keys],
            "args": [now, options.visibility_timeout, *parts],
        }

    def command(self, about: str, name: str, key: str, *parts: Any) -> Flow[Any]:
        """Run one command on a key or a channel.

        Args:
            about: what the call is about, for errors.
            name: the command.
            key: the key, with its prefix.
            parts: what follows the key in the command.
        """
        asked = {"script": scripts.COMMAND, "keys": [key], "args": [name, *parts]}
        return (yield from self.call(about, "script", asked))

    def call(self, about: str, operation: str, parameters: Mapping[str, Any]) -> Flow[Any]:
        """Make a call of the client.

        Args:
            about: what the call is about, for errors.
            operation: the client's operation.
            parameters: the operation's parameters.

        Raises:
            OperationalError: the call failed.
        """
        try:
            return (yield Call(self._service, operation, parameters))
        except CallError as error:
            raise redis_error(about, error) from error
