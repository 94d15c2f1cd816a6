"""The part of ``BrokerContract`` about ordered queues; skipped if the broker doesn't keep order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Outgoing, Refused, Release, Sent
from taskq_cloud.core.ports import Broker
from taskq_cloud.testing.contracts.receiving import LEASE_SECONDS, bodies, receive_now, take, until_empty
from taskq_cloud.testing.driving import Drive


def _in_group(group: str, *texts: str) -> list[Outgoing]:
    return [Outgoing(body=text, group=group, deduplication=text) for text in texts]


class OrderingContract:
    """Tests of queues whose names end in ``.fifo``, with the fixtures of ``BrokerContract``."""

    @pytest.fixture
    def fifo(self, broker: Broker, request: pytest.FixtureRequest) -> str:
        if not broker.capabilities.ordering:
            pytest.skip("the broker doesn't keep order")
        name: str = request.getfixturevalue("ordered_queue")
        return name

    def test_messages_of_a_group_keep_their_order(self, broker: Broker, fifo: str, run: Drive) -> None:
        of_a = [f"a{number:02}" for number in range(13)]
        of_b = [f"b{number:02}" for number in range(13)]
        mixed = [each for pair in zip(_in_group("a", *of_a), _in_group("b", *of_b), strict=True) for each in pair]
        assert all(isinstance(answer, Sent) for answer in run(broker.send(fifo, mixed)))

        came: list[str] = []
        while len(came) < 26:
            received = run(broker.receive(fifo, 4, 1, LEASE_SECONDS))
            assert received, f"no message was delivered after {came}"
            came += [f"{each.group}:{each.body}" for each in received]
            run(broker.settle([Acknowledge(each) for each in received]))

        assert [each for each in came if each.startswith("a:")] == [f"a:{text}" for text in of_a]
        assert [each for each in came if each.startswith("b:")] == [f"b:{text}" for text in of_b]

    def test_leased_message_holds_back_its_group_only(self, broker: Broker, fifo: str, run: Drive) -> None:
        run(broker.send(fifo, [*_in_group("a", "a1", "a2"), *_in_group("b", "b1")]))
        [first] = run(broker.receive(fifo, 1, 1, LEASE_SECONDS))
        assert first.body == "a1"

        assert bodies(take(run, broker, fifo, 1)) == ["b1"]
        assert receive_now(run, broker, fifo) == []
        run(broker.settle([Acknowledge(first)]))

        assert bodies(take(run, broker, fifo, 1)) == ["a2"]

    def test_messages_without_a_group_share_the_default_group(self, broker: Broker, fifo: str, run: Drive) -> None:
        run(broker.send(fifo, [Outgoing(body=text, deduplication=text) for text in ("first", "second")]))
        [first] = run(broker.receive(fifo, 1, 1, LEASE_SECONDS))
        assert (first.body, first.group) == ("first", DEFAULT_GROUP)
        assert receive_now(run, broker, fifo) == []

    def test_released_messages_keep_their_order(self, broker: Broker, fifo: str, run: Drive) -> None:
        run(broker.send(fifo, _in_group("a", "a1", "a2", "a3")))
        held = take(run, broker, fifo, 3)
        assert bodies(held) == ["a1", "a2", "a3"]
        run(broker.settle([Acknowledge(held[0]), Release(held[1]), Release(held[2])]))
        assert bodies(take(run, broker, fifo, 2)) == ["a2", "a3"]

    def test_message_released_with_a_delay_holds_back_its_group(
        self, broker: Broker, fifo: str, run: Drive, advance: Callable[[float], None]
    ) -> None:
        run(broker.send(fifo, _in_group("a", "a1", "a2")))
        [first] = run(broker.receive(fifo, 1, 1, LEASE_SECONDS))
        run(broker.settle([Release(first, after_seconds=2)]))
        assert receive_now(run, broker, fifo) == []
        advance(2.5)
        assert bodies(take(run, broker, fifo, 2)) == ["a1", "a2"]

    def test_dead_letter_frees_its_group(self, broker: Broker, fifo: str, run: Drive) -> None:
        run(broker.send(fifo, _in_group("a", "a1", "a2")))
        [first] = run(broker.receive(fifo, 1, 1, LEASE_SECONDS))
        assert run(broker.settle([DeadLetter(first, "why")])) == [None]
        assert bodies(take(run, broker, fifo, 1)) == ["a2"]
        [dead] = take(run, broker, dead_letter_queue(fifo), 1)
        assert (dead.body, dead.group) == ("a1", "a")

    def test_delayed_message_holds_back_its_group_if_declared(
        self, broker: Broker, fifo: str, run: Drive, advance: Callable[[float], None]
    ) -> None:
        later = Outgoing(body="a1", group="a", deduplication="a1", delay_seconds=2)
        if broker.capabilities.longest_delay(fifo) < 2:
            [refused] = run(broker.send(fifo, [later]))
            assert isinstance(refused, Refused)
            assert fifo in str(refused.error)
            return
        run(broker.send(fifo, [later, *_in_group("a", "a2"), *_in_group("b", "b1")]))
        if not broker.capabilities.delays_in_order:
            others = take(run, broker, fifo, 2)
            assert sorted(bodies(others)) == ["a2", "b1"]
            run(broker.settle([Acknowledge(each) for each in others]))
            advance(2.5)
            [last] = take(run, broker, fifo, 1)
            assert (last.body, last.group) == ("a1", "a")
            return
        assert bodies(take(run, broker, fifo, 1)) == ["b1"]
        assert receive_now(run, broker, fifo) == []
        advance(2.5)
        assert bodies(take(run, broker, fifo, 2)) == ["a1", "a2"]

    def test_message_sent_twice_is_delivered_once(self, broker: Broker, fifo: str, run: Drive) -> None:
        if not broker.capabilities.deduplicates:
            pytest.skip("the broker doesn't deduplicate")
        first = run(broker.send(fifo, [*_in_group("a", "once", "once"), *_in_group("a", "twice")]))
        second = run(broker.send(fifo, _in_group("a", "once")))
        assert all(isinstance(answer, Sent) for answer in [*first, *second])

        deliveries = take(run, broker, fifo, 2)
        assert bodies(deliveries) == ["once", "twice"]
        run(broker.settle([Acknowledge(each) for each in deliveries]))
        run(broker.send(fifo, _in_group("a", "once")))

        until_empty(run, broker, fifo)
