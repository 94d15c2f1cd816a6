"""An application with periodic tasks; the environment names its queue, table and schedule group on the local stack."""

import json
import os
from typing import Any

from taskq_cloud import TaskQ

ROLE = "arn:aws:iam::123456789012:role/shop-scheduler"


def make_app(main: str = "shop", **settings: Any) -> TaskQ:
    app = TaskQ(
        main,
        broker="sqs://eu-west-1/",
        results=os.environ.get("PERIODIC_RESULTS", "memory://"),
        scheduler=f"eventbridge://{os.environ['PERIODIC_GROUP']}?role={settings.pop('role', ROLE)}",
        task_default_queue=os.environ["PERIODIC_QUEUE"],
        wait_time_seconds=1,
        **settings,
    )

    @app.task(name="report", time_limit=30)
    def report(kind: str = "sales") -> str:
        return kind

    @app.task(name="slow", time_limit=30)
    def slow() -> None: ...

    return app


MINUTELY = {"minutely": {"task": "report", "schedule": 60, "args": ["<aws.scheduler.x>"]}}

if "PERIODIC_GROUP" in os.environ:
    entries = os.environ.get("PERIODIC_ENTRIES")
    app = make_app(beat_schedule=json.loads(entries) if entries else MINUTELY)
