"""The messages of one queue of the memory broker, and the order in which they become visible."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

MOST_VOID_TIMES: Final = 1000
"""Void entries that a heap may have beyond the number of its messages before it is made anew."""


@dataclass(slots=True)
class MemoryMessage:
    """A message in a queue.

    Args:
        turn: its place among messages with one time; it changes with the time.
        receipt: the receipt of the last delivery; None before the first delivery and after a release.
    """

    message_id: str
    body: str
    group: str | None
    attributes: Mapping[str, str]
    sent_at: float
    visible_at: float = 0.0
    turn: int = 0
    receipt: str | None = None
    receive_count: int = 0


@dataclass(slots=True)
class MemoryQueue:
    """A queue. An exception may strike at any line of a change, and no message is lost by that.

    So the heap has a message's next entry before the message has its next turn, which voids the entry before.

    Args:
        messages: number -> message. An ordered queue delivers them in this order.
        seen: deduplication id -> when it was first seen, and the id of the message that had it.
        times: a heap of the times at which messages become visible, each with the message's turn and number. Messages
            that are not ordered are delivered in this order. An entry is void if its message has another turn now.
    """

    messages: dict[int, MemoryMessage] = field(default_factory=dict)
    seen: dict[str, tuple[float, str]] = field(default_factory=dict)
    times: list[tuple[float, int, int]] = field(default_factory=list)
    turns: Iterator[int] = field(default_factory=itertools.count)

    def add(self, number: int, message: MemoryMessage, at: float) -> None:
        """Add a message that is visible from a time on."""
        turn = next(self.turns)
        heapq.heappush(self.times, (at, turn, number))
        message.visible_at, message.turn = at, turn
        self.messages[number] = message

    def show(self, number: int, at: float) -> None:
        """Let a message be visible from a time on."""
        message, turn = self.messages[number], next(self.turns)
        heapq.heappush(self.times, (at, turn, number))
        message.visible_at, message.turn = at, turn
        if len(self.times) > 2 * len(self.messages) + MOST_VOID_TIMES:
            self.sort_times()

    def sort_times(self) -> None:
        """Make the heap anew, without void entries."""
        self.times = sorted((each.visible_at, each.turn, number) for number, each in self.messages.items())

    def next_at(self) -> float | None:
        """The time at which the next message becomes visible, or has become so; None: there is no message."""
        while self.times:
            at, turn, number = self.times[0]
            message = self.messages.get(number)
            if message is not None and message.turn == turn:
                return at
            heapq.heappop(self.times)
        return None

    def ready(self, now: float) -> Iterator[int]:
        """The numbers of the messages that are visible. The caller shows each one again before it asks for the next.

        A message that is visible again at once is not among them a second time.
        """
        end = next(self.turns)
        while (at := self.next_at()) is not None and at <= now:
            _, turn, number = self.times[0]
            if turn > end:
                return
            yield number

    def ordered_ready(self, now: float) -> Iterator[int]:
        """The numbers of the messages that an ordered queue can deliver.

        A group with a message in flight delivers none; another group delivers its messages up to the first delayed one.
        """
        blocked = {
            message.group
            for message in self.messages.values()
            if message.receipt is not None and message.visible_at > now
        }
        for number, message in self.messages.items():
            if message.group in blocked:
                continue
            if message.visible_at > now:
                blocked.add(message.group)
                continue
            yield number
