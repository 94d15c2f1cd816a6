"""Tests of the RabbitMQ broker against a server: the contract of brokers, and what only this broker does."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from taskq_cloud.brokers.rabbitmq import RabbitMQBroker
from taskq_cloud.clients.rabbitmq import open_client
from taskq_cloud.clients.rabbitmq_consuming import LINGER_SECONDS
from taskq_cloud.clients.rabbitmq_session import Session
from taskq_cloud.core.flows import Call, Flow, Sleep
from taskq_cloud.core.flows import run as drive
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Outgoing, Release, Sent
from taskq_cloud.core.ports import Broker
from taskq_cloud.core.servers.rabbitmq import read_options
from taskq_cloud.errors import SoftTimeLimitExceeded
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract
from taskq_cloud.testing.contracts.receiving import bodies, take
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow

LONGEST_REAL_DELAY = 10


def broker_at(url: str, clock: Callable[[], float] = time.time, **options: object) -> RabbitMQBroker:
    return RabbitMQBroker(read_options([urlsplit(url)], options), clock=clock)


class TestClassicQueues(BrokerContract):
    short_lease_seconds = 15
    missing_queue = f"nobody-made-me-{uuid4().hex[:12]}"

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(time.time())

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        def advance(seconds: float) -> None:
            clock.advance(seconds)
            if seconds < LONGEST_REAL_DELAY:  # the server's own clock can't be moved
                time.sleep(seconds)

        return advance

    @pytest.fixture
    def broker(self, server_url: Callable[[str], str], clock: FakeClock) -> RabbitMQBroker:
        return broker_at(server_url("rabbitmq"), clock)

    @pytest.fixture
    def queue(self) -> str:
        return f"work-{uuid4().hex[:12]}"


class TestQuorumQueues(TestClassicQueues):
    missing_queue = f"nobody-made-me-{uuid4().hex[:12]}"

    @pytest.fixture
    def broker(self, server_url: Callable[[str], str], clock: FakeClock) -> RabbitMQBroker:
        return broker_at(server_url("rabbitmq"), clock, queue_type="quorum", create_missing_queues=False)

    @pytest.fixture
    def queue(self, server_url: Callable[[str], str]) -> str:
        name = f"work-{uuid4().hex[:12]}"
        declaring = broker_at(server_url("rabbitmq"), queue_type="quorum")
        with driving("sync", declaring.services) as run:
            for each in (name, dead_letter_queue(name)):
                run(declaring.purge(each))
        return name

    def test_missing_queue_is_named_in_the_error(self, broker: Broker, run: Drive) -> None:
        assert isinstance(broker, RabbitMQBroker)
        [service] = broker.services
        run(one_call(service, "ask", methods=[("queue.delete", 0, self.missing_queue, False, False, False)]))
        super().test_missing_queue_is_named_in_the_error(broker, run)


def one_call(service: str, operation: str, **parameters: Any) -> Flow[Any]:
    return (yield Call(service, operation, parameters))


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
@pytest.mark.parametrize("ends", [False, True])
def test_message_that_nobody_has_taken_is_not_counted(
    server_url: Callable[[str], str], queue_type: str, *, ends: bool
) -> None:
    """A worker that is full, or that ends, has asked for more than it takes."""
    broker, other = (broker_at(server_url("rabbitmq"), queue_type=queue_type) for _ in range(2))
    queue = f"work-{uuid4().hex[:12]}"
    with driving("sync", other.services) as run_other:
        with driving("async", broker.services) as run:
            run(broker.send(queue, [Outgoing(body=str(number)) for number in range(4)]))
            run(broker.settle([Acknowledge(each) for each in run(broker.receive(queue, 2, 5, 60))]))
            if not ends:
                run(until_idle())
        left = take(run_other, other, queue, 2)
        assert [(each.body, each.receive_count) for each in left] == [("2", 1), ("3", 1)]
        run_other(other.settle([Release(each) for each in left]))
        with driving("async", broker.services) as run:
            [again] = run(broker.receive(queue, 1, 5, 60))
            run(broker.settle([Acknowledge(again)]))
        [last] = take(run_other, other, queue, 1)
        assert last.receive_count == 2


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_lease_that_is_extended_goes_on_if_the_clock_is_set_back(server_url: Callable[[str], str], colour: str) -> None:
    clock = FakeClock(time.time())
    broker, queue = broker_at(server_url("rabbitmq"), clock), f"work-{uuid4().hex[:12]}"
    with driving(colour, broker.services) as run:
        run(broker.send(queue, [Outgoing(body="x")]))
        held = run(broker.receive(queue, 1, 5, 60))
        clock.advance(-3600)
        assert run(broker.extend(held, 60)) == [None]
        run(until_idle())
        assert run(broker.extend(held, 60)) == [None]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_message_over_the_limit_can_be_moved(server_url: Callable[[str], str], colour: str) -> None:
    """Another program may have sent it, and a reason makes it longer."""
    url, queue = server_url("rabbitmq"), f"work-{uuid4().hex[:12]}"
    sender, broker = broker_at(url), broker_at(url, largest_message_bytes=100)
    with driving(colour, sender.services) as run_sender, driving(colour, broker.services) as run:
        run_sender(sender.send(queue, [Outgoing(body="x" * 200)]))
        assert run(broker.settle([Release(each, counts=False) for each in take(run, broker, queue, 1)])) == [None]
        assert run(broker.settle([DeadLetter(each, "why") for each in take(run, broker, queue, 1)])) == [None]
        assert len(take(run, broker, dead_letter_queue(queue), 1)) == 1


def test_call_that_a_time_limit_ends_leaves_no_connection_out_of_step(
    server_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, queue = broker_at(server_url("rabbitmq")), f"work-{uuid4().hex[:12]}"
    [(name, service)] = broker.services.items()
    client = open_client(name, dict(service.options))

    def make(step: Any) -> Any:  # without retries
        return client.call(step)

    drive(broker.send(queue, [Outgoing(body="a")]), make)
    feed = Session.feed

    def feed_a_part(session: Session, data: bytes) -> None:
        feed(session, data[:-1])
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(Session, "feed", feed_a_part)
    with pytest.raises(SoftTimeLimitExceeded):
        drive(broker.send(queue, [Outgoing(body="b")]), make)
    monkeypatch.setattr(Session, "feed", feed)
    assert isinstance(drive(broker.send(queue, [Outgoing(body="c")]), make)[0], Sent)
    client.close()


def until_idle() -> Flow[None]:
    """Wait until the consumers have ended that nobody asks."""
    yield Sleep(LINGER_SECONDS + 1)


def test_threads_need_no_poll(server_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none, and eventlet removes it."""
    monkeypatch.delattr(select, "poll")
    broker, queue = broker_at(server_url("rabbitmq")), f"work-{uuid4().hex[:12]}"
    with driving("sync", broker.services) as run:
        run(broker.send(queue, [Outgoing(body="x")]))
        assert bodies(take(run, broker, queue, 1)) == ["x"]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_message_without_a_confirm_arrives(server_url: Callable[[str], str], colour: str) -> None:
    broker, queue = broker_at(server_url("rabbitmq"), confirm_publish=False), f"work-{uuid4().hex[:12]}"
    with driving(colour, broker.services) as run:
        for number in range(5):
            assert isinstance(run(broker.send(queue, [Outgoing(body=str(number))]))[0], Sent)
        assert bodies(take(run, broker, queue, 5)) == ["0", "1", "2", "3", "4"]


def test_waiting_messages_are_counted(server_url: Callable[[str], str]) -> None:
    broker, queue = broker_at(server_url("rabbitmq")), f"count-{uuid4().hex[:8]}"
    with driving("sync", broker.services) as run:
        assert run(broker.waiting(queue)) == 0
        run(broker.send(queue, [Outgoing(body=str(number)) for number in range(3)]))
        assert run(broker.waiting(queue)) == 3
        assert run(broker.depth(queue)) is None
        run(broker.purge(queue))
