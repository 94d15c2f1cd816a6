"""Random sends, receives, settlements and waits have the same outcome on the Redis broker as on the SQLite broker."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud.brokers.redis import RedisBroker
from taskq_cloud.brokers.sqlite import SQLiteBroker
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Outgoing, Refused, Release, Settlement
from taskq_cloud.core.ports import Broker
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow

STEPS = 80


class Pair:
    """Two brokers that are given the same calls, and the deliveries whose leases run.

    Args:
        brokers: each broker, and what drives its flows.
        queue: the queue.
        seed: the seed of the random choices.
        clock: the clock of both brokers.
    """

    def __init__(self, brokers: list[tuple[Broker, Drive]], queue: str, seed: int, clock: FakeClock) -> None:
        self.clock = clock
        self._brokers = brokers
        self._queue = queue
        self._rng = random.Random(seed)
        self._sent = 0
        self._leased: dict[str, tuple[list[Delivery], float]] = {}

    def step(self) -> None:
        """Make one random call, and compare the queues."""
        self._leased = {body: each for body, each in self._leased.items() if each[1] > self.clock()}
        self._rng.choice(
            [self._send, self._send, self._receive, self._receive, self._settle, self._extend, self._wait]
        )()
        for queue in (self._queue, dead_letter_queue(self._queue)):
            self._both(partial(_depth, queue))

    def _both(self, call: Callable[[Broker, int], Flow[Any]]) -> Any:
        first, second = (run(call(broker, place)) for place, (broker, run) in enumerate(self._brokers))
        assert _seen(first) == _seen(second)
        return first, second

    def _send(self) -> None:
        messages = []
        for _ in range(self._rng.randint(1, 5)):
            self._sent += 1
            messages.append(
                Outgoing(
                    body=str(self._sent),
                    group=self._rng.choice("abc"),
                    deduplication=self._rng.choice([None, None, str(self._rng.randint(0, 20))]),
                    delay_seconds=self._rng.choice([0, 0, 0, 3, 7]),
                )
            )
        for broker, run in self._brokers:
            run(broker.send(self._queue, messages))

    def _receive(self) -> None:
        # Brokers may hand over the messages of an unordered queue in any order, so all of them are received.
        limit = self._rng.choice([1, 2, 3, 50]) if self._queue.endswith(".fifo") else 1000
        seconds = self._rng.choice([2, 5, 30])
        first, second = self._both(lambda broker, _: broker.receive(self._queue, limit, 0, seconds))
        others = {each.body: each for each in second}
        self._leased |= {each.body: ([each, others[each.body]], self.clock() + seconds) for each in first}

    def _settle(self) -> None:
        bodies = self._some_leased()
        ways = [self._rng.choice(_WAYS) for _ in bodies]
        self._both(
            lambda broker, place: broker.settle(
                [way(self._leased[body][0][place]) for way, body in zip(ways, bodies, strict=True)]
            )
        )

    def _extend(self) -> None:
        bodies = self._some_leased()
        first, _ = self._both(
            lambda broker, place: broker.extend([self._leased[body][0][place] for body in bodies], 10)
        )
        for body, answer in zip(bodies, first, strict=True):
            if answer is None:
                self._leased[body] = (self._leased[body][0], self.clock() + 10)

    def _wait(self) -> None:
        self.clock.advance(self._rng.choice([0.5, 1, 3, 6, 31]))

    def _some_leased(self) -> list[str]:
        return self._rng.sample(sorted(self._leased), min(self._rng.randint(1, 4), len(self._leased)))


def _depth(queue: str, broker: Broker, _: int) -> Flow[Any]:
    return broker.depth(queue)


_WAYS: list[Callable[[Delivery], Settlement]] = [
    Acknowledge,
    Acknowledge,
    Release,
    lambda delivery: Release(delivery, 4),
    lambda delivery: Release(delivery, counts=False),
    lambda delivery: DeadLetter(delivery, "why"),
]


def _seen(answer: Any) -> Any:
    """What of an answer is the same on both brokers."""
    if not isinstance(answer, list):
        return answer
    seen = [
        (each.body, each.receive_count, each.group) if isinstance(each, Delivery) else isinstance(each, Refused)
        for each in answer
    ]
    ordered = answer and isinstance(answer[0], Delivery) and answer[0].queue.endswith(".fifo")
    return seen if ordered or not answer or not isinstance(answer[0], Delivery) else sorted(seen)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def brokers(clock: FakeClock, server_url: Callable[[str], str], tmp_path: Path) -> Iterator[list[tuple[Broker, Drive]]]:
    redis = RedisBroker(server_url("redis"), {"global_keyprefix": f"{uuid4()}:"}, clock)
    sqlite = SQLiteBroker(tmp_path / "queues.db", clock)
    with driving("sync", redis.services) as one, driving("sync", sqlite.services) as other:
        yield [(redis, one), (sqlite, other)]


@pytest.mark.parametrize("queue", ["work", "work.fifo"])
@pytest.mark.parametrize("seed", range(3))
def test_random_calls_have_the_same_outcome_on_both_brokers(
    brokers: list[tuple[Broker, Drive]], clock: FakeClock, queue: str, seed: int
) -> None:
    pair = Pair(brokers, queue, seed, clock)
    for _ in range(STEPS):
        pair.step()
