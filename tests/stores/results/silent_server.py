"""A server that takes connections and never answers, and an alarm that ends a call to it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager


class Overdue(Exception):
    """An exception of an application's own, by which its alarm ends a task."""


@contextmanager
def silent_port() -> Iterator[int]:
    """The port of the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise ``Overdue`` in the main thread after some time."""

    def ring(number: int, frame: object) -> None:
        raise Overdue

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
