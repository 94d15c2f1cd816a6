"""What becomes of a command to workers: ``Mailbox``.

There is no transport for commands yet. So a mailbox records what the result store can say to all workers (``revoke``),
and hands other commands to the workers of this process, such as the one of ``start_worker`` in tests. A transport
replaces ``Mailbox._broadcast`` and nothing else.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from typing import Any, Final

from taskq_cloud.celery.utils import cached_property
from taskq_cloud.celery.utils.functional import maybe_evaluate, maybe_list

__all__ = ("INSTEAD", "OTHERWISE", "Mailbox", "matches")

INSTEAD: Final = {
    "active": "`taskq queues` counts the messages that workers hold; with task_track_started, results have STARTED",
    "active_queues": "`taskq queues` lists the application's queues",
    "conf": "`celery report` prints the configuration",
    "ping": "/healthz of a worker (--health-port) answers whether it works",
    "query_task": "`taskq result ID` shows the state of a task",
    "registered": "the banner of a worker, with -l INFO, lists its tasks",
    "report": "`celery report` prints what is known without a worker",
    "reserved": "`taskq queues` counts the messages that workers hold",
    "revoked": "`taskq result ID` shows REVOKED",
    "scheduled": "`taskq scheduled` lists tasks that wait for their due time",
    "stats": "`taskq queues` counts messages; /healthz of a worker shows what it holds",
    "shutdown": "end the worker's process with SIGTERM, as the platform does",
    "rate_limit": "set rate_limit of the task, or task_default_rate_limit, and deploy",
    "time_limit": "set time_limit of the task, and deploy",
    "revoke": "use time limits; without terminate=True, revoke() keeps tasks from starting",
    "revoke_by_stamped_headers": "revoke the tasks by their ids",
    "terminate": "use time limits; `celery control revoke ID` keeps tasks from starting",
    "add_consumer": "start a worker with -Q QUEUE",
    "cancel_consumer": "start the worker without the queue; `taskq drain` empties a queue",
}
"""What does instead what a command is for, for the one who gives it."""
OTHERWISE: Final = "change settings and deploy; /healthz of a worker and `taskq queues` show what happens"

_MATCHERS: Final[dict[str, Callable[[str, str], Any]]] = {
    "glob": fnmatch,
    "pcre": lambda name, pattern: re.match(pattern, name),
}


def matches(name: str, pattern: str, matcher: str | None = None) -> bool:
    """Return whether a worker's name has a pattern.

    Args:
        name: the name.
        pattern: the pattern.
        matcher: its kind: ``glob``, also if it is None, or ``pcre``.

    Raises:
        ValueError: there is no such kind.
    """
    if matcher and matcher not in _MATCHERS:
        raise ValueError(f"No matcher installed for {matcher}")
    return bool(_MATCHERS[matcher or "glob"](name, pattern))


class Mailbox:
    """Takes commands.

    Args:
        namespace: the name of the exchange of commands.
        type: the type of the exchange.
        connection: the connection to the broker.
        clock: the logical clock.
        accept: the serializers of answers.
        serializer: the serializer of commands.
        producer_pool: the producers, or a function that returns them.
        options: how queues of commands and answers are declared: kept for a transport.

    Attributes:
        app: the application; None: that of the connection.
    """

    app: Any = None
    accept: Any = ("json",)
    serializer: Any = None

    def __init__(
        self,
        namespace: str,
        type: str = "direct",
        connection: Any = None,
        clock: Any = None,
        accept: Any = None,
        serializer: str | None = None,
        producer_pool: Any = None,
        **options: Any,
    ) -> None:
        self.namespace, self.type, self.connection, self.clock = namespace, type, connection, clock
        self.accept = self.accept if accept is None else accept
        self.serializer = self.serializer if serializer is None else serializer
        self._producer_pool = producer_pool
        self.queue_ttl = options.get("queue_ttl")
        self.queue_expires = options.get("queue_expires")
        self.queue_durable = options.get("queue_durable", False)
        self.queue_exclusive = options.get("queue_exclusive", True)
        self.reply_queue_ttl = options.get("reply_queue_ttl")
        self.reply_queue_expires = options.get("reply_queue_expires", 10.0)

    def __call__(self, connection: Any) -> Any:
        """Return a mailbox on a connection."""
        bound = copy.copy(self)
        bound.connection = connection
        return bound

    @cached_property
    def producer_pool(self) -> Any:
        """The producers."""
        return maybe_evaluate(self._producer_pool)

    def call(self, destination: Any, command: str, kwargs: Any = None, **options: Any) -> Any:
        """Ask some workers, and return their answers."""
        return self._broadcast(command, kwargs or {}, destination, reply=True, **options)

    def cast(self, destination: Any, command: str, kwargs: Any = None) -> Any:
        """Send a command to some workers."""
        return self._broadcast(command, kwargs or {}, destination, reply=False)

    def abcast(self, command: str, kwargs: Any = None) -> Any:
        """Send a command to all workers."""
        return self._broadcast(command, kwargs or {}, reply=False)

    def multi_call(self, command: str, kwargs: Any = None, timeout: float = 1, **options: Any) -> Any:
        """Ask all workers, and return their answers."""
        return self._broadcast(command, kwargs or {}, reply=True, timeout=timeout, **options)

    def _broadcast(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        destination: Any = None,
        reply: bool = False,
        timeout: float | None = 1,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
        serializer: str | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> Any:
        """Carry out a command, and return the answers, or None without ``reply``.

        Raises:
            ValueError: ``destination`` isn't a list.
            NotImplementedError: the command can't be carried out.
        """
        if destination is not None and not isinstance(destination, list | tuple):
            raise ValueError(f"destination must be a list/tuple not {destination.__class__}")
        from taskq_cloud.celery.worker import local  # revoking a task needs no worker

        arguments, app = arguments or {}, self.app or self.connection.app
        workers, done = local.workers_of(app), None
        if command == "revoke" and not arguments.get("terminate"):
            done = _revoke(app, maybe_list(arguments["task_id"]) or ())
        elif command in _OF_STORE or not workers:
            raise NotImplementedError(_refusal(command))
        answers = []
        for worker in workers[:limit]:
            if destination is not None and worker.hostname not in destination:
                continue
            if pattern and not matches(worker.hostname, pattern, matcher):
                continue
            answers.append({worker.hostname: done or local.answer(worker, command, arguments)})
            if reply and callback:
                callback(answers[-1])
        return answers if reply else None


_OF_STORE: Final = frozenset({"revoke", "revoke_by_stamped_headers", "terminate"})
"""Commands that the workers of this process alone could not carry out: another worker might run the task."""


def _revoke(app: Any, ids: Iterable[str]) -> dict[str, str]:
    for each in ids:
        app.native.AsyncResult(each).revoke()
    return {"ok": f"tasks {set(ids)} flagged as revoked"}


def _refusal(command: str) -> str:
    return f"the command {command!r} can't be sent, as workers take no commands yet: {INSTEAD.get(command, OTHERWISE)}"
