"""Runs the tasks of an application in the thread of a test, without a worker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from taskq_cloud.app import TaskQ
from taskq_cloud.calling.eager import run_here_and_now
from taskq_cloud.core.execution import early_acks
from taskq_cloud.core.flows import retrying, run
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.outcome import Admission, Admitted, Invocation

_LEASE_SECONDS: Final = 600
"""The lease of a message. Nothing renews it, so it is longer than any run of a task in a test."""


def run_tasks(app: TaskQ, queues: Sequence[str] | None = None) -> int:
    """Do a worker's part in the calling thread: run tasks until no message is ready.

    The tasks come through the broker, and their results go to the store. Tasks that the running tasks send are run
    too. A message that is due later (a countdown, the delay of a retry) stays in its queue, and time limits don't
    apply. In a test that is a coroutine, this function blocks the event loop until the tasks have ended.

    Args:
        app: the application.
        queues: the queues to serve; None: all queues of the application's tasks.

    Returns:
        The number of messages that were received.

    Raises:
        ImproperlyConfigured: one of the queues is named as a level of priority that there is not.
        OperationalError: the broker or the store could not be used.
    """
    runtime, received = app.runtime(patience_seconds=0), 0

    def perform(step: Any) -> Any:
        match step:
            case Invocation():
                run_task = partial(run_here_and_now, runtime.runner)
                return early_acks.run(step, runtime.broker, runtime.connections.run, run_task)
            case Admission():  # nothing else runs here that the task would have to wait for
                return Admitted(os.getpid())
        return runtime.connections.perform(step)

    app.check_queue_names(queues or ())
    named = app.queues() if queues is None else app.priorities.expanded(queues)
    served = sorted(named, key=app.priorities.level, reverse=True)
    while deliveries := [each for queue in served for each in app.run(app.broker.receive(queue, 1, 0, _LEASE_SECONDS))]:
        for delivery in deliveries:
            settlement = run(retrying(runtime.pipeline.process(delivery)), perform)
            for answer in app.run(app.broker.settle([settlement])):
                if isinstance(answer, Refused):
                    raise answer.error
        received += len(deliveries)
    return received
