"""Ends a task in its chord by the native pipeline's rules, for a task that no native worker has run."""

from __future__ import annotations

from typing import Any

from taskq_cloud.core.execution import consequences
from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.messages.requests import message_of
from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records.record import EXCEPTION_STATES
from taskq_cloud.runtime.runtime import make_environment


def end_in_chord(app: Any, request: Any, state: str, result: Any) -> None:
    """Count the end of a task in its chord.

    Args:
        app: the application.
        request: the task's request.
        state: the state in which it has ended.
        result: its value, or its exception.
    """
    message, native = message_of(request), app.native
    delivery = Delivery(
        queue=str((request.delivery_info or {}).get("routing_key")),
        message_id=message.id,
        receipt=message.id,
        body="",
        group=None,
        receive_count=1,
    )
    environment = make_environment(native, native.conf.policy(native.conf.worker_patience), request.hostname)
    context = DeliveryContext(environment, delivery, message, environment.options_of(message.task))
    failed = state in EXCEPTION_STATES and isinstance(result, BaseException)
    app.run(consequences.end_in_chord(context, state, ErrorInfo.of(result) if failed else None))
