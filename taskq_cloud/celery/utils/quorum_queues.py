"""Tells which of an application's queues is a quorum queue of RabbitMQ."""

from __future__ import annotations

from typing import Any

__all__ = ("detect_quorum_queues",)


def detect_quorum_queues(app: Any, driver_type: str) -> tuple[bool, str]:
    """Tell whether a declared queue is a quorum queue, and which.

    Args:
        app: the application.
        driver_type: the broker's kind; only ``amqp`` has such queues.
    """
    if driver_type != "amqp":
        return False, ""
    for name, queue in app.amqp.queues.items():
        if (queue.queue_arguments or {}).get("x-queue-type") == "quorum":
            return True, name
    return False, ""
