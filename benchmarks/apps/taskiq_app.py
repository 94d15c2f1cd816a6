"""The no-op task on taskiq, with taskiq-aio-sqs, and with its batches or without."""

import asyncio
import os

from taskiq_aio_sqs import SQSBroker
from work import done, produce_async

batches = os.environ.get("BENCH_BATCHES") == "1"
broker = SQSBroker(
    os.environ["BENCH_QUEUE"],
    endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    region_name=os.environ["AWS_REGION"],
    aws_access_key_id="test",
    aws_secret_access_key="test",
    wait_time_seconds=20,
    max_number_of_messages=10,
    enable_batching=batches,
    batch_timeout=0.1,
)


@broker.task(task_name="bench.noop")
async def noop(number: int) -> int:
    return done(number)


async def many(numbers: list[int]) -> None:
    """Send calls: one by one without batches; with them, all at once, so that batches are full."""
    if not batches:
        for number in numbers:
            await noop.kiq(number)
        return
    await asyncio.gather(*(noop.kiq(number) for number in numbers))
    # The broker's own shutdown would wait for ever (2.1.1, with batching). Once the buffer is empty, the last batch is
    # under way.
    while broker._batch_queue is not None and not broker._batch_queue.empty():  # noqa: ASYNC110, SLF001
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)


if __name__ == "__main__":
    produce_async(noop.kiq, many, broker.startup)
