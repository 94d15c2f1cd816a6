"""Messages that are due late: which are scheduled, for when, under which name; and years of them on a clock."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.execution.context import Environment
from taskq_cloud.core.execution.pipeline import Pipeline
from taskq_cloud.core.flows import run
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.late_delivery import OneOff
from taskq_cloud.core.messages.sending import Outbox, Transport
from taskq_cloud.core.model.message import Acknowledge, Delivery, Message, Outgoing, Refused, Release, Sent
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Invocation, Retrying, Succeeded
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import QuotaExceeded
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.stores.schedules.eventbridge import EventBridgeSchedules
from taskq_cloud.stores.schedules.memory import MemorySchedules
from taskq_cloud.testing.clock import FakeClock
from tests.core.payloads.shelf import Shelf, codec_with

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC).timestamp()
LIKE_SQS = replace(MemoryBroker.capabilities, longest_delay_seconds=900, longest_ordered_delay_seconds=0)
LIKE_PUBSUB = replace(LIKE_SQS, longest_delay_seconds=0, longest_parking_seconds=600, prefers_parking=True)
LIKE_EVENTBRIDGE = EventBridgeSchedules.capabilities
YEAR_SECONDS = 365 * 86_400


def moment(seconds):
    return None if seconds is None else datetime.fromtimestamp(NOW + seconds, UTC)


def a_message(due_in=None, expires_in=None, **changes):
    return Message(**{"task": "remind", "id": "t-1", "eta": moment(due_in), "expires": moment(expires_in), **changes})


def addressed(message, queue="work", capabilities=LIKE_SQS, scheduler=LIKE_EVENTBRIDGE, codec=None, **transport):
    broker = SimpleNamespace(capabilities=capabilities)
    scheduler = None if scheduler is None else SimpleNamespace(capabilities=scheduler)
    return Outbox(codec or Codec(), broker, scheduler).address(message, queue, NOW, Transport(**transport))


# Which are scheduled, and for when


@pytest.mark.parametrize(
    ("queue", "due_in", "delay", "fires_in"),
    [
        ("work", None, 0, None),
        ("work", -5, 0, None),
        ("work", 900, 900, None),
        ("work", 900.5, 0, 840),  # a minute early, whole seconds: the queue holds it for the rest
        ("work", 100 * YEAR_SECONDS, 0, 100 * YEAR_SECONDS - 60),
        ("work.fifo", 59, 0, None),  # given back by the receivers: nearer than a schedule is sure of
        ("work.fifo", 60, 0, 60),
        ("work.fifo", 60.5, 0, 61),  # never early, where it would stand in the way
    ],
)
def test_what_is_due_past_the_longest_delay_is_scheduled(queue, due_in, delay, fires_in):
    found = addressed(a_message(due_in), queue)
    assert found.outgoing.delay_seconds == delay
    assert (found.schedule and found.schedule.at - NOW) == fires_in


def test_without_a_scheduler_it_goes_in_hops():
    found = addressed(a_message(5000), scheduler=None)
    assert (found.outgoing.delay_seconds, found.schedule) == (900, None)


def test_a_scheduler_without_one_off_times_holds_none():
    assert addressed(a_message(5000), scheduler=replace(LIKE_EVENTBRIDGE, one_off=False)).schedule is None


def test_what_the_receivers_would_rather_park_is_not_scheduled():
    assert addressed(a_message(600), capabilities=LIKE_PUBSUB).schedule is None
    assert addressed(a_message(700), capabilities=LIKE_PUBSUB).schedule.at == NOW + 700


def test_a_time_past_the_scheduler_s_longest_is_reached_in_steps():
    found = addressed(a_message(YEAR_SECONDS), scheduler=replace(LIKE_EVENTBRIDGE, longest_lead_seconds=86_400))
    assert found.schedule.at == NOW + 86_400


@pytest.mark.parametrize(
    ("due_in", "expires_in", "delay", "fires_in"),
    [(5000, 10, 10, None), (5000, 2000, 0, 1940), (5000, 9000, 0, 4940), (5000, -1, 0, None), (None, 5000, 0, None)],
)
def test_what_expires_before_it_is_due_is_held_until_it_expires(due_in, expires_in, delay, fires_in):
    found = addressed(a_message(due_in, expires_in))
    assert found.outgoing.delay_seconds == delay
    assert (found.schedule and found.schedule.at - NOW) == fires_in


# What a scheduler doesn't take


def test_what_is_too_large_for_a_schedule_goes_in_hops():
    found = addressed(a_message(5000, args=["x" * 300_000]))
    assert (found.outgoing.delay_seconds, found.schedule) == (900, None)


def test_or_is_claimed_and_scheduled_for_as_long_as_its_payload_is_sure_to_be_there():
    shelf = Shelf()
    codec = codec_with(shelf, expires_days=30, compression=None)
    message = a_message(YEAR_SECONDS, args=["x" * 300_000])
    found = addressed(message, codec=codec)
    assert found.payload is not None
    assert found.schedule.at == NOW + 10 * 86_400
    assert addressed(replace(message, eta=moment(5000)), codec=codec).schedule.at == NOW + 4940


def test_attributes_go_along_and_those_that_the_scheduler_would_change_do_not():
    assert addressed(a_message(5000), attributes={"tenant": "a"}).schedule is not None
    assert addressed(a_message(5000), attributes={"tenant": "<aws.scheduler.execution-id>"}).schedule is None


# Names


def test_a_name_is_made_from_id_attempt_and_time():
    message = a_message(5000, id="6f1c1e6e-8f0b-4b43-9a3c-0f3d6a7c1b2e", retries=3)
    name = addressed(message).schedule.name
    assert name == f"once.6f1c1e6e-8f0b-4b43-9a3c-0f3d6a7c1b2e.3.{NOW + 4940:.0f}"
    assert name.startswith(late_delivery.prefix_of(message.id))
    assert addressed(message).schedule.name == name
    assert addressed(replace(message, retries=4)).schedule.name != name
    assert addressed(replace(message, eta=moment(5001))).schedule.name != name


@pytest.mark.parametrize("task_id", ["größer", "a.b", "a b", "x" * 41, "x" * 4000])
def test_any_id_has_a_name_and_no_other_s(task_id):
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


def no_calls(step):
    raise AssertionError(f"nothing is called, but {step!r} was yielded")


def test_a_text_that_the_scheduler_would_change_arrives_as_it_was():
    word = "<aws.scheduler.scheduled-time>"
    message = a_message(5000, args=[word])
    schedules, codec = Schedules(), Codec()
    run(Outbox(codec, Broker(), schedules).send([addressed(message)]), no_calls)

    (schedule,) = schedules.due(NOW + 5000)

    assert LIKE_EVENTBRIDGE.placeholder not in schedule.body
    assert list(codec.read(schedule.body, "m-1").args) == [word]


def test_an_ordered_message_keeps_its_group_and_is_deduplicated_by_its_schedule():
    schedules = Schedules()
    found = addressed(a_message(5000), "work.fifo", group="tenant")
    run(Outbox(Codec(), Broker(), schedules).send([found]), no_calls)
    (schedule,) = schedules.due(NOW + 5000)
    assert (schedule.target, schedule.group, schedule.deduplication) == ("work.fifo", "tenant", schedule.name)


def test_a_part_that_is_refused_is_a_value_among_the_others():
    class Full(Schedules):
        def put(self, schedules, *, replace=False):
            yield from ()
            return [None, Refused(QuotaExceeded("full"))]

    batch = [addressed(a_message(due_in)) for due_in in (5000, 0, 6000)]
    first, second, third = run(Outbox(Codec(), Broker(), Full()).send(batch), no_calls)
    assert first == Sent(batch[0].schedule.name)
    assert isinstance(second, Sent)
    assert isinstance(third, Refused)


# In the pipeline


class World:
    """A pipeline, a broker and a scheduler on one clock; ``until`` lets time pass and runs what becomes due."""

    def __init__(self, outcomes=(), scheduler=None, broker=None):
        self.clock = FakeClock(NOW)
        self.broker = (broker or Broker)(self.clock)
        self.scheduler = scheduler or Schedules()
        self.store = MemoryResults(self.clock)
        self.outcomes = list(outcomes)
        self.ran_at = []
        self.deliveries = 0
        tasks = {"remind": TaskDefinition("remind", lambda: None, TaskOptions())}
        policy = Policy(result_expires=None)
        self.environment = Environment(
            outbox=Outbox(Codec(), self.broker, self.scheduler),
            store=self.store,
            tasks=tasks,
            policy=policy,
            route=lambda task: "work",
            hostname="test",
            clock=self.clock,
        )
        self.pipeline = Pipeline(self.environment)

    def call(self, message, queue="work"):
        outbox = self.environment.outbox
        run(outbox.send([outbox.address(message, queue, self.clock())]), no_calls)

    def perform(self, step):
        assert isinstance(step, Invocation), step
        self.ran_at.append(self.clock() - NOW)
        return self.outcomes.pop(0) if self.outcomes else Succeeded("1")

    def until(self, seconds, queue="work", *, late=0):
        """Go to a time in steps to whatever happens next."""
        while True:
            for schedule in self.scheduler.due(self.clock() - late):
                run(self.broker.send(schedule.target, [Outgoing(body=schedule.body, group=schedule.group)]), no_calls)
            for delivery in run(self.broker.receive(queue, 10, 0, 60), no_calls):
                self.deliveries += 1
                settlement = run(self.pipeline.process(delivery), self.perform)
                run(self.broker.settle([settlement]), no_calls)
            left = NOW + seconds - self.clock()
            if left <= 0:
                return
            names = run(self.scheduler.names("once."), no_calls).names
            ahead = [int(name.rpartition(".")[2]) + late - self.clock() for name in names]
            # Nothing is scheduled: what waits is in the queue, for 900 s at most.
            self.clock.advance(min([left, *(seconds for seconds in ahead if seconds > 0)] if ahead else [left, 0.5]))


@pytest.mark.parametrize("late", [0, 59])
def test_years_later_it_runs_on_time_with_one_look_before(late):
    world = World()
    due_in = 30 * YEAR_SECONDS
    world.call(a_message(due_in))

    world.until(due_in + 1, late=late)

    assert world.ran_at == [pytest.approx(due_in, abs=1)]
    assert world.ran_at[0] >= due_in
    assert world.deliveries == 2
    assert run(world.store.load(["t-1"]), no_calls)["t-1"].state == "SUCCESS"


def test_a_retry_years_later_takes_the_same_road():
    again = Retrying(ErrorInfo.of(ValueError("busy")), 2 * YEAR_SECONDS)
    world = World([again, again])
    world.call(a_message())

    world.until(4 * YEAR_SECONDS + 10)

    assert world.ran_at == [0, pytest.approx(2 * YEAR_SECONDS, abs=1), pytest.approx(4 * YEAR_SECONDS, abs=2)]


def test_what_expires_before_it_is_due_is_revoked_then_and_never_runs():
    world = World()
    world.call(a_message(YEAR_SECONDS, 86_400))

    world.until(86_400 + 1)

    assert world.ran_at == []
    assert run(world.store.load(["t-1"]), no_calls)["t-1"].state == "REVOKED"
    assert not run(world.scheduler.names(), no_calls).names


def test_a_crash_between_scheduling_and_acknowledging_schedules_once():
    world = World()
    body = Codec().write(a_message(YEAR_SECONDS), "work")
    delivery = Delivery(queue="work", message_id="m-1", receipt="r-1", body=body)

    for receive_count in (1, 2):
        again = replace(delivery, receive_count=receive_count)
        assert run(world.pipeline.process(again), world.perform) == Acknowledge(again)

    assert len(run(world.scheduler.names(), no_calls).names) == 1


def test_on_a_queue_without_delays_what_no_scheduler_takes_is_given_back():
    world = World()
    body = Codec().write(a_message(YEAR_SECONDS, args=["x" * 300_000]), "work.fifo")
    delivery = Delivery(queue="work.fifo", message_id="m-1", receipt="r-1", body=body)
    assert isinstance(run(world.pipeline.process(delivery), world.perform), Release)
    small = replace(delivery, body=Codec().write(a_message(YEAR_SECONDS), "work.fifo"))
    assert run(world.pipeline.process(small), world.perform) == Acknowledge(small)


def test_a_time_that_passes_while_the_scheduler_gives_no_answer_is_not_scheduled():
    world = World([Retrying(ErrorInfo.of(ValueError("busy")), 120)])
    body = Codec().write(a_message(), "work.fifo")
    delivery = Delivery(queue="work.fifo", message_id="m-1", receipt="r-1", body=body)

    def perform(step):
        outcome, save = world.perform(step), world.store.save

        def save_slowly(records):
            world.clock.advance(300)
            return save(records)

        world.store.save = save_slowly
        return outcome

    assert isinstance(run(world.pipeline.process(delivery), perform), Release)
    assert not run(world.scheduler.names(), no_calls).names


# Taking it back


def test_the_schedules_of_a_task_are_removed_and_no_other_s():
    schedules = Schedules()
    ids = ["a", "a", "ab", "b"]
    batch = [addressed(a_message(5000 + number, id=each)) for number, each in enumerate(ids)]
    run(Outbox(Codec(), Broker(), schedules).send(batch), no_calls)

    assert run(late_delivery.cancel(schedules, ["a", "none", "b"]), no_calls) == [True, False, True]

    assert run(schedules.names(), no_calls).names == [batch[2].schedule.name]


def test_where_the_scheduler_has_no_one_off_times_it_is_not_asked():
    class PeriodicAlone(Schedules):
        capabilities = replace(Schedules.capabilities, one_off=False)

        def names(self, *_arguments, **_options):
            raise AssertionError("a platform may list all it has for that")

    schedules = PeriodicAlone()
    assert late_delivery.keeper(schedules) is None
    assert run(late_delivery.cancel(schedules, ["a", "b"]), no_calls) == [False, False]


def test_a_schedule_says_what_it_is():
    assert late_delivery.one_off(a_message(), "work", 7) == OneOff("once.t-1.0.7", 7, "task remind[t-1] on queue work")


def test_bodies_stay_json():
    schedules = Schedules()
    run(Outbox(Codec(), Broker(), schedules).send([addressed(a_message(5000, args=["<aws.scheduler.x>"]))]), no_calls)
    assert json.loads(schedules.due(NOW + 5000)[0].body)["headers"]["task"] == "remind"
