"""The contract of brokers. Derive a class from ``BrokerContract`` in the tests of the adapter::

    class TestSQLite(BrokerContract):
        @pytest.fixture
        def broker(self, tmp_path):
            return SQLiteBroker(tmp_path / "queues.db")

        @pytest.fixture
        def queue(self): ...

Each test runs with the synchronous and with the asynchronous driver. The tests expect of a broker what its capabilities
declare. Whatever only one adapter does is tested in the adapter's own tests.
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
    """Check that a delivery is the ``count``-th of its message, or that it says that it can't tell."""
    assert delivery.counted or not broker.capabilities.counts_receives
    assert delivery.receive_count == (count if delivery.counted else 1)
    assert delivery.redelivered == (count > 1 or not delivery.counted)


class BrokerContract(LimitsContract, OrderingContract):
    """The tests of a broker.

    Define the fixtures ``broker`` and ``queue``; ``ordered_queue`` if the broker keeps order; and ``advance`` if the
    adapter takes a clock.
    """

    short_lease_seconds = 2
    """A lease that a test lets run out, in seconds. It has to last for a few calls on a slow machine."""

    @pytest.fixture
    def broker(self) -> Broker:
        """The adapter under test."""
        raise NotImplementedError

    @pytest.fixture
    def queue(self) -> str:
        """The name of an empty queue. Create it and its dead-letter queue if the broker's queues must exist."""
        raise NotImplementedError

    @pytest.fixture
    def ordered_queue(self) -> str:
        """The name of an empty queue that keeps order. Not used if the broker doesn't keep order."""
        raise NotImplementedError

    @pytest.fixture
    def advance(self) -> Advance:
        """Let time pass for the broker. By default the test sleeps; an adapter with a clock moves the clock."""
        return time.sleep

    @pytest.fixture(params=["sync", "async"])
    def run(self, request: pytest.FixtureRequest, broker: Broker) -> Iterator[Drive]:
        """Drives flows to their ends."""
        with driving(request.param, broker.services) as drive:
            yield drive

    def test_message_arrives_as_it_was_sent(self, broker: Broker, queue: str, run: Drive) -> None:
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

    def test_delivery_has_the_times_of_sending_and_receiving(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert delivery.received_at == pytest.approx(time.time(), abs=3600)
        assert delivery.sent_at is None or delivery.sent_at == pytest.approx(delivery.received_at, abs=600)

    def test_empty_queue_delivers_nothing(self, broker: Broker, queue: str, run: Drive) -> None:
        assert receive_now(run, broker, queue) == []

    def test_empty_batch_needs_no_queue(self, broker: Broker, run: Drive) -> None:
        assert run(broker.send("no-such-queue", [])) == []
        assert run(broker.settle([])) == []
        assert run(broker.extend([], LEASE_SECONDS)) == []

    def test_batch_over_the_providers_limit_is_handled_whole(self, broker: Broker, queue: str, run: Drive) -> None:
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

    def test_receive_delivers_at_most_the_limit(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body=str(number)) for number in range(5)]))
        assert len(run(broker.receive(queue, 1, 1, LEASE_SECONDS))) == 1
        assert 1 <= len(run(broker.receive(queue, 3, 1, LEASE_SECONDS))) <= 3

    def test_receive_waits_for_a_message(self, broker: Broker, queue: str, run: Drive) -> None:
        def send_later() -> Flow[list[Sent | Refused]]:
            yield Sleep(0.3)
            return (yield from broker.send(queue, [Outgoing(body="late")]))

        wait_seconds = min(10, broker.capabilities.longest_wait_seconds)
        received, _ = run.together([broker.receive(queue, 10, wait_seconds, LEASE_SECONDS), send_later()])
        assert bodies(received) == ["late"]

    def test_concurrent_receivers_get_different_messages(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body=str(number)) for number in range(40)]))

        rounds: list[list[Delivery]] = run.together([broker.receive(queue, 10, 1, LEASE_SECONDS) for _ in range(6)])
        deliveries = [delivery for received in rounds for delivery in received]
        deliveries += take(run, broker, queue, 40 - len(deliveries))

        assert sorted(bodies(deliveries), key=int) == [str(number) for number in range(40)]
        assert all(delivery.receive_count == 1 for delivery in deliveries)

    def test_leased_message_is_not_delivered(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        take(run, broker, queue, 1)
        assert receive_now(run, broker, queue) == []

    def test_message_is_delivered_again_after_its_lease(
        self, broker: Broker, queue: str, run: Drive, advance: Advance
    ) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [first] = take(run, broker, queue, 1, self.short_lease_seconds)
        advance(self.short_lease_seconds + 0.5)

        [again] = take(run, broker, queue, 1)

        assert (again.message_id, again.body) == (first.message_id, "x")
        assert again.receipt != first.receipt or not broker.capabilities.checks_receipts
        check_count(broker, again, 2)

    def test_extended_lease_keeps_the_message(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        held = take(run, broker, queue, 1, self.short_lease_seconds)

        assert run(broker.extend(held, LEASE_SECONDS)) == [None]
        advance(self.short_lease_seconds + 0.5)

        assert receive_now(run, broker, queue) == []
        assert run(broker.settle([Acknowledge(held[0])])) == [None]
        until_empty(run, broker, queue)

    def test_lost_lease_is_not_extended(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        if not broker.capabilities.checks_receipts:
            pytest.skip("the broker doesn't check receipts")
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

    def test_stale_receipt_changes_nothing(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
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

    def test_settling_twice_changes_nothing(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Acknowledge(delivery)])) == [None]
        assert run(broker.settle([Acknowledge(delivery)])) == [None]
        assert run(broker.settle([Release(delivery)])) == [None]
        assert receive_now(run, broker, queue) == []

    def test_acknowledged_message_is_gone(self, broker: Broker, queue: str, run: Drive, advance: Advance) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1, self.short_lease_seconds)
        assert run(broker.settle([Acknowledge(delivery)])) == [None]
        advance(self.short_lease_seconds + 0.5)
        assert receive_now(run, broker, queue) == []

    def test_released_message_is_delivered_again_at_once(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Release(delivery)])) == [None]
        [again] = take(run, broker, queue, 1)
        assert again.message_id == delivery.message_id
        check_count(broker, again, 2)

    def test_receive_without_consequences_is_taken_back_where_the_broker_counts(
        self, broker: Broker, queue: str, run: Drive
    ) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Release(delivery, counts=False)])) == [None]
        [again] = take(run, broker, queue, 1)
        check_count(broker, again, 1 if broker.capabilities.takes_back_receives else 2)
        if broker.capabilities.takes_back_receives:  # the count doesn't tell the two receives apart
            assert again.receipt != delivery.receipt

    def test_message_released_with_a_delay_is_delivered_after_it(
        self, broker: Broker, queue: str, run: Drive, advance: Advance
    ) -> None:
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Release(delivery, after_seconds=2)])) == [None]
        assert receive_now(run, broker, queue) == []
        advance(2.5)
        assert bodies(take(run, broker, queue, 1)) == ["x"]

    def test_release_over_the_longest_delay_is_accepted(self, broker: Broker, queue: str, run: Drive) -> None:
        longest_seconds = broker.capabilities.longest_release_seconds
        run(broker.send(queue, [Outgoing(body="x")]))
        [delivery] = take(run, broker, queue, 1)
        assert run(broker.settle([Release(delivery, min(longest_seconds + 1, 100_000))])) == [None]
        assert receive_now(run, broker, queue) == []

    def test_dead_letter_has_its_reason_and_its_source(
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

    def test_dead_letter_reason_may_be_any_text(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body="x" * (broker.capabilities.largest_message_bytes // 2))]))
        [delivery] = take(run, broker, queue, 1)
        reason = "can't decode \x00 \ud800 " + "y" * broker.capabilities.largest_message_bytes

        assert run(broker.settle([DeadLetter(delivery, reason)])) == [None]

        [dead] = take(run, broker, dead_letter_queue(queue), 1)
        assert dead.body == delivery.body
        assert dead.attributes[DEAD_LETTER_REASON].startswith("can't decode")

    def test_one_batch_settles_messages_in_every_way(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body=text) for text in ("done", "again", "dead")]))
        by_body = {each.body: each for each in take(run, broker, queue, 3)}

        settled = run(
            broker.settle([Acknowledge(by_body["done"]), DeadLetter(by_body["dead"], "why"), Release(by_body["again"])])
        )

        assert settled == [None, None, None]
        assert bodies(take(run, broker, queue, 1)) == ["again"]
        assert bodies(take(run, broker, dead_letter_queue(queue), 1)) == ["dead"]
