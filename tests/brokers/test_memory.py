"""Tests of the memory broker: the contract of brokers, deduplication and the order after a release."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.model.message import Outgoing, Release
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
