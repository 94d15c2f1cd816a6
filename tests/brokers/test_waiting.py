"""Receives that wait, on the brokers that tell of messages: they hear of a message, and hardly look meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.brokers import _local
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.brokers.sqlite import SQLiteBroker
from taskq_cloud.clients.connections import Connections
from taskq_cloud.clients.file_announcements import FileAnnouncements
from taskq_cloud.core.flows import Call, Sleep
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Outgoing, Release
from taskq_cloud.core.ports import Broker
from taskq_cloud.testing.clock import FakeClock

LONG = 30.0
"""Seconds that no test waits, unless a message was not told of."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def broker(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> Broker:
    return MemoryBroker(clock) if request.param == "memory" else SQLiteBroker(tmp_path / "queues.db", clock)


@pytest.fixture
def connections(broker: Broker) -> Iterator[Connections]:
    made = Connections(broker.services)
    yield made
    made.close()


class Receive:
    """A receive that is driven step by step, up to each of its pauses.

    Args:
        queue: the queue.

    Attributes:
        pauses: the seconds of its pauses.
        looks: how often it has called the database.
        deliveries: its answer; None: it still waits.
    """

    def __init__(self, connections: Connections, broker: Broker, queue: str, wait_seconds: float = 10) -> None:
        self._connections = connections
        self._flow = broker.receive(queue, 10, wait_seconds, 30)
        self._pause: Sleep | None = None
        self.pauses: list[float] = []
        self.looks = 0
        self.deliveries: list[Delivery] | None = None

    def go_on(self) -> None:
        """Make its calls until its next pause. A pause before that must have been ended by an announcement."""
        answer: Any = None
        if self._pause is not None:
            assert self._pause.until is not None, "it only polls"
            answer = self._pause.until.wait(LONG)
            assert answer, "it has heard nothing"
        self._drive(answer)

    def time_out(self, clock: FakeClock | None = None) -> None:
        """Let the time of its pause pass."""
        if clock is not None:
            clock.advance(self.pauses[-1])
        self._drive(answer=False)

    def _drive(self, answer: Any) -> None:
        try:
            while True:
                step = self._flow.send(answer)
                if isinstance(step, Sleep):
                    self._pause = step
                    self.pauses.append(step.seconds)
                    return
                assert isinstance(step, Call)
                self.looks += step.operation != "listen"
                answer = self._connections.perform(step)
        except StopIteration as stop:
            self.deliveries = stop.value


@pytest.fixture
def receive(connections: Connections, broker: Broker) -> Callable[..., Receive]:
    def begin(queue: str = "work", wait_seconds: float = 10) -> Receive:
        made = Receive(connections, broker, queue, wait_seconds)
        made.go_on()
        return made

    return begin


def bodies(receive: Receive) -> list[str]:
    assert receive.deliveries is not None, "it still waits"
    return [each.body for each in receive.deliveries]


def test_sent_message_ends_the_wait(receive: Any, broker: Broker, connections: Connections) -> None:
    waiting = receive()
    connections.run(broker.send("work", [Outgoing(body="x")]))
    waiting.go_on()
    assert bodies(waiting) == ["x"]
    assert waiting.pauses == [_local.LISTENING_PAUSE_SECONDS]


def test_message_of_another_process_ends_the_wait(receive: Any, tmp_path: Path, clock: FakeClock) -> None:
    broker = SQLiteBroker(tmp_path / "queues.db", clock)
    connections, other = Connections(broker.services), Connections(broker.services)
    try:
        waiting = Receive(connections, broker, "work")
        waiting.go_on()
        client: Any = other._client(next(iter(broker.services)))
        client._announcements = FileAnnouncements(tmp_path / "queues.db")  # as another process would have its own
        other.run(broker.send("work", [Outgoing(body="x")]))
        waiting.go_on()
        assert bodies(waiting) == ["x"]
    finally:
        connections.close()
        other.close()


def test_message_that_is_given_back_ends_the_wait(receive: Any, broker: Broker, connections: Connections) -> None:
    connections.run(broker.send("work", [Outgoing(body="x")]))
    taken = connections.run(broker.receive("work", 1, 0, 30))
    waiting = receive()
    connections.run(broker.settle([Release(taken[0])]))
    waiting.go_on()
    assert bodies(waiting) == ["x"]


def test_dead_letter_ends_the_wait_of_its_queue(receive: Any, broker: Broker, connections: Connections) -> None:
    connections.run(broker.send("work", [Outgoing(body="x")]))
    taken = connections.run(broker.receive("work", 1, 0, 30))
    waiting = receive(dead_letter_queue("work"))
    connections.run(broker.settle([DeadLetter(taken[0], "bad")]))
    waiting.go_on()
    assert bodies(waiting) == ["x"]


def test_end_of_one_message_lets_the_next_of_its_group_be_heard(
    receive: Any, broker: Broker, connections: Connections
) -> None:
    connections.run(broker.send("work.fifo", [Outgoing(body=text, group="a") for text in "12"]))
    taken = connections.run(broker.receive("work.fifo", 1, 0, 30))
    waiting = receive("work.fifo")
    connections.run(broker.settle([Acknowledge(taken[0])]))
    waiting.go_on()
    assert bodies(waiting) == ["2"]


@pytest.mark.parametrize("queue", ["work", "work.fifo"])
def test_delayed_message_is_taken_when_it_is_due(
    receive: Any, broker: Broker, connections: Connections, clock: FakeClock, queue: str
) -> None:
    waiting = receive(queue)
    connections.run(broker.send(queue, [Outgoing(body="x", delay_seconds=0.3)]))
    waiting.go_on()
    assert waiting.pauses[1:] == [pytest.approx(0.3)]
    waiting.time_out(clock)
    assert bodies(waiting) == ["x"]


def test_waiting_receive_looks_twice_at_first_and_then_twice_a_second(receive: Any, broker: Broker) -> None:
    """The second look is there because a message may come before the receive listens."""
    waiting = receive(wait_seconds=2)
    while waiting.deliveries is None:
        waiting.time_out()
    assert waiting.deliveries == []
    assert waiting.pauses == [0.5] * 4
    assert waiting.looks == (6 if isinstance(broker, SQLiteBroker) else 0)


def test_message_of_a_queue_that_another_receiver_has_taken_leaves_the_rest_of_the_wait(
    receive: Any, broker: Broker, connections: Connections
) -> None:
    waiting = receive(wait_seconds=1)
    connections.run(broker.send("work", [Outgoing(body="x")]))
    connections.run(broker.receive("work", 1, 0, 30))
    waiting.go_on()
    assert waiting.deliveries is None
    assert sum(waiting.pauses) > 0.5


def test_receiver_that_can_not_listen_polls(
    receive: Any, broker: Broker, monkeypatch: pytest.MonkeyPatch, connections: Connections
) -> None:
    if not isinstance(broker, SQLiteBroker):
        pytest.skip("whoever uses the memory broker can listen")
    monkeypatch.setattr(FileAnnouncements, "listen", lambda *_: False)
    waiting = receive()
    for _ in range(6):
        waiting.time_out()
    assert waiting.pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.2, 0.2]
    connections.run(broker.send("work", [Outgoing(body="x")]))
    waiting.time_out()
    assert bodies(waiting) == ["x"]
