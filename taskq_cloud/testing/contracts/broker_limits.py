"""The part of ``BrokerContract`` about delays, sizes, and whole queues."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Acknowledge, Outgoing, Refused, Sent
from taskq_cloud.core.ports import Broker, Depth
from taskq_cloud.errors import PayloadTooLarge, QueueNotFound
from taskq_cloud.testing.contracts.receiving import LEASE_SECONDS, bodies, receive_now, take, until_empty
from taskq_cloud.testing.driving import Drive
from taskq_cloud.testing.waiting import until


class LimitsContract:
    """Tests of delays, sizes, depth, purge and missing queues, with the fixtures of ``BrokerContract``."""

    missing_queue = "nobody-made-me"
    """The name of a queue that doesn't exist; unique where test runs share a server."""

    def test_delayed_message_is_delivered_after_its_delay(
        self, broker: Broker, queue: str, run: Drive, advance: Callable[[float], None]
    ) -> None:
        if broker.capabilities.longest_delay(queue) < 2:
            pytest.skip("the broker has no delay")
        run(broker.send(queue, [Outgoing(body="later", delay_seconds=2), Outgoing(body="now")]))
        assert bodies(take(run, broker, queue, 1)) == ["now"]
        assert receive_now(run, broker, queue) == []
        advance(2.5)
        assert bodies(take(run, broker, queue, 1)) == ["later"]

    def test_delay_over_the_limit_is_refused(self, broker: Broker, queue: str, run: Drive) -> None:
        longest_seconds = broker.capabilities.longest_delay(queue)
        if math.isinf(longest_seconds):
            pytest.skip("the broker's delay has no limit")
        outgoing = Outgoing(body="x", delay_seconds=longest_seconds + 1)
        [refused] = run(broker.send(queue, [outgoing]))
        assert isinstance(refused, Refused)
        assert queue in str(refused.error)
        until_empty(run, broker, queue)

    def test_message_over_the_limit_in_bytes_is_refused(self, broker: Broker, queue: str, run: Drive) -> None:
        limit = broker.capabilities.largest_message_bytes
        messages = [
            Outgoing(body="before"),
            Outgoing(body="ü" * (limit // 2 + 1)),
            Outgoing(body="x" * limit, attributes={"one": "more"}),
            Outgoing(body="after"),
        ]

        answers = run(broker.send(queue, messages))

        assert [isinstance(each, Sent) for each in answers] == [True, False, False, True]
        for each in answers[1:3]:
            assert isinstance(each, Refused)
            assert isinstance(each.error, PayloadTooLarge)
            assert queue in str(each.error)
            assert str(limit) in str(each.error).replace(",", "")
        assert sorted(bodies(take(run, broker, queue, 2))) == ["after", "before"]

    def test_message_as_large_as_the_limit_is_delivered(self, broker: Broker, queue: str, run: Drive) -> None:
        text = "x" * broker.capabilities.largest_message_bytes
        answers = run(broker.send(queue, [Outgoing(body=text), Outgoing(body=text)]))
        assert all(isinstance(each, Sent) for each in answers)
        assert bodies(take(run, broker, queue, 2)) == [text, text]

    def test_depth_counts_waiting_delayed_and_leased_messages(self, broker: Broker, queue: str, run: Drive) -> None:
        if not broker.capabilities.counts_messages:
            assert run(broker.depth(queue)) is None
            return
        delay_seconds = min(600, broker.capabilities.longest_delay(queue))
        run(broker.send(queue, [Outgoing(body=text) for text in "abc"]))
        delayed = 0
        if delay_seconds:
            delayed = 1
            run(broker.send(queue, [Outgoing(body="d", delay_seconds=delay_seconds)]))
        [delivery] = run(broker.receive(queue, 1, 1, LEASE_SECONDS))
        until(lambda: run(broker.depth(queue)) == Depth(waiting=2, delayed=delayed, in_flight=1))
        run(broker.settle([Acknowledge(delivery)]))
        until(lambda: run(broker.depth(queue)) == Depth(waiting=2, delayed=delayed, in_flight=0))

    def test_purge_removes_all_messages(self, broker: Broker, queue: str, run: Drive) -> None:
        run(broker.send(queue, [Outgoing(body=text) for text in "abc"]))
        run(broker.receive(queue, 1, 1, LEASE_SECONDS))
        assert run(broker.purge(queue)) in (3, None)
        until_empty(run, broker, queue)
        assert receive_now(run, broker, queue) == []

    def test_missing_queue_is_named_in_the_error(self, broker: Broker, run: Drive) -> None:
        uses: Sequence[Callable[[str], Flow[Any]]] = (
            lambda name: broker.send(name, [Outgoing(body="x")]),
            lambda name: broker.receive(name, 1, 0, LEASE_SECONDS),
            broker.depth,
            broker.purge,
        )
        if not broker.capabilities.queues_must_exist:
            counts = broker.capabilities.counts_messages
            assert run(broker.depth(self.missing_queue)) == (Depth(0, 0, 0) if counts else None)
            assert receive_now(run, broker, self.missing_queue) == []
            return
        for use in uses:
            with pytest.raises(QueueNotFound, match=self.missing_queue):
                run(use(self.missing_queue))
