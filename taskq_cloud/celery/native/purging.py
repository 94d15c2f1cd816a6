"""Deleting the messages of queues."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def purge(app: Any, queues: Iterable[str]) -> int:
    """Delete all messages of queues, and return their number, without those of brokers that don't count them.

    Args:
        app: the application.
        queues: the names of the queues.
    """
    native = app.native
    return sum(native.run(native.broker.purge(queue)) or 0 for queue in queues)
