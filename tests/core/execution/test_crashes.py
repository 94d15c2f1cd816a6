"""Messages on which the pipeline crashes, or that end their worker: they delay themselves only, and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.brokers.sqlite import SQLiteBroker
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, DeadLetter, Message, Outgoing, Release, Settlement
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import Invocation, Outcome
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.disabled import DisabledResults
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.bench import LEASE_SECONDS, Bench
from taskq_cloud.testing.clock import FakeClock

MOST_RECEIVES = 3


class BrokenCodec(Codec):
    """A codec that fails on everything it reads."""

    def open(self, *_args: Any, **_more: Any) -> Flow[Message]:
        raise RuntimeError("a bug of the codec")


class BrokenResults(MemoryResults):
    """A store that fails on everything it saves."""

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        raise RuntimeError("a bug of the store")


class Misconfigured(MemoryResults):
    """A store that lacks a setting."""

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        raise ImproperlyConfigured("set TASKQ_RESULTS")


def broken_run(_invocation: Invocation) -> Outcome:
    raise TypeError("'<' not supported between instances of 'str' and 'int'")


def make(clock: FakeClock | None = None, *, codec: Codec | None = None, **more: Any) -> Bench:
    tasks = {name: TaskDefinition(name, lambda: 5, TaskOptions(**more.pop(name, {}))) for name in ("poison", "other")}
    policy = Policy(max_receives=MOST_RECEIVES)
    bench = Bench.in_memory(tasks, clock, policy=policy, **more)
    return bench if codec is None else bench.changed(codec=codec)


def reasons(bench: Bench) -> list[str]:
    return [each.attributes[DEAD_LETTER_REASON] for each in bench.dead_letters()]


BREAKS: dict[str, Callable[[], Bench]] = {
    "run": lambda: make(run_task=broken_run),
    "codec": lambda: make(codec=BrokenCodec()),
    "tracked": lambda: make(store=BrokenResults(), poison={"track_started": True}),
    "store": lambda: make(store=BrokenResults()),
}


@pytest.mark.parametrize("part", BREAKS)
def test_message_whose_pipeline_crashes_each_time_is_dead_lettered(part: str, caplog: pytest.LogCaptureFixture) -> None:
    bench = BREAKS[part]()
    bench.run(bench.broker.send("work", [Outgoing(body=Codec().write(Message(task="poison", id="t-1"), "work"))]))
    settlements: list[Settlement] = []
    while bench.left():
        settlements += bench.work()
        bench.clock.advance(1000)
    assert [type(each) for each in settlements] == [Release, Release, DeadLetter]
    (reason,) = reasons(bench)
    assert reason.endswith("(a fault in taskq_cloud, met on each of 3 receives)")
    crashes = [line for line in caplog.records if vars(line).get("action") == "message.crashed"]
    assert len(crashes) == 3
    assert all(line.exc_info for line in crashes)


def test_task_whose_pipeline_crashes_each_time_has_failed() -> None:
    bench = make(run_task=broken_run)
    bench.send(Message(task="poison", id="t-1"))
    bench.drain()
    assert bench.states("t-1") == ["FAILURE"]
    (dead,) = bench.dead_letters()
    # Once the cause is mended, a redrive runs the task, and its result counts.
    bench.run_task = None
    bench.send(Message(task="poison", id="t-1"), attributes=dead.attributes)
    bench.work()
    assert bench.states("t-1") == ["SUCCESS"]


def test_crashes_are_counted_here_if_the_broker_counts_no_receives() -> None:
    bench = make(run_task=broken_run)
    bench.send(Message(task="poison", id="t-1"))
    bench.send(Message(task="other", id="t-2"))
    found = [replace(each, counted=False, receive_count=1) for each in bench.receive()]
    settlements = [bench.run(bench.pipeline.process(each)) for _ in range(3) for each in found]
    assert [type(each) for each in settlements] == [Release] * 4 + [DeadLetter] * 2


@pytest.mark.parametrize("options", [{}, {"track_started": True}])
def test_message_that_settings_keep_from_its_end_is_dead_lettered(options: dict[str, Any]) -> None:
    bench = make(store=Misconfigured(), poison=options)
    bench.send(Message(task="poison", id="t-1"))
    settlements: list[Settlement] = []
    while bench.left():
        settlements += bench.work()
        bench.clock.advance(1000)
    assert [type(each) for each in settlements] == [Release, Release, DeadLetter]
    assert "ImproperlyConfigured: set TASKQ_RESULTS (on each of 3 receives" in reasons(bench)[0]


# -- messages that end their worker


@pytest.fixture(params=["memory", "sqlite"])
def broker(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> MemoryBroker | SQLiteBroker:
    return MemoryBroker(clock) if request.param == "memory" else SQLiteBroker(tmp_path / "broker.db", clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def die(bench: Bench, at_most: int = 10) -> list[str]:
    """Let workers run the tasks of a queue, and die of the task ``poison``; returns the tasks that they began to run.

    Each worker receives four messages, and takes all of them along when it dies.
    """
    began: list[str] = []
    for _ in range(at_most):
        for delivery in bench.receive(4):
            running = bench.begin(delivery)
            if running.invocation is None:
                continue
            began.append(running.invocation.message.task)
            if running.invocation.message.task == "poison":
                running.crash()
                break
            running.end(bench.runner.run(running.invocation))
        bench.clock.advance(LEASE_SECONDS + 1)
    return began


def test_message_that_ends_its_worker_is_dead_lettered_when_its_receives_have_run_out(
    broker: MemoryBroker | SQLiteBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(clock, broker=broker)
    bench.send(Message(task="poison", id="t-1"))
    assert die(bench) == ["poison"] * MOST_RECEIVES
    (reason,) = reasons(bench)
    assert reason.startswith("WorkerLostError: received 4 times (task_max_receives is 3), and no worker has brought")
    assert bench.states("t-1") == ["FAILURE"]
    assert "task poison[t-1] is dead-lettered" in caplog.text
    bench.close()


@pytest.mark.parametrize("queue", ["work", "work.fifo"])
def test_messages_that_a_dying_worker_takes_along_run_nevertheless(
    broker: MemoryBroker | SQLiteBroker, clock: FakeClock, queue: str
) -> None:
    bench = make(clock, broker=broker, queue=queue)
    for number in range(2):
        bench.send(Message(task="poison", id=f"p-{number}"), group="a")
    for number in range(5):
        bench.send(Message(task="other", id=f"t-{number}"), group="a")
    began = die(bench)
    # A first run is not noted, so a task that had not begun on its first receive has one run less.
    assert began.count("poison") == 2 * MOST_RECEIVES - 1
    assert bench.states(*(f"t-{number}" for number in range(5))) == ["SUCCESS"] * 5
    assert len(reasons(bench)) == 2
    bench.close()


def test_every_receive_counts_as_a_run_if_nothing_is_stored(clock: FakeClock) -> None:
    bench = make(clock, store=DisabledResults())
    bench.send(Message(task="poison", id="t-1"))
    assert die(bench) == ["poison"] * MOST_RECEIVES
    assert len(reasons(bench)) == 1


def test_message_over_its_rate_that_ends_its_worker_is_dead_lettered(
    broker: MemoryBroker | SQLiteBroker, clock: FakeClock
) -> None:
    bench = make(clock, broker=broker, poison={"rate_limit": "1/m", "rate_limit_burst": 1})
    bench.send(Message(task="poison", id="t-1"))
    assert die(bench, 20) == ["poison"] * MOST_RECEIVES
    assert len(reasons(bench)) == 1
    bench.close()


def test_message_that_ends_its_worker_while_it_is_read_is_dead_lettered_unread(clock: FakeClock) -> None:
    bench = make(clock)
    bench.run(bench.broker.send("work", [Outgoing(body="anything")]))
    reads = 0
    while bench.left():
        (delivery,) = bench.receive()
        try:
            reads += 1
            next(bench.process(delivery), None)
        except StopIteration:
            pass
        if reads > 100:
            break
        clock.advance(LEASE_SECONDS + 1)
    assert reads <= 10 * MOST_RECEIVES + 1


def test_provider_that_counts_waiting_dead_letters_by_its_own_rule(clock: FakeClock) -> None:
    broker = MemoryBroker(clock)
    vars(broker)["capabilities"] = replace(MemoryBroker.capabilities, takes_back_receives=False)
    bench = make(clock, broker=broker, queue="work.fifo")
    bench.send(Message(task="other", id="t-1"))
    (delivery,) = bench.receive()
    bench.deliver(replace(delivery, receive_count=50))
    assert bench.states("t-1") == ["SUCCESS"]
