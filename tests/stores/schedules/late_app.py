"""An application whose queue delays a message for at most a second and whose scheduler fires promptly.

So a late task takes seconds in a test instead of a quarter of an hour. Environment variables name the queue, the
schedule group and the result store.
"""

import os
import time
from dataclasses import replace

from taskq_cloud import BoundTask, TaskQ
from taskq_cloud.brokers.sqs import SQSBroker
from taskq_cloud.stores.schedules.eventbridge import EventBridgeSchedules


class PromptQueues(SQSBroker):
    capabilities = replace(SQSBroker.capabilities, longest_delay_seconds=1)


class PromptSchedules(EventBridgeSchedules):
    capabilities = replace(EventBridgeSchedules.capabilities, precision_seconds=1, least_lead_seconds=0.5)


def make_app(queue: str, group: str, results: str) -> TaskQ:
    role = "arn:aws:iam::123456789012:role/shop-scheduler"
    app = TaskQ(
        "late",
        broker="sqs://eu-west-1/",
        results=results,
        scheduler=f"eventbridge://{group}?role={role}",
        task_default_queue=queue,
        wait_time_seconds=1,
    )
    broker, scheduler = app.broker, app.scheduler
    assert isinstance(broker, SQSBroker) and isinstance(scheduler, EventBridgeSchedules)
    vars(app)["broker"] = PromptQueues(broker._options)
    vars(app)["scheduler"] = PromptSchedules(scheduler._group)

    @app.task(name="remind")
    def remind() -> float:
        return time.time()

    @app.task(name="flaky", bind=True, max_retries=1)
    def flaky(self: BoundTask) -> int:
        if self.request.retries == 0:
            raise self.retry(countdown=3)
        return self.request.retries

    return app


if "LATE_APP_QUEUE" in os.environ:
    app = make_app(os.environ["LATE_APP_QUEUE"], os.environ["LATE_APP_GROUP"], os.environ["LATE_APP_RESULTS"])
