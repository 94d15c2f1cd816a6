"""What the local brokers do when the machine's clock is set back: every wait lasts as long as it was meant to."""

from __future__ import annotations

from typing import Final

import pytest

from taskq_cloud.core.model.message import Outgoing, Release
from taskq_cloud.core.ports import Broker
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import Drive

HOUR: Final = 3600


class ClockSetBackContract:
    """Tests of a broker whose clock is set back by an hour."""

    @pytest.mark.parametrize("queue_name", ["work", "work.fifo"])
    def test_waiting_message_is_ready_when_clock_is_set_back(
        self, broker: Broker, run: Drive, clock: FakeClock, queue_name: str
    ) -> None:
        run(broker.send(queue_name, [Outgoing(body="at once"), Outgoing(body="later", group="b", delay_seconds=10)]))
        clock.advance(-HOUR)
        assert [each.body for each in run(broker.receive(queue_name, 10, 0, 30))] == ["at once"]
        clock.advance(10)
        assert [each.body for each in run(broker.receive(queue_name, 10, 0, 30))] == ["later"]

    @pytest.mark.parametrize("queue_name", ["work", "work.fifo"])
    def test_lease_lasts_as_long_as_it_was_meant_to_when_clock_is_set_back(
        self, broker: Broker, run: Drive, clock: FakeClock, queue_name: str
    ) -> None:
        run(broker.send(queue_name, [Outgoing(body="x")]))
        run(broker.receive(queue_name, 10, 0, 30))
        clock.advance(-HOUR)
        assert run(broker.receive(queue_name, 10, 0, 30)) == []
        clock.advance(28)
        assert run(broker.receive(queue_name, 10, 0, 30)) == [], "the lease has not ended"
        clock.advance(2)
        [again] = run(broker.receive(queue_name, 10, 0, 30))
        assert again.receive_count == 2

    def test_lease_can_be_extended_when_clock_is_set_back(self, broker: Broker, run: Drive, clock: FakeClock) -> None:
        run(broker.send("work", [Outgoing(body="x")]))
        deliveries = run(broker.receive("work", 10, 0, 30))
        clock.advance(-HOUR)
        assert run(broker.extend(deliveries, 30)) == [None]
        clock.advance(30)
        assert len(run(broker.receive("work", 10, 0, 30))) == 1

    def test_deduplication_id_is_forgotten_in_time_when_clock_is_set_back(
        self, broker: Broker, run: Drive, clock: FakeClock
    ) -> None:
        message = Outgoing(body="x", group="a", deduplication="same")
        [first] = run(broker.send("work.fifo", [message]))
        clock.advance(-HOUR)
        assert run(broker.send("work.fifo", [message])) == [first]
        clock.advance(301)
        assert run(broker.send("work.fifo", [message])) != [first]

    def test_order_of_group_holds_when_clock_is_set_back(self, broker: Broker, run: Drive, clock: FakeClock) -> None:
        run(broker.send("work.fifo", [Outgoing(body=str(number), group="a") for number in range(3)]))
        [first] = run(broker.receive("work.fifo", 1, 0, 30))
        clock.advance(-HOUR)
        run(broker.send("work.fifo", [Outgoing(body="3", group="a")]))
        assert run(broker.receive("work.fifo", 10, 0, 30)) == [], "the group has a message in flight"
        run(broker.settle([Release(first)]))
        assert [each.body for each in run(broker.receive("work.fifo", 10, 0, 30))] == ["0", "1", "2", "3"]
