"""The no-op task on taskq_cloud."""

import os

from work import done, produce

from taskq_cloud import TaskQ

app = TaskQ(
    "bench",
    broker=f"sqs://{os.environ['AWS_REGION']}/",
    results="disabled://",
    task_default_queue=os.environ["BENCH_QUEUE"],
    task_ignore_result=True,
)


@app.task(name="bench.noop")
def noop(number: int) -> None:
    done(number)


if __name__ == "__main__":
    produce(noop.delay, lambda numbers: noop.map_async([(number,) for number in numbers]))
