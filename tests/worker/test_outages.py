"""Test leases and settlements while the broker refuses them one by one, as SQS does, or gives no answer at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.core.flows import Call, Flow
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Outgoing, Refused, Release, Settlement
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, Unreachable
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.waiting import auntil
from taskq_cloud.worker.leases import LeasedDeliveries
from taskq_cloud.worker.settlement import SettlementBatcher

HANGS = Call("broker", "hang")


class RefusingBroker(MemoryBroker):
    """A memory broker that refuses settlements by queue (``settling``) and renewals (``extending``), or hangs."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.settling: dict[str, Exception] = {}
        self.extending: Exception | None = None
        self.hangs = 0
        self.extensions = 0

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        refusals = [self.settling.get(settlement.delivery.queue) for settlement in settlements]
        taken = [each for each, refusal in zip(settlements, refusals, strict=True) if refusal is None]
        yield from super().settle(taken)
        return [None if refusal is None else Refused(refusal) for refusal in refusals]

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        self.extensions += 1
        if self.hangs:
            self.hangs -= 1
            yield HANGS
        if self.extending is not None:
            return [Refused(self.extending)] * len(deliveries)
        return (yield from super().extend(deliveries, lease_seconds))


class HangingConnections(AsyncConnections):
    async def perform(self, step: object) -> object:
        return await (asyncio.Event().wait() if step is HANGS else super().perform(step))


run = HangingConnections({}).run


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> RefusingBroker:
    return RefusingBroker(clock)


async def received(broker: MemoryBroker, queue: str = "q", count: int = 1) -> list[Delivery]:
    await run(broker.send(queue, [Outgoing(body=str(number)) for number in range(count)]))
    deliveries: list[Delivery] = await run(broker.receive(queue, count, 0, 30))
    return deliveries


async def depth(broker: MemoryBroker, queue: str = "q") -> Depth:
    found: Depth = await run(broker.depth(queue))
    return found


@asynccontextmanager
async def settling(broker: MemoryBroker, leased: LeasedDeliveries) -> AsyncIterator[SettlementBatcher]:
    batcher = SettlementBatcher(broker, run, leased)
    service = asyncio.create_task(batcher.settle_forever())
    try:
        yield batcher
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.action for record in caplog.records if hasattr(record, "action")]


# -- leases


@pytest.mark.parametrize("error", [Unreachable("no answer"), AccessDenied("the token has expired")])
async def test_lease_refused_temporarily_is_renewed_when_broker_is_back(
    broker: RefusingBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    leased = LeasedDeliveries(broker, run, 10, 30, clock)
    (delivery,) = await received(broker)
    leased.add([delivery], 0)
    broker.extending = error
    clock.advance(11)
    await leased.renew_due()
    broker.extending = None
    clock.advance(5)
    await leased.renew_due()
    clock.advance(29)
    assert (await depth(broker)).in_flight == 1
    assert not leased.has_lost(delivery)
    assert logged(caplog) == ["lease.failed"]


async def test_lease_not_renewed_in_time_is_lost(broker: RefusingBroker, clock: FakeClock) -> None:
    leased = LeasedDeliveries(broker, run, 10, 30, clock)
    (delivery,) = await received(broker)
    leased.add([delivery], 0)
    broker.extending = Unreachable("no answer")
    clock.advance(29)
    await leased.renew_due()
    assert not leased.has_lost(delivery)
    clock.advance(1)
    assert leased.has_lost(delivery)


async def test_hanging_renewal_is_abandoned_in_time_for_another(broker: RefusingBroker) -> None:
    leased = LeasedDeliveries(broker, run, 10, 0.6)
    leased.add(await received(broker), 0)
    broker.hangs = 1
    renewing = asyncio.create_task(leased.renew_forever())
    await auntil(lambda: broker.extensions == 2, "a second renewal")
    renewing.cancel()


# -- settlements


async def test_acknowledgement_without_answer_is_retried_without_delaying_other_queues(
    broker: RefusingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq_cloud.worker.settlement.LONGEST_PAUSE_SECONDS", 0.05)
    leased = LeasedDeliveries(broker, run, 10, 30)
    broker.settling["silent"] = Unreachable("no answer")
    silent, others = await received(broker, "silent"), await received(broker, "q", 3)
    leased.add([*silent, *others], 0)
    async with settling(broker, leased) as batcher:
        batcher.settle(Acknowledge(silent[0]))
        batcher.settle(Acknowledge(others[0]))
        await auntil(lambda: len(leased) == 3, "the other queue's first delivery to be settled")
        batcher.settle(Acknowledge(others[1]))
        batcher.settle(Acknowledge(others[2]))
        await auntil(lambda: len(leased) == 1, "the other queue's next deliveries to be settled")
        assert (await depth(broker, "silent")).in_flight == 1
        del broker.settling["silent"]
        await auntil(lambda: len(leased) == 0, "the delivery without an answer to be settled")
    assert (await depth(broker, "silent")).total == 0


async def test_dead_letter_without_answer_is_retried_and_not_released(
    broker: RefusingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq_cloud.worker.settlement.LONGEST_PAUSE_SECONDS", 0.05)
    leased = LeasedDeliveries(broker, run, 10, 30)
    (delivery,) = await received(broker)
    leased.add([delivery], 0)
    broker.settling["q"] = Unreachable("no answer")
    async with settling(broker, leased) as batcher:
        batcher.settle(DeadLetter(delivery, "unreadable"))
        await auntil(lambda: bool(batcher._paused), "the first attempt to fail")
        broker.settling.clear()
        await auntil(lambda: len(leased) == 0, "the delivery to be settled")
    assert (await depth(broker, dead_letter_queue("q"))).waiting == 1


async def test_settlement_pause_is_cut_short_when_worker_stops(
    broker: RefusingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"taskq_cloud.worker.settlement.{name}", 3600)
    leased = LeasedDeliveries(broker, run, 10, 30)
    (delivery,) = await received(broker)
    leased.add([delivery], 0)
    broker.settling["q"] = Unreachable("no answer")
    async with settling(broker, leased) as batcher:
        batcher.settle(Release(delivery))
        await auntil(lambda: bool(batcher._paused), "the first attempt to fail")
        broker.settling.clear()
        batcher.hurry()
        await auntil(lambda: len(leased) == 0, "the delivery to be settled")
    assert (await depth(broker)).waiting == 1


Lose = Callable[[RefusingBroker, FakeClock, LeasedDeliveries], Awaitable[None]]


async def by_another(broker: RefusingBroker, clock: FakeClock, leased: LeasedDeliveries) -> None:
    """Lose the lease by the broker's answer."""
    broker.extending = OperationalError("the lease was lost")
    clock.advance(11)
    await leased.renew_due()


async def by_time(broker: RefusingBroker, clock: FakeClock, leased: LeasedDeliveries) -> None:
    """Lose the lease because its renewal is denied until the lease is over."""
    broker.extending = AccessDenied("sqs:ChangeMessageVisibility was denied")
    clock.advance(31)
    await leased.renew_due()


@pytest.mark.parametrize("lose", [by_another, by_time])
async def test_denied_settlement_keeps_delivery_only_while_lease_lasts(
    broker: RefusingBroker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, lose: Lose
) -> None:
    monkeypatch.setattr("taskq_cloud.worker.settlement.LONGEST_PAUSE_SECONDS", 0.05)
    leased = LeasedDeliveries(broker, run, 10, 30, clock)
    broker.settling["q"] = AccessDenied("denied")
    done, released = await received(broker, count=2)
    leased.add([done, released], 0)
    async with settling(broker, leased) as batcher:
        batcher.settle(Acknowledge(done))
        batcher.settle(Release(released))
        await auntil(lambda: len(leased) == 1, "the released delivery to be removed")
        assert not leased.has_lost(done), "the delivery whose task would run again stays leased"
        await lose(broker, clock, leased)
        await auntil(lambda: len(leased) == 0, "the delivery with the lost lease to be removed")


async def test_permanent_refusal_is_not_retried(broker: RefusingBroker, caplog: pytest.LogCaptureFixture) -> None:
    leased = LeasedDeliveries(broker, run, 10, 30)
    (delivery,) = await received(broker)
    leased.add([delivery], 0)
    broker.settling["q"] = QueueNotFound("no such queue")
    async with settling(broker, leased) as batcher:
        batcher.settle(Acknowledge(delivery))
        await auntil(lambda: len(leased) == 0, "the delivery to be removed")
    assert logged(caplog) == ["settle.refused"]
