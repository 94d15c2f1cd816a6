"""Keep the order within message groups: one delivery at a time, and none after a delivery that was given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.core.model.message import Delivery


@dataclass(slots=True)
class Turn:
    """A delivery's turn in its message group.

    Args:
        blocked: an earlier delivery of the group was given back, so this delivery must be given back as well.
    """

    blocked: bool = False


@dataclass(slots=True)
class _Group:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    blocked: bool = False


class MessageGroups:
    """The message groups of which a worker has deliveries."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}

    @staticmethod
    def has_turns(delivery: Delivery) -> bool:
        """Whether a delivery has to wait for its turn: on a queue without order, none has to."""
        return delivery.group is not None and is_ordered(delivery.queue)

    @asynccontextmanager
    async def turn(self, delivery: Delivery) -> AsyncIterator[Turn]:
        """Wait for a delivery's turn in its message group. Where there are no turns, it comes at once.

        The deliveries of a group get their turns in the order of their calls. When a delivery is given back, its caller
        sets ``blocked`` on its turn. It is then set on the turns of all deliveries of the group that are waiting.
        """
        if delivery.group is None or not self.has_turns(delivery):
            yield Turn()
            return
        key = (delivery.queue, delivery.group)
        group = self._groups.setdefault(key, _Group())
        group.waiting += 1
        try:
            async with group.lock:  # asyncio's locks are fair: first come, first served
                turn = Turn(group.blocked)
                yield turn
                group.blocked = turn.blocked
        finally:
            group.waiting -= 1
            if group.waiting == 0:
                del self._groups[key]
