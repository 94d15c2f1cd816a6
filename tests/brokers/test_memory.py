"""Tests of the memory broker: the contract of brokers, deduplication and the order after a release."""

from __future__ import annotations

import itertools
import linecache
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest

from taskq_cloud.brokers._memory_queue import MOST_VOID_TIMES
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.flows import Flow, run
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Outgoing, Release
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract
from taskq_cloud.testing.driving import Drive
from tests.brokers.clock_set_back import ClockSetBackContract

T = TypeVar("T")


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


class Strike(BaseException):
    """An exception from outside, such as a time limit."""


def struck(line: int, function: Callable[[], object]) -> bool:
    """Call a function, and raise an exception at so many lines of the broker; False: it has fewer."""
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if "memory" not in Path(frame.f_code.co_filename).name or "tests" in Path(frame.f_code.co_filename).parts:
            return None
        # Python ends a block of ``with`` without a place at which an exception from outside could strike.
        if event == "line" and not linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith(
            "with"
        ):
            left -= 1
            if left == 0:
                raise Strike
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except Strike:
        return True
    finally:
        sys.settrace(before)
    return False


def drive(flow: Flow[T]) -> T:
    return run(flow, lambda step: None)


def bodies(broker: MemoryBroker, queue: str) -> list[str]:
    return [each.body for each in drive(broker.receive(queue, 10, 0, 60))]


@pytest.mark.parametrize("queue", ["work", "work.fifo"])
def test_exception_at_any_line_of_a_receive_loses_no_message(queue: str) -> None:
    for line in itertools.count(1):
        clock = FakeClock()
        broker = MemoryBroker(clock)
        drive(broker.send(queue, [Outgoing(body="one", group="a"), Outgoing(body="two", group="b")]))
        done = not struck(line, partial(drive, broker.receive(queue, 10, 0, 60)))
        clock.advance(61)
        assert sorted(bodies(broker, queue)) == ["one", "two"], line
        if done:
            break
    assert line > 10


@pytest.mark.parametrize("queue", ["work", "work.fifo"])
def test_exception_at_any_line_of_a_send_keeps_no_later_one_from_its_message(queue: str) -> None:
    for line in itertools.count(1):
        broker = MemoryBroker(FakeClock())
        message = Outgoing(body="one", group="a", deduplication="same")
        done = not struck(line, partial(drive, broker.send(queue, [message])))
        drive(broker.send(queue, [message]))
        assert set(bodies(broker, queue)) == {"one"}, line
        if done:
            break
    assert line > 10


@pytest.mark.parametrize("settlement", [Release, partial(DeadLetter, reason="it can't be read")])
def test_exception_at_any_line_of_a_settlement_loses_no_message(settlement: Any) -> None:
    for line in itertools.count(1):
        clock = FakeClock()
        broker = MemoryBroker(clock)
        drive(broker.send("work", [Outgoing(body="one")]))
        [delivery] = drive(broker.receive("work", 1, 0, 60))
        done = not struck(line, partial(drive, broker.settle([settlement(delivery)])))
        clock.advance(61)
        assert {*bodies(broker, "work"), *bodies(broker, "work-dead")} == {"one"}, line
        if done:
            break
    assert line > 10


def test_receive_without_a_lease_has_each_message_once() -> None:
    broker = MemoryBroker(FakeClock())
    drive(broker.send("work", [Outgoing(body="one"), Outgoing(body="two")]))
    assert [each.body for each in drive(broker.receive("work", 10, 0, 0))] == ["one", "two"]
    assert [each.body for each in drive(broker.receive("work", 1, 0, 0))] == ["one"]
