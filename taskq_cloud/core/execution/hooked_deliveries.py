"""Tells hooks what a task's own process doesn't see: that a message was received, revoked or dead-lettered."""

from __future__ import annotations

from typing import Any

from taskq_cloud.core.execution.context import DeliveryContext


def tell(context: DeliveryContext, method: str, *more: Any) -> None:
    """Call a method of the hooks of a message's task; ``more`` are its arguments after the message."""
    environment = context.environment
    if not environment.hooks:
        return
    from taskq_cloud.core.model.hook_calls import call_quick, hooks_of  # few applications have hooks
    from taskq_cloud.core.model.hooks import Received

    received = Received(context.message, context.delivery, environment.hostname)
    call_quick(hooks_of(environment.hooks, context.message.task), method, received, *more)
