"""Keeps the connections to one endpoint that no exchange uses, for both kinds of connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

from taskq_cloud.clients.lean.endpoints import LARGEST_POOL

LONGEST_IDLE_SECONDS: Final = 50.0
"""How long a connection is kept without being used. Load balancers and gateways on the way forget one after 60 s
(Application Load Balancers, by default) or 350 s (NAT gateways), and neither end need hear of it."""


class Kept(Protocol):
    """A connection that can be kept."""

    def is_open(self) -> bool:
        """Whether the server hasn't closed the connection, as far as is known here."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


C = TypeVar("C", bound=Kept)


class IdleConnections(Generic[C]):
    """The idle connections to one endpoint. Threads may share it.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._kept: list[tuple[float, C]] = []  # with the time of the last use, whose order the list has

    def take(self) -> C | None:
        """Return the connection that was used last, since the others may be closed sooner; None: there is none."""
        while self._kept:
            try:
                used_at, connection = self._kept.pop()
            except IndexError:  # another thread has taken it
                break
            if connection.is_open() and used_at > self.clock() - LONGEST_IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def put(self, connection: C) -> None:
        """Keep a connection that has just been used, and close those that have not been used for too long."""
        now = self.clock()
        for used_at, _ in self._kept[:1]:
            if used_at <= now - LONGEST_IDLE_SECONDS:
                self.close_unused_since(now - LONGEST_IDLE_SECONDS)
        if len(self._kept) < LARGEST_POOL:
            self._kept.append((now, connection))
        else:
            connection.close()

    def close_unused_since(self, moment: float) -> list[C]:
        """Close the connections that were used last at a moment or before, and return them.

        When a connection that was kept has failed, something on the way has often forgotten those that were kept with
        it. Each would fail another attempt to make the call.
        """
        closed = []
        for each in self._kept.copy():
            if each[0] <= moment:
                with suppress(ValueError):  # another thread has taken it
                    self._kept.remove(each)
                    each[1].close()
                    closed.append(each[1])
        return closed

    def close(self) -> list[C]:
        """Close all connections, and return them."""
        return self.close_unused_since(float("inf"))
