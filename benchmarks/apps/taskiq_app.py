"""The no-op task on taskiq, with taskiq-aio-sqs and its batching."""

import asyncio
import os
import sys

from taskiq_aio_sqs import SQSBroker
from work import done, produce_async

broker = SQSBroker(
    os.environ["BENCH_QUEUE"],
    endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    region_name=os.environ["AWS_REGION"],
    aws_access_key_id="test",
    aws_secret_access_key="test",
    wait_time_seconds=1,
    max_number_of_messages=10,
    enable_batching=True,
    batch_timeout=0.1,
)


@broker.task(task_name="bench.noop")
def noop(number: int) -> None:
    done(number)


async def many(numbers: list[int]) -> None:
    await asyncio.gather(*(noop.kiq(number) for number in numbers))


async def main() -> None:
    await broker.startup()
    await produce_async(noop.kiq, many)
    # Buffered messages are sent within a tenth of a second. The broker's own shutdown would wait for ever (2.1.1, with
    # batching).
    await asyncio.sleep(1)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
