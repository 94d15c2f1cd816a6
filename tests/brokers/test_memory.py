"""Tests of the memory broker: the contract of brokers, deduplication and the order after a release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskq_cloud.brokers._memory_queue import MOST_VOID_TIMES
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.model.message import Acknowledge, Outgoing, Release
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract
from taskq_cloud.testing.driving import Drive
from tests.brokers.clock_set_back import ClockSetBackContract


class TestMemoryBroker(ClockSetBackContract, BrokerContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def broker(self, clock: FakeClock) -> MemoryBroker:
        return MemoryBroker(clock)

    @pytest.fixture
    def queue(self) -> str:
        return "work"

    @pytest.fixture
    def ordered_queue(self) -> str:
        return "work.fifo"

    def test_deduplication_id_is_forgotten_after_five_minutes(
        self, broker: MemoryBroker, run: Drive, clock: FakeClock
    ) -> None:
        message = Outgoing(body="x", group="a", deduplication="same")
        [first] = run(broker.send("work.fifo", [message]))
        clock.advance(299)
        [within] = run(broker.send("work.fifo", [message]))
        clock.advance(2)
        [after] = run(broker.send("work.fifo", [message]))
        assert within == first
        assert after != first
        assert run(broker.depth("work.fifo")).waiting == 2

    def test_released_message_goes_behind_the_others(self, broker: MemoryBroker, run: Drive) -> None:
        run(broker.send("work", [Outgoing(body="poison"), Outgoing(body="good")]))
        [poison] = run(broker.receive("work", 1, 0, 60))
        run(broker.settle([Release(poison)]))
        assert [each.body for each in run(broker.receive("work", 1, 0, 60))] == ["good"]

    def test_settled_messages_leave_nothing(self, broker: MemoryBroker, run: Drive) -> None:
        run(broker.send("work", [Outgoing(body="waits", delay_seconds=3600)] * 10))
        for _ in range(MOST_VOID_TIMES // 50):
            run(broker.send("work", [Outgoing(body="x")] * 100))
            run(broker.settle([Acknowledge(each) for each in run(broker.receive("work", 100, 0, 60))]))
        queue = broker._queues["work"]
        assert len(queue.messages) == 10
        assert len(queue.times) <= 20 + MOST_VOID_TIMES

    def test_receive_takes_messages_without_a_look_at_the_others(self, broker: MemoryBroker, run: Drive) -> None:
        class Counted(dict[int, Any]):
            looks = 0

            def get(self, *args: Any) -> Any:
                Counted.looks += 1
                return super().get(*args)

        run(broker.send("work", [Outgoing(body="x")] * 1000))
        queue = broker._queues["work"]
        queue.messages = Counted(queue.messages)
        deliveries = run(broker.receive("work", 10, 0, 60))
        assert len(deliveries) == 10
        assert Counted.looks < 50
