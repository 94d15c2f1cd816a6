"""The no-op task on taskq_cloud, as a plain function and as a coroutine."""

import os

from work import done, produce

from taskq_cloud import TaskQ

results = os.environ.get("BENCH_RESULTS", "disabled://")
app = TaskQ(
    "bench",
    broker=os.environ["BENCH_BROKER"],
    results=results,
    task_default_queue=os.environ["BENCH_QUEUE"],
    task_ignore_result=results == "disabled://",
    wait_time_seconds=20,
)


@app.task(name="bench.noop")
def noop(number: int) -> int:
    return done(number)


@app.task(name="bench.anoop")
async def anoop(number: int) -> int:
    return done(number)


def start_worker() -> None:
    """Run a worker in a thread: messages in memory reach no other process."""
    import asyncio
    import threading

    from taskq_cloud.worker.options import WorkerOptions
    from taskq_cloud.worker.supervisor import Worker

    options = WorkerOptions.from_settings(app.conf, app.queues(), pool="asyncio", concurrency=10)
    worker = Worker(app.runtime(), options)
    threading.Thread(target=lambda: asyncio.run(worker.serve()), daemon=True).start()


if __name__ == "__main__":
    if os.environ["BENCH_BROKER"] == "memory://":
        start_worker()
    task = anoop if os.environ.get("BENCH_COROUTINE") == "1" else noop
    produce(
        task.delay,
        lambda numbers: task.map_async([(number,) for number in numbers]),
        lambda number: task.delay(number).get(timeout=60),
    )
