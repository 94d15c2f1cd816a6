"""Questions to workers: ``app.control.inspect``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from taskq_cloud.celery.app.mailbox import matches
from taskq_cloud.celery.exceptions import DuplicateNodenameWarning
from taskq_cloud.celery.utils.text import pluralize

__all__ = ("Inspect", "flatten_reply")


def flatten_reply(reply: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Join the replies of several workers into one mapping from their names, and warn if two have the same name."""
    nodes: dict[str, Any] = {}
    repeated = set()
    for each in reply:
        repeated |= nodes.keys() & each.keys()
        nodes.update(each)
    if repeated:
        names = f"{pluralize(len(repeated), 'name')}: {', '.join(sorted(repeated))}"
        warnings.warn(
            DuplicateNodenameWarning(
                f"Received multiple replies from node {names}.\n"
                "Please make sure you give each node a unique nodename using\nthe celery worker `-n` option."
            ),
            stacklevel=2,
        )
    return nodes


class Inspect:
    """Questions to workers. An answer is a mapping from names of workers; with one name as the destination, its value.

    Args:
        destination: the names of the workers, or one name; None: all.
        timeout: the seconds in which answers are waited for.
        callback: is called with each answer.
        connection: the connection to the broker.
        app: the application.
        limit: the number of answers that are waited for.
        pattern: a pattern of the workers' names.
        matcher: the kind of pattern: ``glob`` or ``pcre``.
    """

    app: Any = None

    def __init__(
        self,
        destination: Any = None,
        timeout: float = 1.0,
        callback: Callable[[Any], Any] | None = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = app or self.app
        self.destination, self.timeout, self.callback = destination, timeout, callback
        self.connection, self.limit = connection, limit
        self.pattern, self.matcher = pattern, matcher

    def _prepare(self, reply: Any) -> Any:
        """Return the answers as this object's callers get them; None without any."""
        if not reply:
            return None
        by_name = flatten_reply(reply)
        if self.destination and not isinstance(self.destination, list | tuple):
            return by_name.get(self.destination)
        if self.pattern:
            return {name: of for name, of in by_name.items() if matches(name, self.pattern, self.matcher)}
        return by_name

    def _request(self, command: str, **kwargs: Any) -> Any:
        """Ask workers, with the arguments of the command."""
        replies = self.app.control.broadcast(
            command,
            arguments=kwargs,
            destination=self.destination,
            callback=self.callback,
            connection=self.connection,
            limit=self.limit,
            timeout=self.timeout,
            reply=True,
            pattern=self.pattern,
            matcher=self.matcher,
        )
        return self._prepare(replies)

    def report(self) -> Any:
        """Return the reports for bugs, as text."""
        return self._request("report")

    def clock(self) -> Any:
        """Return the values of the logical clocks."""
        return self._request("clock")

    def active(self, safe: Any = None) -> Any:
        """Return the tasks that run.

        Args:
            safe: leave the arguments of tasks as they were sent.
        """
        return self._request("active", safe=safe)

    def scheduled(self, safe: Any = None) -> Any:
        """Return the tasks that workers hold until they are due."""
        return self._request("scheduled")

    def reserved(self, safe: Any = None) -> Any:
        """Return the tasks that workers hold and have not begun."""
        return self._request("reserved")

    def stats(self) -> Any:
        """Return facts about the workers."""
        return self._request("stats")

    def revoked(self) -> Any:
        """Return the ids of revoked tasks."""
        return self._request("revoked")

    def registered(self, *taskinfoitems: str) -> Any:
        """Return the names of the tasks.

        Args:
            taskinfoitems: attributes of tasks, which are added to the names.
        """
        return self._request("registered", taskinfoitems=taskinfoitems)

    registered_tasks = registered

    def ping(self, destination: Any = None) -> Any:
        """Return ``{"ok": "pong"}`` for each worker.

        Args:
            destination: the names of the workers, for this question and for later ones.
        """
        if destination:
            self.destination = destination
        return self._request("ping")

    def active_queues(self) -> Any:
        """Return the queues that workers serve."""
        return self._request("active_queues")

    def query_task(self, *ids: Any) -> Any:
        """Return what workers know of tasks.

        Args:
            ids: the ids of the tasks, or one list of them.
        """
        if len(ids) == 1 and isinstance(ids[0], list | tuple):
            ids = ids[0]  # type: ignore[assignment, unused-ignore]  # the command has the list itself
        return self._request("query_task", ids=ids)

    def conf(self, with_defaults: bool = False) -> Any:
        """Return the settings.

        Args:
            with_defaults: also those that are not set.
        """
        return self._request("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """Tell workers that another one has started, and return what they know of revoked tasks.

        Args:
            from_node: the name of that worker.
            revoked: the ids of the revoked tasks that it knows.
        """
        return self._request("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> Any:
        """Measure how much memory workers use, and return it."""
        return self._request("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """Return what ``memsample`` has measured.

        Args:
            samples: the number of measurements.
        """
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:
        """Draw the objects that refer to objects of a class.

        Args:
            type: the name of the class.
            n: the number of objects.
            max_depth: how far away the other objects may be.
        """
        return self._request("objgraph", num=n, max_depth=max_depth, type=type)
