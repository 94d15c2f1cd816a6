"""Messages that are due late: the times and names of their schedules, and runs after years on a fake clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.flows import Flow, run
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.late_delivery import OneOff
from taskq_cloud.core.messages.sending import Addressed, Outbox, Transport
from taskq_cloud.core.model.capabilities import BrokerCapabilities, ScheduleCapabilities
from taskq_cloud.core.model.message import Acknowledge, Delivery, Message, Outgoing, Refused, Release, Sent, Settlement
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Invocation, Outcome, Retrying, Succeeded
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import QuotaExceeded
from taskq_cloud.stores.schedules.eventbridge import EventBridgeSchedules
from taskq_cloud.stores.schedules.memory import MemorySchedules
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.core.payloads.shelf import Shelf, codec_with

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC).timestamp()
LIKE_SQS = replace(MemoryBroker.capabilities, longest_delay_seconds=900, longest_ordered_delay_seconds=0)
LIKE_PUBSUB = replace(LIKE_SQS, longest_delay_seconds=0, longest_parking_seconds=600, prefers_parking=True)
LIKE_EVENTBRIDGE = EventBridgeSchedules.capabilities
YEAR_SECONDS = 365 * 86_400


def time_in(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(NOW + seconds, UTC)


def a_message(due_in: float | None = None, expires_in: float | None = None, **changes: Any) -> Message:
    return Message(**{"task": "remind", "id": "t-1", "eta": time_in(due_in), "expires": time_in(expires_in), **changes})


def addressed(
    message: Message,
    queue: str = "work",
    capabilities: BrokerCapabilities = LIKE_SQS,
    scheduler: ScheduleCapabilities | None = LIKE_EVENTBRIDGE,
    codec: Codec | None = None,
    **transport: Any,
) -> Addressed:
    broker: Any = SimpleNamespace(capabilities=capabilities)
    schedules: Any = None if scheduler is None else SimpleNamespace(capabilities=scheduler)
    return Outbox(codec or Codec(), broker, schedules).address(message, queue, NOW, Transport(**transport))


def scheduled(message: Message, **options: Any) -> OneOff:
    """The schedule of a message that has one; takes the options of ``addressed``."""
    schedule = addressed(message, **options).schedule
    assert schedule is not None
    return schedule


# Which messages are scheduled, and for which time


@pytest.mark.parametrize(
    ("queue", "due_in", "delay", "fires_in"),
    [
        ("work", None, 0, None),
        ("work", -5, 0, None),
        ("work", 900, 900, None),
        ("work", 900.5, 0, 840),  # a minute early, in whole seconds; the queue holds it for the rest
        ("work", 100 * YEAR_SECONDS, 0, 100 * YEAR_SECONDS - 60),
        ("work.fifo", 59, 0, None),  # the receivers give it back: it is due too soon for a schedule
        ("work.fifo", 60, 0, 60),
        ("work.fifo", 60.5, 0, 61),  # never early, since it would block its group
    ],
)
def test_message_due_after_the_longest_delay_is_scheduled(
    queue: str, due_in: float | None, delay: float, fires_in: float | None
) -> None:
    found = addressed(a_message(due_in), queue)
    assert found.outgoing.delay_seconds == delay
    assert (found.schedule and found.schedule.at - NOW) == fires_in


def test_late_message_without_scheduler_gets_the_longest_delay() -> None:
    found = addressed(a_message(5000), scheduler=None)
    assert (found.outgoing.delay_seconds, found.schedule) == (900, None)


def test_scheduler_without_one_off_schedules_gets_no_messages() -> None:
    assert addressed(a_message(5000), scheduler=replace(LIKE_EVENTBRIDGE, one_off=False)).schedule is None


def test_message_within_the_longest_parking_is_not_scheduled() -> None:
    assert addressed(a_message(600), capabilities=LIKE_PUBSUB).schedule is None
    assert scheduled(a_message(700), capabilities=LIKE_PUBSUB).at == NOW + 700


def test_schedule_fires_after_the_longest_lead_for_a_later_message() -> None:
    found = scheduled(a_message(YEAR_SECONDS), scheduler=replace(LIKE_EVENTBRIDGE, longest_lead_seconds=86_400))
    assert found.at == NOW + 86_400


@pytest.mark.parametrize(
    ("due_in", "expires_in", "delay", "fires_in"),
    [(5000, 10, 10, None), (5000, 2000, 0, 1940), (5000, 9000, 0, 4940), (5000, -1, 0, None), (None, 5000, 0, None)],
)
def test_message_that_expires_early_is_held_until_it_expires(
    due_in: float | None, expires_in: float, delay: float, fires_in: float | None
) -> None:
    found = addressed(a_message(due_in, expires_in))
    assert found.outgoing.delay_seconds == delay
    assert (found.schedule and found.schedule.at - NOW) == fires_in


# Messages that a scheduler doesn't take


def test_message_too_large_for_a_schedule_gets_the_longest_delay() -> None:
    found = addressed(a_message(5000, args=["x" * 300_000]))
    assert (found.outgoing.delay_seconds, found.schedule) == (900, None)


def test_message_with_stored_payload_is_scheduled_within_the_life_of_its_payload() -> None:
    shelf = Shelf()
    codec = codec_with(shelf, expires_days=30, compression=None)
    message = a_message(YEAR_SECONDS, args=["x" * 300_000])
    found = addressed(message, codec=codec)
    assert found.payload is not None
    assert found.schedule is not None
    assert found.schedule.at == NOW + 10 * 86_400
    assert scheduled(replace(message, eta=time_in(5000)), codec=codec).at == NOW + 4940


def test_attribute_that_the_scheduler_would_alter_prevents_the_schedule() -> None:
    assert addressed(a_message(5000), attributes={"tenant": "a"}).schedule is not None
    assert addressed(a_message(5000), attributes={"tenant": "<aws.scheduler.execution-id>"}).schedule is None


# Names


def test_name_depends_on_id_attempt_and_time() -> None:
    message = a_message(5000, id="6f1c1e6e-8f0b-4b43-9a3c-0f3d6a7c1b2e", retries=3)
    name = scheduled(message).name
    assert name == f"once.6f1c1e6e-8f0b-4b43-9a3c-0f3d6a7c1b2e.3.{NOW + 4940:.0f}"
    assert name.startswith(late_delivery.prefix_of(message.id))
    assert scheduled(message).name == name
    assert scheduled(replace(message, retries=4)).name != name
    assert scheduled(replace(message, eta=time_in(5001))).name != name


@pytest.mark.parametrize("task_id", ["größer", "a.b", "a b", "x" * 41, "x" * 4000])
def test_any_id_has_a_unique_valid_name(task_id: str) -> None:
    at = datetime.max.replace(tzinfo=UTC).timestamp() // 1
    name = late_delivery.one_off(a_message(id=task_id, retries=9999), "work", int(at)).name
    assert len(name) <= 64
    assert name.isascii()
    assert not name.startswith(late_delivery.prefix_of("a"))
    assert name.startswith(late_delivery.prefix_of(task_id))


# Sending


class Broker(MemoryBroker):
    capabilities = LIKE_SQS


class Schedules(MemorySchedules):
    capabilities = LIKE_EVENTBRIDGE


def no_calls(step: Any) -> None:
    raise AssertionError(f"nothing is called, but {step!r} was yielded")


def test_text_that_looks_like_a_placeholder_arrives_unchanged() -> None:
    word = "<aws.scheduler.scheduled-time>"
    message = a_message(5000, args=[word])
    schedules, codec = Schedules(), Codec()
    run(Outbox(codec, Broker(), schedules).send([addressed(message)]), no_calls)

    (schedule,) = schedules.due(NOW + 5000)

    assert LIKE_EVENTBRIDGE.placeholder not in schedule.body
    assert list(codec.read(schedule.body, "m-1").args) == [word]


def test_ordered_message_keeps_group_and_is_deduplicated_by_schedule_name() -> None:
    schedules = Schedules()
    found = addressed(a_message(5000), "work.fifo", group="tenant")
    run(Outbox(Codec(), Broker(), schedules).send([found]), no_calls)
    (schedule,) = schedules.due(NOW + 5000)
    assert (schedule.target, schedule.group, schedule.deduplication) == ("work.fifo", "tenant", schedule.name)


def test_refused_schedule_is_one_of_the_answers() -> None:
    class Full(Schedules):
        def put(self, schedules: Sequence[PlatformSchedule], *, replace: bool = False) -> Flow[list[Refused | None]]:
            yield from ()
            return [None, Refused(QuotaExceeded("full"))]

    batch = [addressed(a_message(due_in)) for due_in in (5000, 0, 6000)]
    first, second, third = run(Outbox(Codec(), Broker(), Full()).send(batch), no_calls)
    assert batch[0].schedule is not None
    assert first == Sent(batch[0].schedule.name)
    assert isinstance(second, Sent)
    assert isinstance(third, Refused)


# In the pipeline


class World:
    """A bench with a scheduler; ``until`` lets time pass and runs due tasks."""

    def __init__(self, outcomes: Sequence[Outcome] = ()) -> None:
        self.outcomes = list(outcomes)
        self.ran_at: list[float] = []
        self.deliveries = 0
        self.clock = FakeClock(NOW)
        self.scheduler = Schedules()
        self.bench = Bench.in_memory(
            {"remind": TaskDefinition("remind", lambda: None, TaskOptions())},
            self.clock,
            broker=Broker(self.clock),
            scheduler=self.scheduler,
            policy=Policy(result_expires=None),
            run_task=self.run_task,
        )

    def run_task(self, _invocation: Invocation) -> Outcome:
        self.ran_at.append(self.clock() - NOW)
        return self.outcomes.pop(0) if self.outcomes else Succeeded("1")

    def process(self, delivery: Delivery) -> Settlement:
        return self.bench.run(self.bench.pipeline.process(delivery))

    def until(self, seconds: float, *, late: float = 0) -> None:
        """Advance the clock to a time, stopping whenever something happens."""
        bench = self.bench
        while True:
            for schedule in self.scheduler.due(self.clock() - late):
                bench.run(bench.broker.send(schedule.target, [Outgoing(body=schedule.body, group=schedule.group)]))
            for delivery in bench.receive():
                self.deliveries += 1
                bench.deliver(delivery)
            left = NOW + seconds - self.clock()
            if left <= 0:
                return
            names = bench.run(self.scheduler.names("once.")).names
            ahead = [int(name.rpartition(".")[2]) + late - self.clock() for name in names]
            # If nothing is scheduled, all waiting messages are in the queue, for at most 900 s.
            self.clock.advance(min([left, *(seconds for seconds in ahead if seconds > 0)] if ahead else [left, 0.5]))


@pytest.mark.parametrize("late", [0, 59])
def test_task_runs_on_time_after_years_with_two_deliveries(late: float) -> None:
    world = World()
    due_in = 30 * YEAR_SECONDS
    world.bench.call(a_message(due_in))

    world.until(due_in + 1, late=late)

    assert world.ran_at == [pytest.approx(due_in, abs=1)]
    assert world.ran_at[0] >= due_in
    assert world.deliveries == 2
    assert world.bench.states("t-1") == ["SUCCESS"]


def test_retry_after_years_is_scheduled() -> None:
    again = Retrying(ErrorInfo.of(ValueError("busy")), 2 * YEAR_SECONDS)
    world = World([again, again])
    world.bench.call(a_message())

    world.until(4 * YEAR_SECONDS + 10)

    assert world.ran_at == [0, pytest.approx(2 * YEAR_SECONDS, abs=1), pytest.approx(4 * YEAR_SECONDS, abs=2)]


def test_task_that_expires_before_it_is_due_is_revoked() -> None:
    world = World()
    world.bench.call(a_message(YEAR_SECONDS, 86_400))

    world.until(86_400 + 1)

    assert world.ran_at == []
    assert world.bench.states("t-1") == ["REVOKED"]
    assert not run(world.scheduler.names(), no_calls).names


def test_crash_before_acknowledgement_makes_no_second_schedule() -> None:
    world = World()
    body = Codec().write(a_message(YEAR_SECONDS), "work")
    delivery = Delivery(queue="work", message_id="m-1", receipt="r-1", body=body)

    for receive_count in (1, 2):
        again = replace(delivery, receive_count=receive_count)
        assert world.process(again) == Acknowledge(again)

    assert len(run(world.scheduler.names(), no_calls).names) == 1


def test_message_that_no_scheduler_takes_is_released_on_queue_without_delays() -> None:
    world = World()
    body = Codec().write(a_message(YEAR_SECONDS, args=["x" * 300_000]), "work.fifo")
    delivery = Delivery(queue="work.fifo", message_id="m-1", receipt="r-1", body=body)
    assert isinstance(world.process(delivery), Release)
    small = replace(delivery, body=Codec().write(a_message(YEAR_SECONDS), "work.fifo"))
    assert world.process(small) == Acknowledge(small)


def test_time_that_passes_during_an_outage_is_not_scheduled() -> None:
    world = World([Retrying(ErrorInfo.of(ValueError("busy")), 120)])
    body = Codec().write(a_message(), "work.fifo")
    delivery = Delivery(queue="work.fifo", message_id="m-1", receipt="r-1", body=body)

    def run_task(invocation: Invocation) -> Outcome:
        outcome, save = world.run_task(invocation), world.bench.store.save

        def save_slowly(records: Sequence[Record]) -> Flow[list[bool]]:
            world.clock.advance(300)
            return save(records)

        vars(world.bench.store)["save"] = save_slowly
        return outcome

    bench = world.bench.changed(run_task=run_task)
    assert isinstance(bench.run(bench.pipeline.process(delivery)), Release)
    assert not run(world.scheduler.names(), no_calls).names


# Removing schedules


def test_cancel_removes_only_the_schedules_of_the_tasks() -> None:
    schedules = Schedules()
    ids = ["a", "a", "ab", "b"]
    batch = [addressed(a_message(5000 + number, id=each)) for number, each in enumerate(ids)]
    run(Outbox(Codec(), Broker(), schedules).send(batch), no_calls)

    assert run(late_delivery.cancel(schedules, ["a", "none", "b"]), no_calls) == [True, False, True]

    assert batch[2].schedule is not None
    assert run(schedules.names(), no_calls).names == [batch[2].schedule.name]


def test_cancel_does_not_ask_a_scheduler_without_one_off_schedules() -> None:
    class PeriodicAlone(Schedules):
        capabilities = replace(Schedules.capabilities, one_off=False)

        def names(self, *_arguments: Any, **_options: Any) -> NoReturn:
            raise AssertionError("a platform may have to list all its schedules for that")

    schedules = PeriodicAlone()
    assert late_delivery.late_scheduler(schedules) is None
    assert run(late_delivery.cancel(schedules, ["a", "b"]), no_calls) == [False, False]


def test_schedule_has_a_description() -> None:
    assert late_delivery.one_off(a_message(), "work", 7) == OneOff("once.t-1.0.7", 7, "task remind[t-1] on queue work")


def test_body_of_a_schedule_stays_json() -> None:
    schedules = Schedules()
    run(Outbox(Codec(), Broker(), schedules).send([addressed(a_message(5000, args=["<aws.scheduler.x>"]))]), no_calls)
    assert json.loads(schedules.due(NOW + 5000)[0].body)["headers"]["task"] == "remind"
