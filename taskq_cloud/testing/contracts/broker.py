"""What every broker does, as tests: derive a class from ``BrokerContract`` in the adapter's test file.

::

    class TestSQLite(BrokerContract):
        @pytest.fixture
        def broker(self, tmp_path):
            return SQLiteBroker(tmp_path / "queues.db")

        @pytest.fixture
        def queue(self): ...

Each test runs with the synchronous and the asynchronous driver. A difference between brokers is a difference in their
capabilities. What only one adapter does is tested beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import (
    DEAD_LETTER_REASON,
    DEAD_LETTER_SOURCE,
    Acknowledge,
    DeadLetter,
    Delivery,
    Outgoing,
    Refused,
    Release,
    Sent,
)
from taskq_cloud.core.ports import Broker
from taskq_cloud.testing.contracts.broker_limits import LimitsContract
from taskq_cloud.testing.contracts.broker_ordering import OrderingContract
from taskq_cloud.testing.contracts.receiving import LEASE_SECONDS, bodies, receive_now, take, until_empty
from taskq_cloud.testing.driving import Drive, driving

Advance = Callable[[float], None]


def check_count(broker: Broker, delivery: Delivery, count: int) -> None:
    """A delivery says which one of its message it is, or that it does not know."""
    assert delivery.counted or not broker.capabilities.counts_receives
    assert delivery.receive_count == (count if delivery.counted else 1)
    assert delivery.redelivered == (count > 1 or not delivery.counted)


class BrokerContract(LimitsContract, OrderingContract):
    """Override ``broker``, ``queue`` and ``ordered_queue``, and ``advance`` where the adapter has a clock."""

    short_lease_seconds = 2
    """A lease that a test lets run out. With a real service that takes as long, and a slow machine must be faster."""

    @pytest.fixture
    def broker(self) -> Broker:
        """The adapter."""
        raise NotImplementedError

    @pytest.fixture
    def queue(self) -> str:
        """The name of a fresh queue; where queues must exist, it does, and so does its dead-letter queue."""
        raise NotImplementedError

    @pytest.fixture
    def ordered_queue(self) -> str:
        """The same for a queue that keeps order. Not asked for where the broker has no ordering."""
        raise NotImplementedError

    @pytest.fixture
    def advance(self) -> Advance:
        """Let time pass for the broker. Here it really does; an adapter with a clock moves that."""
        return time.sleep

    @pytest.fixture(params=["sync", "async"])
    def run(self, request: pytest.FixtureRequest, broker: Broker) -> Iterator[Drive]:
        """Drives a flow to its end."""
        with driving(request.param, broker.services) as drive:
            yield drive

    def test_a_message_arrives_as_it_was_sent(self, broker: Broker, queue: str, run: Drive) -> None:
        text = 'grüße, 你好, 🎉\n{"quoted": "\\"", "tab": "\t"}'
        outgoing = Outgoing(
            body=text, attributes={"tenant": "Łódź", "empty-ish": " "}, trace_header="Root=1-5759e988-bd862e3fe1be46a9"
        )

        [sent] = run(broker.send(queue, [outgoing]))
        [delivery] = take(run, broker, queue, 1)

        assert isinstance(sent, Sent)
        assert delivery.message_id == sent.message_id
        assert delivery.queue == queue
        assert delivery.body == text
        assert delivery.attributes == {"tenant": "Łódź", "empty-ish": " "}
        check_count(broker, delivery, 1)
        assert delivery.lease_seconds == LEASE_SECONDS

    def test_a_delivery_says_when_it_was_sent_and_received(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert delivery.received_at == pytest.approx(time.time(), abs=3600)
        assert delivery.sent_at is None or delivery.sent_at == pytest.approx(delivery.received_at, abs=600)

    def test_an_empty_queue_hands_over_nothing(self, broker: Broker, queue: str, run: Drive) -> None:
        assert receive_now(run, broker, queue) == []

    def test_nothing_to_do_needs_no_queue(self, broker: Broker, run: Drive) -> None:
        assert run(broker.send("no-such-queue", [])) == []
        assert run(broker.settle([])) == []
        assert run(broker.extend([], LEASE_SECONDS)) == []

    def test_a_batch_may_be_larger_than_the_providers(self, broker: Broker, queue: str, run: Drive) -> None:
        texts = [f"number {number}" for number in range(27)]

        sent = run(broker.send(queue, [Outgoing(body=text) for text in texts]))
        deliveries = take(run, broker, queue, 27)

        assert all(isinstance(each, Sent) for each in sent)
        assert {d.message_id: d.body for d in deliveries} == {
            answer.message_id: text for answer, text in zip(sent, texts, strict=True) if isinstance(answer, Sent)
        }
        assert run(broker.extend(deliveries, LEASE_SECONDS)) == [None] * 27
        assert run(broker.settle([Acknowledge(each) for each in deliveries])) == [None] * 27
        until_empty(run, broker, queue)

    def test_no_more_are_handed_over_than_asked_for(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body=str(number)) for number in range(5)]))
        assert len(run(broker.receive(queue, 1, 1, LEASE_SECONDS))) == 1
        assert 1 <= len(run(broker.receive(queue, 3, 1, LEASE_SECONDS))) <= 3

    def test_a_receive_waits_for_a_message(self, broker: Broker, queue: str, run: Drive) -> None:
        def send_later() -> Flow[list[Sent | Refused]]:
            yield Sleep(0.3)
            return (yield from broker.send(queue, [Outgoing(body="late")]))

        wait_seconds = min(10, broker.capabilities.longest_wait_seconds)
        received, _ = run.together([broker.receive(queue, 10, wait_seconds, LEASE_SECONDS), send_later()])
        assert bodies(received) == ["late"]

    def test_receivers_get_different_messages(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body=str(number)) for number in range(40)]))

        rounds: list[list[Delivery]] = run.together([broker.receive(queue, 10, 1, LEASE_SECONDS) for _ in range(6)])
        deliveries = [delivery for received in rounds for delivery in received]
        deliveries += take(run, broker, queue, 40 - len(deliveries))

        assert sorted(bodies(deliveries), key=int) == [str(number) for number in range(40)]
        assert all(delivery.receive_count == 1 for delivery in deliveries)

    def test_a_message_in_flight_is_not_handed_over(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        take(run, broker, queue, 1)
        assert receive_now(run, broker, queue) == []

    def test_a_message_comes_back_when_its_lease_is_over(
        self, broker: Broker, queue: str, run: Drive, advance: Advance
    ) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [first] = take(run, broker, queue, 1, self.short_lease_seconds)
        advance(self.short_lease_seconds + 0.5)

        [again] = take(run, broker, queue, 1)

        assert (again.message_id, again.body) == (first.message_id, "x")
        assert again.receipt != first.receipt or not broker.capabilities.checks_receipts
        check_count(broker, again, 2)

    def test_extending_keeps_it(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        held = take(run, broker, queue, 1, self.short_lease_seconds)

        assert run(broker.extend(held, LEASE_SECONDS)) == [None]
        advance(self.short_lease_seconds + 0.5)

        assert receive_now(run, broker, queue) == []
        assert run(broker.settle([Acknowledge(held[0])])) == [None]
        until_empty(run, broker, queue)

    def test_a_lost_lease_is_not_extended(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        if not broker.capabilities.checks_receipts:
            pytest.skip("the broker does not look at receipts")
        run(broker.send(queue, [Outgoing(body="lost"), Outgoing(body="held")]))
        deliveries = take(run, broker, queue, 2, self.short_lease_seconds)
        advance(self.short_lease_seconds + 0.5)
        again = take(run, broker, queue, 2)
        [lost] = [each for each in deliveries if each.body == "lost"]
        [held] = [each for each in again if each.body == "held"]

        refused, extended = run(broker.extend([lost, held], LEASE_SECONDS))

        assert isinstance(refused, Refused)
        assert queue in str(refused.error)
        assert extended is None

    def test_a_stale_receipt_changes_nothing(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [stale] = take(run, broker, queue, 1, self.short_lease_seconds)
        advance(self.short_lease_seconds + 0.5)
        [current] = take(run, broker, queue, 1)

        assert run(broker.settle([Acknowledge(stale)])) == [None]
        assert run(broker.settle([Release(stale)])) == [None]

        if not broker.capabilities.checks_receipts:
            return
        assert receive_now(run, broker, queue) == []
        assert run(broker.extend([current], LEASE_SECONDS)) == [None]

    def test_settling_twice_is_harmless(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Acknowledge(delivery)])) == [None]
        assert run(broker.settle([Acknowledge(delivery)])) == [None]
        assert run(broker.settle([Release(delivery)])) == [None]
        assert receive_now(run, broker, queue) == []

    def test_what_is_acknowledged_is_gone(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1, self.short_lease_seconds)
        assert run(broker.settle([Acknowledge(delivery)])) == [None]
        advance(self.short_lease_seconds + 0.5)
        assert receive_now(run, broker, queue) == []

    def test_what_is_released_comes_back_at_once(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Release(delivery)])) == [None]
        [again] = take(run, broker, queue, 1)
        assert again.message_id == delivery.message_id
        check_count(broker, again, 2)

    def test_what_is_released_for_later_comes_back_then(
        self, broker: Broker, queue: str, run: Drive, advance: Advance
    ) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Release(delivery, after_seconds=2)])) == [None]
        assert receive_now(run, broker, queue) == []
        advance(2.5)
        assert bodies(take(run, broker, queue, 1)) == ["x"]

    def test_a_release_for_longer_than_can_be_is_done_all_the_same(
        self, broker: Broker, queue: str, run: Drive
    ) -> None:
        longest_seconds = broker.capabilities.longest_release_seconds
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Release(delivery, min(longest_seconds + 1, 100_000))])) == [None]
        assert receive_now(run, broker, queue) == []

    def test_a_dead_letter_says_why_and_from_where(
        self, broker: Broker, queue: str, run: Drive, advance: Advance
    ) -> None:
        run(broker.send(queue, [Outgoing(body="bäd", attributes={"tenant": "a"})]))
        [delivery] = take(run, broker, queue, 1, self.short_lease_seconds)

        assert run(broker.settle([DeadLetter(delivery, "no task 'shöp.resize'")])) == [None]
        [dead] = take(run, broker, dead_letter_queue(queue), 1)
        advance(self.short_lease_seconds + 0.5)

        assert dead.body == "bäd"
        assert dead.attributes == {
            "tenant": "a",
            DEAD_LETTER_REASON: "no task 'shöp.resize'",
            DEAD_LETTER_SOURCE: queue,
        }
        check_count(broker, dead, 1)
        assert receive_now(run, broker, queue) == []

    def test_a_reason_may_contain_anything(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x" * (broker.capabilities.largest_message_bytes // 2))]))
        [delivery] = take(run, broker, queue, 1)
        reason = "can't decode \x00 \ud800 " + "y" * broker.capabilities.largest_message_bytes

        assert run(broker.settle([DeadLetter(delivery, reason)])) == [None]

        [dead] = take(run, broker, dead_letter_queue(queue), 1)
        assert dead.body == delivery.body
        assert dead.attributes[DEAD_LETTER_REASON].startswith("can't decode")

    def test_one_batch_settles_in_every_way(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body=text) for text in ("done", "again", "dead")]))
        by_body = {each.body: each for each in take(run, broker, queue, 3)}

        settled = run(
            broker.settle([Acknowledge(by_body["done"]), DeadLetter(by_body["dead"], "why"), Release(by_body["again"])])
        )

        assert settled == [None, None, None]
        assert bodies(take(run, broker, queue, 1)) == ["again"]
        assert bodies(take(run, broker, dead_letter_queue(queue), 1)) == ["dead"]
