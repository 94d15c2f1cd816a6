"""Keeps order within message groups: of a group, one delivery at a time, and none after one that was given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.ports import is_ordered


@dataclass(slots=True)
class Turn:
    """A delivery's turn in its group. ``broken``: an earlier one was given back, so this one must be too."""

    broken: bool = False


@dataclass(slots=True)
class _Group:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    broken: bool = False


class Groups:
    """The groups that a worker holds deliveries of."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}

    @asynccontextmanager
    async def turn(self, delivery: Delivery) -> AsyncIterator[Turn]:
        """Wait for a delivery's turn: at once on a queue without order. Deliveries come to it in their order.

        The holder sets the turn's ``broken`` when it gives its delivery back; it stays so for those of the group that
        are waiting then.
        """
        if delivery.group is None or not is_ordered(delivery.queue):
            yield Turn()
            return
        key = (delivery.queue, delivery.group)
        group = self._groups.setdefault(key, _Group())
        group.waiting += 1
        try:
            async with group.lock:  # asyncio's locks are fair: first come, first served
                turn = Turn(group.broken)
                yield turn
                group.broken = turn.broken
        finally:
            group.waiting -= 1
            if group.waiting == 0:
                del self._groups[key]
