"""The no-op task on dramatiq, with dramatiq-sqs, and its results in Redis or none."""

import os

import dramatiq
from dramatiq_sqs import SQSBroker
from work import done, produce

results = os.environ.get("BENCH_RESULTS")
broker = SQSBroker(visibility_timeout=None)
if results:
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker.add_middleware(Results(backend=RedisBackend(url=results)))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=os.environ["BENCH_QUEUE"], actor_name="noop", **({"store_results": True} if results else {}))
def noop(number: int) -> int:
    return done(number)


if __name__ == "__main__":
    produce(noop.send, trip=lambda number: noop.send(number).get_result(block=True, timeout=60_000))
