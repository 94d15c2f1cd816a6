"""The no-op task on Celery, with kombu's SQS transport."""

import os

from celery import Celery
from work import done, produce

endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
app = Celery("bench", broker=f"sqs://test:test@{endpoint}//")
app.conf.update(
    task_default_queue=os.environ["BENCH_QUEUE"],
    task_ignore_result=True,
    broker_transport_options={
        "region": os.environ["AWS_REGION"],
        "is_secure": False,
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
    },
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="bench.noop")
def noop(number: int) -> None:
    done(number)


if __name__ == "__main__":
    produce(noop.delay, lambda numbers: [noop.delay(number) for number in numbers])
