"""Priorities on brokers that have none: a queue for each level, and the rule by which a priority leads to a level.

As on RabbitMQ, 0 is the lowest priority. The lowest level is the queue itself, so messages from elsewhere have it, and
a queue that gets levels keeps its messages. Level 2 of ``orders`` is the queue ``orders-p2``, and that of
``orders.fifo`` is ``orders-p2.fifo``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Final

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.errors import ImproperlyConfigured

HIGHEST: Final = 255
"""The highest priority that RabbitMQ has, and so Celery's."""

LEVELS: Final = 3
"""The default of ``queue_priority_levels``: each level is a queue that is polled, and that has alarms."""

_LEVEL: Final = re.compile(r"(.+)-p(0|[1-9][0-9]*)((?:\.fifo)?)")


@dataclass(frozen=True, slots=True)
class PriorityLevels:
    """The levels of an application's queues.

    Args:
        highest: the highest priority of queues without their own; 0: these queues have no levels.
        highest_of: queue -> its highest priority; 0: no levels.
        most_levels: the most levels of a queue.
    """

    highest: int = 0
    highest_of: Mapping[str, int] = field(default_factory=dict)
    most_levels: int = LEVELS

    def count(self, queue: str) -> int:
        """The number of a queue's levels; 1: it has no others than itself."""
        return min(self.highest_of.get(queue, self.highest) + 1, self.most_levels)

    def queue_for(self, queue: str, priority: int) -> str:
        """The queue of a message: that of its level.

        Args:
            queue: the queue that it is routed to, or one of that queue's levels.
            priority: its priority; one above the highest counts as the highest.
        """
        if not (self.highest or self.highest_of):
            return queue
        queue = self.base(queue)
        count, highest = self.count(queue), self.highest_of.get(queue, self.highest)
        return _named(queue, min(priority, highest) * count // (highest + 1))

    def base(self, queue: str) -> str:
        """The queue of which a queue is a level."""
        return self._parts(queue)[0]

    def level(self, queue: str) -> int:
        """The level that a queue stands for; 0 is the lowest."""
        return self._parts(queue)[1] or 0

    def queues(self, queue: str) -> list[str]:
        """The queues of all levels of a queue, the lowest first."""
        return [_named(queue, level) for level in range(self.count(queue))]

    def expanded(self, names: Iterable[str]) -> list[str]:
        """The queues that names stand for: a queue for all its levels, ``orders-p0`` for the lowest level alone."""
        found: dict[str, None] = {}
        for name in names:
            base, level = self._parts(name)
            found |= dict.fromkeys(self.queues(base) if level is None else [_named(base, level)])
        return list(found)

    def exact(self, queue: str) -> str:
        """The name that stands for a queue alone: ``expanded`` takes the name of a lowest level for all levels."""
        return queue if self.count(queue) == 1 or self.level(queue) else _named(queue, 0, suffix=True)

    def check(self, queues: Iterable[str]) -> None:
        """Check that no queue has the name of another one's level.

        Raises:
            ImproperlyConfigured: a queue has; the error names both.
        """
        for queue in queues:
            base, level = self._parts(queue)
            if level is not None:
                raise ImproperlyConfigured(
                    f"queue {queue!r} has the name of level {level} of queue {base!r} (task_queue_max_priority): give "
                    f"it another name, or set queue_max_priorities to {{{base!r}: 0}}"
                )

    def check_names(self, names: Iterable[str], known: Container[str]) -> None:
        """Check that names which a user gives for queues don't stand for levels that there are not.

        Args:
            names: the names.
            known: the queues that the application sends to, without their levels.

        Raises:
            ImproperlyConfigured: a name does; the error lists the queue's levels.
        """
        for name in names:
            found = _LEVEL.fullmatch(name) if self.highest or self.highest_of else None
            if found is None or name in known:
                continue
            base, level = found[1] + found[3], int(found[2])
            if (base in known or base in self.highest_of) and level >= self.count(base) > 1:
                levels = ", ".join([_named(base, 0, suffix=True), *self.queues(base)[1:]])
                raise ImproperlyConfigured(f"queue {base!r} has no level {level}: its levels are named {levels}")

    def _parts(self, queue: str) -> tuple[str, int | None]:
        found = _LEVEL.fullmatch(queue) if self.highest or self.highest_of else None
        if found is not None:
            base, level = found[1] + found[3], int(found[2])
            if level < self.count(base) > 1:
                return base, level
        return queue, None


NO_PRIORITIES: Final = PriorityLevels()
"""No queue has levels."""


def _named(queue: str, level: int, *, suffix: bool = False) -> str:
    if level == 0 and not suffix:
        return queue
    stem, ordered = (queue.removesuffix(".fifo"), ".fifo") if is_ordered(queue) else (queue, "")
    return f"{stem}-p{level}{ordered}"
