"""Leases and settlements while the broker refuses them, one by one as SQS does, or gives no answer at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.clients.connections import AsyncConnections
from taskq_cloud.core.flows import Call, Flow
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Outgoing, Refused, Release, Settlement
from taskq_cloud.core.ports import Depth, dead_letter_queue
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, Unreachable
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.worker.leases import LeasedDeliveries
from taskq_cloud.worker.settlement import SettlementBatcher
from tests.worker.serving import until

HANGS = Call("broker", "hang")


class RefusingBroker(MemoryBroker):
    """A memory broker that refuses: ``settling`` by queue, ``extending`` every one; and that hangs when told to."""

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


class Hanging(AsyncConnections):
    async def perform(self, step: object) -> object:
        return await (asyncio.Event().wait() if step is HANGS else super().perform(step))


run = Hanging({}).run


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
async def settling(broker: MemoryBroker, held: LeasedDeliveries) -> AsyncIterator[SettlementBatcher]:
    settler = SettlementBatcher(broker, run, held)
    service = asyncio.create_task(settler.settle_all())
    try:
        yield settler
    finally:
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.action for record in caplog.records if hasattr(record, "action")]


# -- leases


@pytest.mark.parametrize("error", [Unreachable("no answer"), AccessDenied("the token has expired")])
async def test_a_lease_that_nobody_said_is_lost_is_renewed_when_the_broker_is_back(
    broker: RefusingBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture, error: Exception
):
    held = LeasedDeliveries(broker, run, 10, 30, clock)
    (delivery,) = await received(broker)
    held.take([delivery], 0)
    broker.extending = error
    clock.advance(11)
    await held.renew_due()
    broker.extending = None
    clock.advance(5)
    await held.renew_due()
    clock.advance(29)
    assert (await depth(broker)).in_flight == 1
    assert not held.has_lost(delivery)
    assert logged(caplog) == ["lease.failed"]


async def test_a_lease_that_was_never_renewed_in_its_time_is_over(broker: RefusingBroker, clock: FakeClock):
    held = LeasedDeliveries(broker, run, 10, 30, clock)
    (delivery,) = await received(broker)
    held.take([delivery], 0)
    broker.extending = Unreachable("no answer")
    clock.advance(29)
    await held.renew_due()
    assert not held.has_lost(delivery)
    clock.advance(1)
    assert held.has_lost(delivery)


async def test_a_renewal_that_hangs_is_given_up_in_time_for_another(broker: RefusingBroker):
    held = LeasedDeliveries(broker, run, 10, 0.6)
    held.take(await received(broker), 0)
    broker.hangs = 1
    keeping = asyncio.create_task(held.keep_leases())
    await until(lambda: broker.extensions == 2, "a second renewal")
    keeping.cancel()


# -- settlements


async def test_an_acknowledgement_without_an_answer_is_made_again_and_keeps_no_other_queue_waiting(
    broker: RefusingBroker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("taskq_cloud.worker.settlement.LONGEST_PAUSE_SECONDS", 0.05)
    held = LeasedDeliveries(broker, run, 10, 30)
    broker.settling["silent"] = Unreachable("no answer")
    silent, others = await received(broker, "silent"), await received(broker, "q", 3)
    held.take([*silent, *others], 0)
    async with settling(broker, held) as settler:
        settler.settle(Acknowledge(silent[0]))
        settler.settle(Acknowledge(others[0]))
        await until(lambda: len(held) == 3, "the other queue's to be settled")
        settler.settle(Acknowledge(others[1]))
        settler.settle(Acknowledge(others[2]))
        await until(lambda: len(held) == 1, "the other queue's next ones")
        assert (await depth(broker, "silent")).in_flight == 1
        del broker.settling["silent"]
        await until(lambda: len(held) == 0, "the one without an answer")
    assert (await depth(broker, "silent")).total == 0


async def test_a_dead_letter_without_an_answer_is_made_again_and_not_given_back(
    broker: RefusingBroker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("taskq_cloud.worker.settlement.LONGEST_PAUSE_SECONDS", 0.05)
    held = LeasedDeliveries(broker, run, 10, 30)
    (delivery,) = await received(broker)
    held.take([delivery], 0)
    broker.settling["q"] = Unreachable("no answer")
    async with settling(broker, held) as settler:
        settler.settle(DeadLetter(delivery, "unreadable"))
        await until(lambda: bool(settler._paused), "the first try to fail")
        broker.settling.clear()
        await until(lambda: len(held) == 0, "it to be settled")
    assert (await depth(broker, dead_letter_queue("q"))).waiting == 1


async def test_a_worker_that_stops_waits_for_no_long_pause(broker: RefusingBroker, monkeypatch: pytest.MonkeyPatch):
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"taskq_cloud.worker.settlement.{name}", 3600)
    held = LeasedDeliveries(broker, run, 10, 30)
    (delivery,) = await received(broker)
    held.take([delivery], 0)
    broker.settling["q"] = Unreachable("no answer")
    async with settling(broker, held) as settler:
        settler.settle(Release(delivery))
        await until(lambda: bool(settler._paused), "the first try to fail")
        broker.settling.clear()
        settler.hurry()
        await until(lambda: len(held) == 0, "it to be settled")
    assert (await depth(broker)).waiting == 1


Lose = Callable[[RefusingBroker, FakeClock, LeasedDeliveries], Awaitable[None]]


async def by_another(broker: RefusingBroker, clock: FakeClock, held: LeasedDeliveries) -> None:
    """The broker says that the lease is lost."""
    broker.extending = OperationalError("the lease was lost")
    clock.advance(11)
    await held.renew_due()


async def by_time(broker: RefusingBroker, clock: FakeClock, held: LeasedDeliveries) -> None:
    """Renewing it is denied as well."""
    broker.extending = AccessDenied("sqs:ChangeMessageVisibility was denied")
    clock.advance(31)
    await held.renew_due()


@pytest.mark.parametrize("lose", [by_another, by_time])
async def test_missing_permissions_fill_no_worker_with_messages_that_are_no_longer_its_own(
    broker: RefusingBroker, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, lose: Lose
):
    monkeypatch.setattr("taskq_cloud.worker.settlement.LONGEST_PAUSE_SECONDS", 0.05)
    held = LeasedDeliveries(broker, run, 10, 30, clock)
    broker.settling["q"] = AccessDenied("denied")
    done, released = await received(broker, count=2)
    held.take([done, released], 0)
    async with settling(broker, held) as settler:
        settler.settle(Acknowledge(done))
        settler.settle(Release(released))
        await until(lambda: len(held) == 1, "the one that comes back by itself to be let go")
        assert not held.has_lost(done), "the one that would run again is held on to"
        await lose(broker, clock, held)
        await until(lambda: len(held) == 0, "the lost one to be let go")


async def test_a_refusal_that_stays_is_not_repeated(broker: RefusingBroker, caplog: pytest.LogCaptureFixture):
    held = LeasedDeliveries(broker, run, 10, 30)
    (delivery,) = await received(broker)
    held.take([delivery], 0)
    broker.settling["q"] = QueueNotFound("no such queue")
    async with settling(broker, held) as settler:
        settler.settle(Acknowledge(delivery))
        await until(lambda: len(held) == 0, "it to be let go")
    assert logged(caplog) == ["settle.refused"]
