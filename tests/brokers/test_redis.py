"""Tests of the Redis broker in its own layout, on a real server: the contract of brokers, waiting, and round trips."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from taskq_cloud.brokers.redis import RedisBroker
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.redis import RedisClient
from taskq_cloud.core.flows import Call, Flow, Sleep
from taskq_cloud.core.flows import run as drive
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import (
    Acknowledge,
    DeadLetter,
    Delivery,
    Outgoing,
    Refused,
    Release,
    Sent,
)
from taskq_cloud.core.ports import Depth, ListsHeld
from taskq_cloud.core.servers.redis import redis_service
from taskq_cloud.errors import OperationalError
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow

T = TypeVar("T")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def url(server_url: Callable[[str], str]) -> str:
    return server_url("redis")


@pytest.fixture
def prefix() -> str:
    """The beginning of a test's keys on the shared server."""
    return f"{uuid4()}:"


@pytest.fixture
def broker(clock: FakeClock, url: str, prefix: str) -> RedisBroker:
    return RedisBroker(url, {"global_keyprefix": prefix}, clock)


@pytest.fixture
def sync(broker: RedisBroker) -> Iterator[Drive]:
    """Drives flows in threads."""
    with driving("sync", broker.services) as drive:
        yield drive


class TestRedisBroker(BrokerContract):
    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def broker(self, clock: FakeClock, url: str, prefix: str) -> RedisBroker:
        return RedisBroker(url, {"global_keyprefix": prefix}, clock)

    @pytest.fixture
    def queue(self) -> str:
        return "work"

    @pytest.fixture
    def ordered_queue(self) -> str:
        return "work.fifo"

    def test_deduplication_id_is_forgotten_after_five_minutes(
        self, broker: RedisBroker, run: Drive, clock: FakeClock
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

    def test_released_message_goes_behind_the_others(self, broker: RedisBroker, run: Drive) -> None:
        run(broker.send("work", [Outgoing(body="poison"), Outgoing(body="good")]))
        [poison] = run(broker.receive("work", 1, 0, 60))
        run(broker.settle([Release(poison)]))
        assert [each.body for each in run(broker.receive("work", 1, 0, 60))] == ["good"]

    def test_message_that_is_not_utf8_is_refused_alone(self, broker: RedisBroker, run: Drive) -> None:
        refused, sent = run(broker.send("work", [Outgoing(body="\ud800"), Outgoing(body="good")]))
        assert isinstance(refused, Refused)
        assert "'work'" in str(refused.error)
        assert isinstance(sent, Sent)

    @pytest.mark.parametrize("queue_name", ["work", "work.fifo"])
    def test_waiting_receiver_gets_a_message_when_its_delay_is_over(
        self, url: str, prefix: str, run: Drive, queue_name: str
    ) -> None:
        broker = RedisBroker(url, {"global_keyprefix": prefix})  # by the server's clock

        def send_later() -> Flow[float]:
            yield Sleep(0.1)
            yield from broker.send(queue_name, [Outgoing(body="x", delay_seconds=0.3)])
            return time.monotonic()

        def receive() -> Flow[tuple[list[Delivery], float]]:
            deliveries = yield from broker.receive(queue_name, 1, 10, 60)
            return deliveries, time.monotonic()

        ([delivery], received_at), sent_at = run.together([receive(), send_later()])
        assert delivery.body == "x"
        assert 0.25 < received_at - sent_at < 1.5

    @pytest.mark.parametrize("queue_name", ["work", "work.fifo"])
    def test_waiting_receiver_gets_a_message_that_is_released(
        self, broker: RedisBroker, run: Drive, queue_name: str
    ) -> None:
        run(broker.send(queue_name, [Outgoing(body="x")]))
        held = run(broker.receive(queue_name, 1, 0, 60))

        def release_later() -> Flow[float]:
            yield Sleep(0.1)
            yield from broker.settle([Release(each) for each in held])
            return time.monotonic()

        def receive() -> Flow[tuple[list[Delivery], float]]:
            deliveries = yield from broker.receive(queue_name, 1, 10, 60)
            return deliveries, time.monotonic()

        (deliveries, received_at), released_at = run.together([receive(), release_later()])
        assert [each.body for each in deliveries] == ["x"]
        assert received_at - released_at < 1

    def test_every_waiting_receiver_gets_one_of_many_messages(self, broker: RedisBroker, run: Drive) -> None:
        def send_later() -> Flow[Any]:
            yield Sleep(0.2)
            return (yield from broker.send("work", [Outgoing(body=str(number)) for number in range(5)]))

        began_at = time.monotonic()
        *received, _ = run.together([*(broker.receive("work", 1, 10, 60) for _ in range(5)), send_later()])
        assert sorted(each.body for deliveries in received for each in deliveries) == list("01234")
        assert time.monotonic() - began_at < 1.9  # nobody had to look for itself


class CountedBroker:
    """A broker whose calls are counted.

    Args:
        broker: the broker.
    """

    def __init__(self, broker: RedisBroker) -> None:
        [service] = broker.services.values()
        self._client = RedisClient(dict(service.options))
        self.calls: list[Call] = []

    def run(self, flow: Flow[T]) -> T:
        def perform(step: Any) -> Any:
            assert isinstance(step, Call)
            self.calls.append(step)
            return self._client.call(step)

        return drive(flow, perform)

    def taken(self) -> list[str]:
        """The operations since the last call."""
        calls, self.calls = self.calls, []
        return [call.operation for call in calls]

    def close(self) -> None:
        self._client.close()


def test_each_batch_costs_one_round_trip(broker: RedisBroker) -> None:
    counted = CountedBroker(broker)
    for queue in ("work", "mail", "work.fifo"):
        counted.run(broker.send(queue, [Outgoing(body=str(number)) for number in range(30)]))
        assert counted.taken() == ["script"]
    held: list[Delivery] = []
    for queue in ("work", "mail", "work.fifo"):
        held += counted.run(broker.receive(queue, 30, 20, 60))
        assert counted.taken() == ["script"]
    assert len(held) == 90
    assert counted.run(broker.extend(held, 60)) == [None] * 90
    assert counted.taken() == ["scripts"]
    ways: list[Callable[[Delivery], Any]] = [Acknowledge, Release, lambda each: DeadLetter(each, "why")]
    assert counted.run(broker.settle([ways[place % 3](each) for place, each in enumerate(held)])) == [None] * 90
    assert counted.taken() == ["scripts"]
    assert counted.run(broker.depth("work")) == Depth(10, 0, 0)
    assert counted.run(broker.depth(dead_letter_queue("mail"))) == Depth(10, 0, 0)
    assert counted.run(broker.depth(dead_letter_queue("work.fifo"))) == Depth(10, 0, 0)
    counted.close()


@pytest.mark.parametrize("queue", ["work", "work.fifo"])
def test_many_thousand_deliveries_are_settled_in_one_call(broker: RedisBroker, queue: str) -> None:
    counted = CountedBroker(broker)
    messages = [Outgoing(body="x", group=str(number)) for number in range(4500)]
    assert all(isinstance(answer, Sent) for answer in counted.run(broker.send(queue, messages)))
    held: list[Delivery] = []
    while len(held) < len(messages):
        held += counted.run(broker.receive(queue, 1000, 0, 60))
    counted.taken()
    assert counted.run(broker.extend(held, 60)) == [None] * len(held)
    assert counted.run(broker.settle([Acknowledge(each) for each in held])) == [None] * len(held)
    assert counted.taken() == ["scripts", "scripts"]
    assert counted.run(broker.depth(queue)) == Depth(0, 0, 0)
    counted.close()


def test_idle_receiver_asks_once_in_two_seconds(broker: RedisBroker) -> None:
    counted = CountedBroker(broker)
    assert counted.run(broker.receive("work", 10, 2.5, 60)) == []
    assert counted.taken() == ["script", "wait", "wait"]
    counted.close()


def test_wait_that_is_shorter_than_a_millisecond_ends(broker: RedisBroker, sync: Drive) -> None:
    began_at = time.monotonic()
    assert sync(broker.receive("work", 10, 0.0004, 60)) == []
    assert time.monotonic() - began_at < 2


def test_ordered_message_stays_ready_if_the_clock_is_set_back(broker: RedisBroker, clock: FakeClock) -> None:
    counted = CountedBroker(broker)
    counted.run(broker.send("work.fifo", [Outgoing(body="x", delay_seconds=10), Outgoing(body="y")]))
    clock.advance(11)
    [held] = counted.run(broker.receive("work.fifo", 1, 0, 60))
    counted.run(broker.settle([Release(held, 10)]))
    clock.advance(11)
    # A lease ends with the receive that finds it over, and so does a delay: another receiver takes the message.
    counted.run(broker.receive("work.fifo", 0, 0, 60))
    clock.advance(-20)
    counted.taken()
    assert [each.body for each in counted.run(broker.receive("work.fifo", 10, 0.5, 60))] == ["x", "y"]
    assert counted.taken() == ["script"]
    counted.close()


@pytest.mark.parametrize("queue_name", ["work", "work.fifo"])
def test_evicted_messages_leave_nothing_behind(
    broker: RedisBroker, sync: Drive, url: str, prefix: str, queue_name: str
) -> None:
    with driving("sync", dict([redis_service([url], {})])) as run:

        def evict() -> None:
            [name] = dict([redis_service([url], {})])
            stem = queue_name.replace("work", "{work}")
            run(_make(Call(name, "commands", {"commands": [["DEL", f"{prefix}{stem}:messages"]]})))

        sync(broker.send(queue_name, [Outgoing(body="a"), Outgoing(body="b")]))
        evict()
        assert sync(broker.receive(queue_name, 10, 0, 60)) == []
        sync(broker.send(queue_name, [Outgoing(body="c")]))
        held = sync(broker.receive(queue_name, 10, 0, 60))
        evict()
        assert sync(broker.settle([DeadLetter(each, "why") for each in held])) == [None]
    sync(broker.send(queue_name, [Outgoing(body="d")]))
    assert [each.body for each in sync(broker.receive(queue_name, 10, 0, 60))] == ["d"]
    assert sync(broker.depth(queue_name)) == Depth(0, 0, 1)
    assert sync(broker.depth(dead_letter_queue(queue_name))) == Depth(0, 0, 0)


def test_message_sent_twice_by_a_repeated_call_is_there_once(broker: RedisBroker) -> None:
    """The driver makes a call again if its answer was lost."""
    for queue in ("work", "work.fifo"):
        counted = CountedBroker(broker)
        counted.run(broker.send(queue, [Outgoing(body="x"), Outgoing(body="y", delay_seconds=60)]))
        [call] = counted.calls
        counted.run(_make(call))
        assert counted.run(broker.depth(queue)).total == 2
        counted.close()


def _make(call: Call) -> Flow[Any]:
    return (yield call)


def test_delayed_messages_are_listed_in_order_of_their_time(broker: RedisBroker, sync: Drive, clock: FakeClock) -> None:
    for queue, delays in (("work", (0, 0, 30, 10, 20)), ("mail.fifo", (15,)), ("other", (5,))):
        sync(broker.send(queue, [Outgoing(body=f"{queue} {delay}", delay_seconds=delay) for delay in delays]))
    _, again = sync(broker.receive("work", 2, 0, 60))
    sync(broker.settle([Release(again, 12)]))
    assert isinstance(broker, ListsHeld)
    page = sync(broker.held(["work", "mail.fifo"], limit=10))
    assert page.cursor is None
    assert [(each.queue, round(each.due_at - clock(), 3)) for each in page.messages] == [
        ("work", 10),
        ("work", 12),
        ("mail.fifo", 15),
        ("work", 20),
        ("work", 30),
    ]
    clock.advance(15)
    assert len(sync(broker.held(["work", "mail.fifo"], limit=10)).messages) == 2
    assert sync(broker.held([], limit=10)).messages == []


def test_delayed_message_is_on_one_page_only(broker: RedisBroker, sync: Drive) -> None:
    for queue in ("work", "mail"):
        sync(broker.send(queue, [Outgoing(body=f"{queue}{number}", delay_seconds=60) for number in range(5)]))
    found: list[str] = []
    cursor: str | None = None
    sizes: list[int] = []
    while cursor is not None or not sizes:
        page = sync(broker.held(["work", "mail"], limit=3, cursor=cursor))
        found += [each.body for each in page.messages]
        sizes.append(len(page.messages))
        cursor = page.cursor
    assert sizes == [3, 3, 3, 1]
    assert sorted(found) == sorted(f"{queue}{number}" for queue in ("work", "mail") for number in range(5))
    assert [body for body in found if body.startswith("work")] == [f"work{number}" for number in range(5)]


def test_unknown_cursor_is_refused(broker: RedisBroker, sync: Drive) -> None:
    with pytest.raises(OperationalError, match=r"'soon' isn't the cursor"):
        sync(broker.held(["work"], limit=2, cursor="soon"))


@pytest.mark.parametrize("queue", ["work", "work.fifo"])
def test_many_messages_become_due_a_part_at_a_time(
    broker: RedisBroker, sync: Drive, clock: FakeClock, queue: str
) -> None:
    for _ in range(3):
        sync(broker.send(queue, [Outgoing(body="x", group=str(uuid4()), delay_seconds=60) for _ in range(800)]))
    clock.advance(60)
    received = [len(sync(broker.receive(queue, 1000, 0, 30))) for _ in range(4)]
    assert received == [1000, 1000, 400, 0]


def test_purged_ordered_queue_has_no_groups_left(broker: RedisBroker, sync: Drive, clock: FakeClock) -> None:
    sync(broker.send("work.fifo", [Outgoing(body="x", group=str(number)) for number in range(10)]))
    assert len(sync(broker.receive("work.fifo", 2, 0, 30))) == 2
    assert sync(broker.purge("work.fifo")) == 10
    clock.advance(31)
    assert sync(broker.receive("work.fifo", 10, 0, 30)) == []
    sync(broker.send("work.fifo", [Outgoing(body="y", group="0")]))
    assert [each.body for each in sync(broker.receive("work.fifo", 10, 0, 30))] == ["y"]


def test_settled_queue_leaves_no_message_in_the_server(broker: RedisBroker, sync: Drive, url: str, prefix: str) -> None:
    for queue in ("work", "work.fifo"):
        sync(broker.send(queue, [Outgoing(body="x", group=str(number)) for number in range(20)]))
        sync(broker.settle([Acknowledge(each) for each in sync(broker.receive(queue, 20, 0, 30))]))
        assert sync(broker.receive(queue, 20, 0, 30)) == []
    [name] = broker.services
    assert sync(_make(Call(name, "commands", {"commands": [["KEYS", f"{prefix}*"]]}))) == [
        [f"{prefix}{{work}}.fifo:last".encode()]
    ]


def test_lease_of_a_dead_receiver_is_noticed_by_those_who_wait(url: str, prefix: str) -> None:
    broker = RedisBroker(url, {"global_keyprefix": prefix})
    with driving("async", broker.services) as run:
        run(broker.send("work", [Outgoing(body="x")]))
        run(broker.receive("work", 1, 0, 0.3))
        began_at = time.monotonic()
        [again] = run(broker.receive("work", 1, 5, 60))
        assert again.receive_count == 2
        assert time.monotonic() - began_at < 1.5


def test_message_sent_after_a_receiver_was_cancelled_is_not_leased_to_it(broker: RedisBroker) -> None:
    async def cancel_and_send() -> Depth:
        connections = AsyncConnections(broker.services)
        receiving = asyncio.create_task(connections.run(broker.receive("work", 1, 20, 60)))
        await asyncio.sleep(0.1)
        receiving.cancel()
        await asyncio.wait([receiving])
        await connections.run(broker.send("work", [Outgoing(body="x")]))
        depth = await connections.run(broker.depth("work"))
        await connections.close()
        return depth

    assert asyncio.run(cancel_and_send()) == Depth(1, 0, 0)
