"""Test lease renewal, settlement and polling, each against a broker that fails on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Outgoing, Refused, Release, Settlement
from taskq_cloud.errors import QueueNotFound, Unreachable
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.waiting import auntil
from taskq_cloud.worker.leases import LeasedDeliveries
from taskq_cloud.worker.poller import Poller
from taskq_cloud.worker.settlement import SettlementBatcher


class FailingBroker(MemoryBroker):
    """A memory broker that can make the next calls of an operation fail, and that records the size of each batch."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.failures: dict[str, list[Exception]] = {}
        self.batches: list[int] = []
        self.refuse_dead_letters = False

    def _fail(self, operation: str) -> None:
        if self.failures.get(operation):
            raise self.failures[operation].pop(0)

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        self._fail("receive")
        return (yield from super().receive(queue, limit, wait_seconds, lease_seconds))

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        self._fail("settle")
        self.batches.append(len(settlements))
        if self.refuse_dead_letters:
            kept = [s for s in settlements if not isinstance(s, DeadLetter)]
            yield from super().settle(kept)
            return [Refused(QueueNotFound("no such queue")) if s not in kept else None for s in settlements]
        return (yield from super().settle(settlements))

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        self._fail("extend")
        self.batches.append(len(deliveries))
        return (yield from super().extend(deliveries, lease_seconds))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> FailingBroker:
    return FailingBroker(clock)


run = AsyncConnections({}).run


async def received(broker: MemoryBroker, count: int) -> list[Delivery]:
    await run(broker.send("q", [Outgoing(body=str(number)) for number in range(count)]))
    deliveries: list[Delivery] = await run(broker.receive("q", count, 0, 30))
    return deliveries


async def in_flight(broker: MemoryBroker) -> int:
    return (await run(broker.depth("q"))).in_flight


async def test_leases_are_renewed_in_one_batch_after_a_third_of_their_time(
    broker: FailingBroker, clock: FakeClock
) -> None:
    leased = LeasedDeliveries(broker, run, 10, 30, clock)
    leased.add(await received(broker, 5), 0)
    clock.advance(9)
    await leased.renew_due()
    assert broker.batches == []
    clock.advance(1)
    await leased.renew_due()
    assert broker.batches == [5]
    clock.advance(25)  # past the first lease, within the renewed one
    assert await in_flight(broker) == 5


async def test_failed_renewal_is_retried(broker: FailingBroker, clock: FakeClock) -> None:
    leased = LeasedDeliveries(broker, run, 10, 30, clock)
    leased.add(await received(broker, 2), 0)
    broker.failures["extend"] = [Unreachable("no answer"), ValueError("a fault")]
    for _ in range(3):
        clock.advance(10 if not broker.batches else 0)
        await leased.renew_due()
        clock.advance(-5)
    assert broker.batches == [2]


async def test_lost_lease_is_logged_once_and_not_renewed(
    broker: FailingBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    leased = LeasedDeliveries(broker, run, 10, 30, clock)
    leased.add(await received(broker, 1), 0)
    clock.advance(31)
    await run(broker.receive("q", 1, 0, 300))
    for _ in range(2):
        await leased.renew_due()
        clock.advance(31)
    assert [vars(record)["action"] for record in caplog.records] == ["lease.lost"]


async def test_lease_at_brokers_limit_is_not_renewed(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    class Limited(FailingBroker):
        capabilities = replace(MemoryBroker.capabilities, longest_lease_seconds=100)

    broker = Limited(clock)
    leased = LeasedDeliveries(broker, run, 10, 30, clock)
    leased.add(await received(broker, 1), 0)
    for _ in range(12):
        clock.advance(10)
        await leased.renew_due()
    assert len(broker.batches) == 8  # at 10, 20 ... 70 s for a full lease, at 80 s up to the limit
    assert await in_flight(broker) == 0  # at 120 s
    assert [vars(record)["action"] for record in caplog.records] == ["lease.limit"]


async def test_room_is_reserved_for_whole_batches_while_slots_are_busy(broker: FailingBroker) -> None:
    leased = LeasedDeliveries(broker, run, 20, 30)
    leased.slot_is_idle = lambda: False
    assert await leased.reserve(10) == 10
    leased.add(await received(broker, 5), 10)
    assert await leased.reserve(10) == 10
    waiting = asyncio.create_task(leased.reserve(10))
    await asyncio.sleep(0)
    leased.slot_is_idle = lambda: True
    leased.notify()
    assert await waiting == 5
    assert leased.room() == 0


async def test_refill_is_received_while_other_messages_keep_the_slots_busy(broker: FailingBroker) -> None:
    leased = LeasedDeliveries(broker, run, 8, 30, refill=4)
    leased.slot_is_idle = lambda: False
    deliveries = await received(broker, 8)
    leased.add(deliveries, 0)
    waiting = asyncio.create_task(leased.reserve(1000))
    leased.remove(deliveries[:3])
    await asyncio.sleep(0)
    assert not waiting.done()
    leased.remove(deliveries[3:6])
    assert await waiting == 6


async def test_room_for_a_refill_is_received_at_once_when_a_slot_is_idle(
    broker: FailingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq_cloud.worker.leases.LINGER_SECONDS", 3600)
    leased = LeasedDeliveries(broker, run, 8, 30, refill=4)
    deliveries = await received(broker, 8)
    leased.add(deliveries, 0)
    waiting = asyncio.create_task(leased.reserve(1000))
    await asyncio.sleep(0)
    leased.remove(deliveries[:7])
    async with asyncio.timeout(20):
        assert await waiting == 7


async def test_settlements_are_batched_and_their_deliveries_removed(broker: FailingBroker) -> None:
    leased = LeasedDeliveries(broker, run, 100, 30)
    batcher = SettlementBatcher(broker, run, leased)
    deliveries = await received(broker, 25)
    leased.add(deliveries, 0)
    service = asyncio.create_task(batcher.settle_forever())
    for delivery in deliveries:
        batcher.settle(Acknowledge(delivery))
    await auntil(lambda: len(leased) == 0, "all deliveries to be removed")
    service.cancel()
    assert broker.batches == [25]


async def test_settlements_that_block_an_idle_slot_are_not_delayed(
    broker: FailingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq_cloud.worker.settlement.LINGER_SECONDS", 3600)
    leased = LeasedDeliveries(broker, run, 5, 30, refill=2)
    leased.count_running = lambda: 1
    batcher = SettlementBatcher(broker, run, leased)
    deliveries = await received(broker, 4)
    leased.add(deliveries, 0)
    service = asyncio.create_task(batcher.settle_forever())
    for delivery in deliveries[:3]:
        batcher.settle(Acknowledge(delivery))
    await auntil(lambda: len(leased) == 1, "all deliveries but the running one to be removed")
    service.cancel()
    assert broker.batches == [3]


async def test_settlements_are_retried_until_silent_broker_answers(broker: FailingBroker) -> None:
    leased = LeasedDeliveries(broker, run, 100, 30)
    batcher = SettlementBatcher(broker, run, leased)
    broker.failures["settle"] = [Unreachable("no answer"), ValueError("a fault in the package")]
    deliveries = await received(broker, 3)
    leased.add(deliveries, 0)
    service = asyncio.create_task(batcher.settle_forever())
    for delivery in deliveries:
        batcher.settle(Acknowledge(delivery))
    await auntil(lambda: len(leased) == 0, "all deliveries to be removed")
    service.cancel()
    assert await in_flight(broker) == 0


async def test_dead_letter_without_dead_letter_queue_is_released(broker: FailingBroker, clock: FakeClock) -> None:
    leased = LeasedDeliveries(broker, run, 100, 30)
    batcher = SettlementBatcher(broker, run, leased)
    broker.refuse_dead_letters = True
    (delivery,) = await received(broker, 1)
    leased.add([delivery], 0)
    service = asyncio.create_task(batcher.settle_forever())
    batcher.settle(DeadLetter(delivery, "unreadable"))
    await auntil(lambda: len(leased) == 0, "the delivery to be removed")
    service.cancel()
    clock.advance(31)
    assert (await run(broker.depth("q"))).waiting == 1
    assert (await run(broker.depth(dead_letter_queue("q")))).waiting == 0


async def test_polling_goes_on_after_errors_and_shows_them(
    broker: FailingBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("taskq_cloud.worker.poller.FIRST_PAUSE_SECONDS", 0.01)
    broker.failures["receive"] = [QueueNotFound("queue 'q' does not exist"), ValueError("a fault in the package")]
    taken: list[Any] = []
    leased = LeasedDeliveries(broker, run, 10, 30)
    poller = Poller("q", lambda limit: run(broker.receive("q", limit, 0.05, 30)), leased, 10, taken.extend)
    stop = asyncio.Event()
    polling = asyncio.create_task(poller.poll(stop))
    await auntil(lambda: poller.health.error == "queue 'q' does not exist", "the error to be shown")
    await run(broker.send("q", [Outgoing(body="x")]))
    await auntil(lambda: len(taken) == 1, "the message")
    assert poller.health.error is None
    stop.set()
    async with asyncio.timeout(5):
        await polling
    actions = [record.action for record in caplog.records if hasattr(record, "action")]
    assert actions[:2] == ["poll.failed", "poll.failed"]
    assert leased.room() == 9


async def test_released_delivery_is_removed(broker: FailingBroker) -> None:
    leased = LeasedDeliveries(broker, run, 100, 30)
    batcher = SettlementBatcher(broker, run, leased)
    (delivery,) = await received(broker, 1)
    leased.add([delivery], 0)
    service = asyncio.create_task(batcher.settle_forever())
    batcher.settle(Release(delivery))
    await auntil(lambda: len(leased) == 0, "the delivery to be removed")
    service.cancel()
    assert (await run(broker.depth("q"))).waiting == 1
