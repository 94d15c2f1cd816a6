"""The no-op task on Celery: on SQS by kombu's transport, on Redis or on RabbitMQ; results in Redis, or none."""

import os

from celery import Celery
from work import done, produce

url = os.environ["BENCH_BROKER"]
results = os.environ.get("BENCH_RESULTS")
app = Celery("bench", broker=url, backend=results)
app.conf.update(
    task_default_queue=os.environ["BENCH_QUEUE"],
    task_ignore_result=results is None,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
if url.startswith("sqs:"):
    app.conf.broker_transport_options = {
        "region": os.environ["AWS_REGION"],
        "is_secure": False,
        "wait_time_seconds": 20,
        "polling_interval": 0.1,
    }
if os.environ.get("BENCH_CONFIRMS") == "1":
    app.conf.broker_transport_options = {"confirm_publish": True}


@app.task(name="bench.noop")
def noop(number: int) -> int:
    return done(number)


if __name__ == "__main__":
    produce(noop.delay, trip=lambda number: noop.delay(number).get(timeout=60))
