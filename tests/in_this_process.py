"""What a worker does, done here and now: for tests of what tasks come to, without a worker's time and threads."""

from __future__ import annotations

from typing import Any

from taskq_cloud import TaskQ
from taskq_cloud.core.flows import retrying, run
from taskq_cloud.core.model.outcome import Invocation


def work(app: TaskQ, queue: str = "celery") -> int:
    """Serve a queue until nothing is left on it; how many deliveries it was."""
    runtime, served = app.runtime(patience_seconds=0), 0

    def perform(step: Any) -> Any:
        return runtime.runner.run(step) if isinstance(step, Invocation) else runtime.connections.perform(step)

    while deliveries := app.run(app.broker.receive(queue, 100, 0, 30)):
        for delivery in deliveries:
            settlement = run(retrying(runtime.pipeline.process(delivery)), perform)
            assert app.run(app.broker.settle([settlement])) == [None]
        served += len(deliveries)
    return served
