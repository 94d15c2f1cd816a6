"""A logical clock, which orders the events of several processes, and the places of events in that order."""

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile
from operator import itemgetter
from typing import Any, Self

__all__ = ("LamportClock", "timetuple")


class timetuple(tuple[Any, Any, Any, Any]):
    """The place of an event in time, which sorts by the logical clock, and without one by the time of the event.

    Args:
        clock: the logical clock's value; None or 0: it isn't known.
        timestamp: the time, in seconds since the epoch.
        id: the name of the process, by which events with the same clock value are sorted.
        obj: what belongs to the event.
    """

    __slots__ = ()

    def __new__(cls, clock: int | None, timestamp: float, id: str, obj: Any = None) -> Self:
        return tuple.__new__(cls, (clock, timestamp, id, obj))

    def __repr__(self) -> str:
        clock, timestamp, name, obj = self
        return f"_lamport(clock={clock}, timestamp={timestamp}, id={name} {obj!r})"

    def __getnewargs__(self) -> Any:
        return tuple(self)

    def __lt__(self, other: Any) -> bool:
        try:
            if not (self[0] and other[0]):
                return bool(self[1] < other[1])
            return bool(self[2] < other[2] if self[0] == other[0] else self[0] < other[0])
        except IndexError:
            return NotImplemented

    def __gt__(self, other: Any) -> bool:
        return bool(other < self)

    def __le__(self, other: Any) -> bool:
        return not other < self

    def __ge__(self, other: Any) -> bool:
        return not self < other

    clock = property(itemgetter(0))
    timestamp = property(itemgetter(1))
    id = property(itemgetter(2))
    obj = property(itemgetter(3))


class LamportClock:
    """A counter of a process, which other processes' counters move forward.

    See L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978.

    Args:
        initial_value: the value to begin with.
        Lock: the class of the clock's lock.
    """

    value = 0

    def __init__(self, initial_value: int = 0, Lock: Callable[[], Any] = threading.Lock) -> None:
        self.value = initial_value
        self.mutex = Lock()

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return f"<LamportClock: {self.value}>"

    def adjust(self, other: int) -> int:
        """Move the clock behind another process's clock, and return its value."""
        with self.mutex:
            self.value = max(self.value, other) + 1
            return self.value

    def forward(self) -> int:
        """Move the clock by one, and return its value."""
        with self.mutex:
            self.value += 1
            return self.value

    def sort_heap(self, h: Sequence[Any]) -> Any:
        """Return the first event of a sorted sequence; of several with its clock value, that of the least name.

        Args:
            h: tuples of the clock's value, the process's name, and more. The last tuple isn't looked at if the clock
                value is the same in all, as in kombu.
        """
        if h[0][0] != h[1][0]:
            return h[0]
        equal = [event for event, _ in takewhile(lambda pair: pair[0][0] == pair[1][0], pairwise(h))]
        return min(equal, key=itemgetter(1))
