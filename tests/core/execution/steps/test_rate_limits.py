"""Rate limits in the pipeline, on a fake clock: slots, messages that are put back, and checks at the start."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskq_cloud import TaskQ
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.execution.pipeline import Pipeline
from taskq_cloud.core.execution.steps.rate_limit_slots import SLOTS
from taskq_cloud.core.execution.steps.rate_limits import PUNCTUAL_SECONDS, check_key
from taskq_cloud.core.model.message import Acknowledge, Delivery, Message, Release, Settlement
from taskq_cloud.core.model.options import Policy, task_options
from taskq_cloud.core.model.outcome import Invocation, Outcome
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS, Rate
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock

MOST_ROUNDS = 1000


class CountedResults(MemoryResults):
    """A memory store that counts its calls."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.asked: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in ("load", "save", "delete", "reserve"):
            self.asked[name] += 1
        return super().__getattribute__(name)


@dataclass
class Shop:
    """A bench with one task and its rate limit; ``began`` has the id and the time of each run."""

    options: dict[str, Any]
    function: Any = None
    policy: Policy = field(default_factory=Policy)
    queue: str = "work"
    capabilities: dict[str, Any] = field(default_factory=dict)
    admits: bool = True
    clock: FakeClock = field(default_factory=lambda: FakeClock(1_000_000.0))  # a float holds its microseconds
    began: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(self.clock)
        vars(self.broker)["capabilities"] = replace(MemoryBroker.capabilities, **self.capabilities)
        self.store = CountedResults(self.clock)
        definition = TaskDefinition(
            "notify", self.function or (lambda tenant="a": None), task_options("notify", self.options)
        )
        check_key(definition)
        self.tasks = {"notify": definition}
        self.bench = Bench.in_memory(
            self.tasks,
            self.clock,
            broker=self.broker,
            store=self.store,
            policy=self.policy,
            queue=self.queue,
            admits=self.admits,
            run_task=self._run,
        )
        self.flow, self.settled, self.left = self.bench.run, self.bench.deliver, self.bench.left
        self.pipeline, self.other_workers = self.bench.pipeline, self.bench.changed().pipeline

    def send(self, count: int = 1, **message: Any) -> None:
        for number in range(count):
            sent = Message(**{"task": "notify", "id": f"t-{number}", **message})
            self.bench.send(sent, deduplication=str(number), group="g")

    def receive(self) -> list[Delivery]:
        return self.bench.receive(lease_seconds=3600)

    def work(self, pipeline: Pipeline | None = None) -> list[Settlement]:
        return self.bench.work(pipeline=pipeline)

    def _run(self, invocation: Invocation) -> Outcome:
        self.began.append((invocation.message.id, self.clock()))
        return self.bench.runner.run(invocation)


def test_task_under_its_limit_costs_one_call_more() -> None:
    shop = Shop({"rate_limit": "1/m"})
    shop.send()
    shop.work()
    assert shop.store.asked == {"reserve": 1, "save": 1}


def test_task_over_its_limit_keeps_its_slot_and_runs_then() -> None:
    shop = Shop({"rate_limit": "1/m"})
    started = shop.clock()
    shop.send(3)
    assert [type(each) for each in shop.work()] == [Acknowledge] * 3
    assert shop.left() == 2
    shop.clock.advance(59.8)
    assert shop.work() == []
    for _ in range(2):
        shop.clock.advance(60.1)
        shop.work(shop.other_workers)
    assert [after - started for _, after in shop.began] == pytest.approx([0, 119.9, 180])
    # Three slots for three tasks. The result of an earlier delivery is looked up once for each task that came back.
    assert shop.store.asked == {"reserve": 3, "load": 2, "save": 3}


def test_task_that_comes_back_too_late_takes_another_slot() -> None:
    shop = Shop({"rate_limit": "1/m"})
    shop.send(2)
    shop.work()
    shop.clock.advance(200)
    shop.work()
    assert shop.store.asked["reserve"] == 3
    assert len(shop.began) == 2


def test_slot_is_used_for_one_run_only() -> None:
    shop = Shop({"rate_limit": "1/m"})
    shop.send(2)
    shop.work()
    shop.clock.advance(60.1)
    (delivery,) = shop.receive()
    assert SLOTS in json.loads(delivery.body)["headers"]
    # Its worker died during the run: the next receiver can't tell whether the run had begun.
    again = replace(delivery, receive_count=2)
    assert isinstance(shop.settled(again), Acknowledge)
    assert len(shop.began) == 1
    assert shop.left() == 1


def test_retry_takes_another_slot() -> None:
    def fail() -> None:
        raise OSError("busy")

    shop = Shop({"rate_limit": "1/m", "autoretry_for": (OSError,), "retry_kwargs": {"countdown": 0}}, fail)
    shop.send()
    shop.work()
    assert shop.store.asked["reserve"] == 2
    assert len(shop.began) == 1
    shop.clock.advance(60.1)
    shop.work()
    assert len(shop.began) == 2


def test_slots_of_other_attempts_and_invalid_slots_are_ignored() -> None:
    def reservations(held: Any) -> int:
        shop = Shop({"rate_limit": "1/m"})
        shop.send(headers={SLOTS: held})
        shop.work()
        assert len(shop.began) == 1
        return shop.store.asked["reserve"]

    good = {"task notify": 1_000_000.0}
    assert reservations({"id": "t-0", "attempt": 0, "slots": good}) == 0
    for none in (
        {"id": "t-0", "attempt": 1, "slots": good},
        {"id": "t-1", "attempt": 0, "slots": good},
        {"id": "t-0", "attempt": 0, "slots": {"task notify": 1e300}},
        {"id": "t-0", "attempt": 0, "slots": {"task other": 1_000_000.0}},
        {"id": "t-0", "attempt": 0, "slots": [1]},
        good,
        "x",
        3,
    ):
        assert reservations(none) == 1


# -- ordered queues, and brokers without delays or counts


@pytest.mark.parametrize(
    ("queue", "capabilities"),
    [
        ("work.fifo", {}),
        ("work", {"longest_delay_seconds": 0, "longest_parking_seconds": 600}),
        ("work", {"prefers_parking": True}),
    ],
)
def test_released_task_keeps_its_slot_in_a_record(queue: str, capabilities: dict[str, Any]) -> None:
    shop = Shop({"rate_limit": "1/m"}, queue=queue, capabilities=capabilities)
    shop.send(2)
    first, *_ = (shop.settled(each) for each in shop.receive())
    assert isinstance(first, Acknowledge)
    while shop.left():
        shop.clock.advance(20)
        for settlement in shop.work(shop.other_workers):
            assert not isinstance(settlement, Release) or settlement.after_seconds <= 60
    assert [name for name, _ in shop.began] == ["t-0", "t-1"]
    assert shop.store.asked["reserve"] == 2
    assert shop.flow(shop.store.load(["taskq-slots-t-1-0"])) == {}


def test_release_is_at_most_the_longest_lease_and_slot_is_kept() -> None:
    shop = Shop({"rate_limit": "1/h"}, queue="work.fifo", capabilities={"longest_lease_seconds": 600})
    shop.send(2)
    assert any(isinstance(each, Release) and each.after_seconds == 600 for each in shop.work())
    while shop.left():
        shop.clock.advance(600)
        shop.work()
    assert shop.store.asked["reserve"] == 2


LIKE_PUBSUB = {"longest_delay_seconds": 0, "longest_parking_seconds": 600, "prefers_parking": True}
LONGEST_DEADLINE_SECONDS = 600


def released_for_at_most(shop: Shop, seconds: float, worked: list[Settlement]) -> None:
    """Shorten releases, as a broker does whose longest release is shorter."""
    for each in worked:
        if isinstance(each, Release):
            held = shop.broker._messages(shop.queue)[int(each.delivery.receipt.partition(".")[0])]
            held.visible_at = min(held.visible_at, shop.clock() + seconds)


def test_long_wait_in_short_releases_leaves_receives_for_the_run() -> None:
    """On Pub/Sub without Cloud Tasks, 150 tasks at one a minute wait up to 150 minutes, in releases of ten minutes."""
    shop = Shop({"rate_limit": "1/m"}, capabilities=LIKE_PUBSUB, policy=Policy(max_receives=5))
    shop.send(150)
    received: list[int] = []
    while shop.left():
        worked = shop.work()
        received += [each.delivery.receive_count for each in worked]
        released_for_at_most(shop, LONGEST_DEADLINE_SECONDS, worked)
        shop.clock.advance(30)
    assert len(shop.began) == len({name for name, _ in shop.began}) == 150
    assert max(received) <= 3, "two of five receives are left for workers that die"
    # Each task keeps its one slot, however often it is sent again. Otherwise slots of the first hours would be lost.
    assert shop.store.asked["reserve"] == 150
    assert shop.began[-1][1] - shop.began[0][1] <= 150 * 60


def test_task_that_kills_its_worker_is_not_sent_again_for_ever() -> None:
    """Receives by workers that died are carried over; once they are used up, the broker's own limit ends it."""
    shop = Shop({"rate_limit": "1/m"}, capabilities=LIKE_PUBSUB, policy=Policy(max_receives=3))
    shop.send()
    most = 0
    for turn in range(100):
        if turn % 2:
            shop.flow(shop.store.reserve("task notify", 60, 0))  # another task takes the slot
        for delivery in shop.receive():
            most = max(most, delivery.receive_count)
            running = shop.bench.begin(delivery)
            if running.invocation is not None:
                running.crash()
        shop.clock.advance(3601)
    assert most > 3, "beyond this the broker's own limit ends it"


def test_only_one_of_two_messages_of_a_task_has_the_slot() -> None:
    shop = Shop({"rate_limit": "1/m"}, capabilities=LIKE_PUBSUB)
    shop.send(2)
    first, second = shop.receive()
    shop.settled(first)
    third_time = replace(second, receive_count=3)
    # The worker dies after it has sent the message again and before it acknowledges it.
    assert isinstance(shop.flow(shop.pipeline.process(third_time)), Acknowledge)
    (again,) = shop.receive()
    assert isinstance(shop.settled(again), Release)
    assert shop.store.asked["reserve"] == 2
    shop.flow(shop.pipeline.process(replace(third_time, receive_count=4)))
    assert shop.store.asked["reserve"] == 3


def test_message_sent_again_looks_for_the_result_of_the_earlier_one() -> None:
    shop = Shop({"rate_limit": "1/m"}, capabilities=LIKE_PUBSUB)
    shop.send(2)
    first, second = shop.receive()
    shop.settled(first)
    third_time = replace(second, receive_count=3)
    shop.flow(shop.pipeline.process(third_time))  # its worker dies before it acknowledges it
    shop.clock.advance(120)
    assert isinstance(shop.settled(replace(third_time, receive_count=4)), Acknowledge)
    (again,) = shop.receive()
    assert isinstance(shop.settled(again), Acknowledge)
    assert [name for name, _ in shop.began] == ["t-0", "t-1"]


def test_slot_is_kept_in_a_record_if_receives_are_not_counted() -> None:
    shop = Shop({"rate_limit": "1/m"}, capabilities={"counts_receives": False})
    shop.send(2)
    for delivery in shop.receive():
        shop.settled(replace(delivery, counted=False))
    shop.clock.advance(60.1)
    for delivery in shop.receive():
        shop.settled(replace(delivery, counted=False))
    assert len(shop.began) == 2
    assert shop.store.asked["reserve"] == 2


# -- keys and scopes of limits


def test_every_value_of_a_rate_key_has_its_own_limit() -> None:
    def notify(text: str, user: dict[str, str], **more: str) -> None: ...

    shop = Shop({"rate_limit": "1/m", "rate_key": "{user[id]}-{region}"}, notify)
    for user in ("a", "b", "a"):
        shop.send(id=f"t-{user}", args=["hello"], kwargs={"user": {"id": user}, "region": "eu"})
        shop.work()
    assert [name for name, _ in shop.began] == ["t-a", "t-b"]


def test_long_rate_key_is_hashed_and_omitted_argument_has_its_default() -> None:
    shop = Shop({"rate_limit": "1/m", "rate_key": "{tenant}"}, lambda tenant="ü" * 5000: None)
    shop.send(2)
    shop.work()
    (key,) = shop.store._slots._next
    assert len(key.encode()) < 100
    assert len(shop.began) == 1


@pytest.mark.parametrize("arguments", [{"kwargs": {"user": {}}}, {"kwargs": {"user": 3}}, {"args": [1, 2, 3]}])
def test_arguments_without_rate_key_fail_the_task(arguments: dict[str, Any]) -> None:
    shop = Shop({"rate_limit": "1/m", "rate_key": "{user[id]}"}, lambda user: None)
    shop.send(**arguments)
    shop.work()
    (record,) = shop.flow(shop.store.load(["t-0"])).values()
    assert record.state == "FAILURE"
    assert "rate_key '{user[id]}' can't be made of its arguments" in record.payload
    assert shop.began == []


@pytest.mark.parametrize("key", ["{who}", "tenant", "{}", "{0}", "{tenant", "{tenant.id}", "{who[tenant]}"])
def test_rate_key_without_parameter_is_refused_at_declaration(key: str) -> None:
    app = TaskQ("shop")
    with pytest.raises(ImproperlyConfigured, match=r"task shop\.notify: rate_key="):
        app.task(name="shop.notify", rate_limit="1/m", rate_key=key)(lambda tenant: None)
    assert "shop.notify" not in app.tasks


def test_rate_key_can_not_use_self_of_a_bound_task() -> None:
    def notify(self: Any, tenant: str) -> None: ...

    app = TaskQ("shop")
    app.task(name="a", bind=True, rate_limit="1/m", rate_key="{tenant}")(notify)
    with pytest.raises(ImproperlyConfigured, match=r"not a parameter of b\(tenant"):
        app.task(name="b", bind=True, rate_limit="1/m", rate_key="{self}")(notify)


def test_limit_of_a_queue_adds_to_the_limits_of_its_tasks() -> None:
    policy = Policy(queue_rate_limits={"work": Rate(1 / 60, 1)})
    shop = Shop({"rate_limit": "1/h"}, policy=policy)
    shop.tasks["other"] = replace(shop.tasks["notify"], name="other", options=task_options("other", {}))
    shop.send(2)
    shop.send(id="o-0", task="other")
    began_at = shop.clock()
    while shop.left():
        shop.work()
        shop.clock.advance(1)
    starts = {name: round(at - began_at) for name, at in shop.began}
    assert starts == {"t-0": 0, "o-0": 60, "t-1": 3600}


def test_default_limit_applies_to_tasks_without_one() -> None:
    policy = Policy(default_rate=Rate(1 / 60, 1))
    for options, ran in (({}, 1), ({"rate_limit": 0}, 3), ({"rate_limit": "600/m"}, 3)):
        shop = Shop(options, policy=policy)
        shop.send(3)
        shop.work()
        assert len(shop.began) == ran


def test_disabled_rate_limits_take_no_slots() -> None:
    policy = Policy(disable_rate_limits=True, queue_rate_limits={"work": Rate(1, 2)})
    shop = Shop({"rate_limit": "1/m"}, policy=policy)
    shop.send(5)
    shop.work()
    assert len(shop.began) == 5
    assert shop.store.asked == {"save": 5}


def test_limit_per_worker_takes_no_slot_from_the_store() -> None:
    shop = Shop({"rate_limit": "1/m", "rate_limit_scope": "worker"})
    shop.send(4)
    one, two, three, four = shop.receive()
    for delivery, pipeline in (
        (one, shop.pipeline),
        (two, shop.other_workers),
        (three, shop.pipeline),
        (four, shop.other_workers),
    ):
        shop.settled(delivery, pipeline)
    assert [name for name, _ in shop.began] == ["t-0", "t-1"]
    shop.clock.advance(60.1)
    shop.work()
    assert len(shop.began) == 4
    assert shop.store.asked["reserve"] == 0


def test_no_slot_is_taken_while_the_worker_stops() -> None:
    shop = Shop({"rate_limit": "1/m"}, admits=False)
    shop.send()
    (delivery,) = shop.receive()
    assert shop.settled(delivery) == Release(delivery)
    assert shop.store.asked == {}


def test_slot_too_far_ahead_releases_the_message(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop({"rate_limit": "1/m"})
    shop.flow(shop.store.reserve("task notify", FARTHEST_SLOT_SECONDS + 1, 0))
    shop.send()
    (delivery,) = shop.receive()
    settlement = shop.settled(delivery)
    assert isinstance(settlement, Release)
    assert "the next slot of the rate limit of task notify is more than 15 days ahead" in caplog.text


def test_store_that_answers_too_late_releases_the_message(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop({"rate_limit": "1/s"})
    take = shop.store._slots.take

    def slow(*arguments: Any) -> Any:
        slot = take(*arguments)
        shop.clock.advance(10)
        return slot

    vars(shop.store._slots)["take"] = slow
    shop.send()
    (delivery,) = shop.receive()
    assert isinstance(shop.settled(delivery), Release)
    assert "can't be kept: 3 slots, good for 2 s, were over" in caplog.text
    assert shop.began == []


# -- checks at the start


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"results": "disabled://"}, r"task 'shop\.notify' needs a result store that keeps rates: set TASKQ_RESULTS"),
        ({"broker": "sqlite:///b.db"}, "needs a result store that all workers share"),
        ({"results": "gs://bucket"}, "is 10 a second, and the result store hands out at most 1 slots of one key"),
        ({"task_default_rate_limit": "10/x"}, "task_default_rate_limit='10/x' isn't a rate"),
        ({"queue_rate_limits": {"mail": "often"}}, "queue_rate_limits: mail='often' isn't a rate"),
    ],
)
def test_limit_that_the_store_can_not_keep_is_an_error_at_the_start(settings_: dict[str, Any], message: str) -> None:
    app = TaskQ("shop", **{"broker": "memory://", "results": "memory://", **settings_})
    app.task(name="shop.notify", rate_limit="10/s")(print)
    with pytest.raises(ImproperlyConfigured, match=message):
        app.runtime()


def test_rate_key_without_a_rate_is_an_error_at_the_start() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://")
    app.task(name="shop.notify", rate_key="{tenant}")(lambda tenant: None)
    with pytest.raises(ImproperlyConfigured, match=r"task shop\.notify: rate_key without a rate"):
        app.runtime()


def test_limit_per_worker_and_disabled_limits_need_no_store() -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"rate_limit_scope": "worker"}, {}),
        ({}, {"worker_disable_rate_limits": True}),
    ]
    for options, more in cases:
        app: Any = TaskQ("shop", broker="memory://", results="disabled://", **more)
        app.task(name="shop.notify", rate_limit="10/s", **options)(print)
        app.runtime()


@pytest.mark.parametrize(
    "options", [{"rate_limit": "10/d"}, {"rate_limit_scope": "cluster"}, {"rate_limit": "1/s", "rate_limit_burst": 1}]
)
def test_wrong_rate_options_are_refused_at_declaration(options: dict[str, Any]) -> None:
    app: Any = TaskQ("shop")
    with pytest.raises(ImproperlyConfigured, match=r"task shop\.notify: rate_limit"):
        app.task(name="shop.notify", **options)(print)


# -- any times of arrival


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from(["30/m", "100/m", "3/s", "20/s"]),
    queue=st.sampled_from(["work", "work.fifo"]),
    waves=st.lists(st.tuples(st.integers(0, 12), st.floats(0.05, 20)), min_size=1, max_size=10),
    pause=st.sampled_from([0.1, 0.9, 1.7]),
)
def test_no_time_window_exceeds_the_limit_by_more_than_a_burst(
    rate: str, queue: str, waves: list[tuple[int, float]], pause: float
) -> None:
    shop = Shop({"rate_limit": rate}, queue=queue)
    limit = shop.tasks["notify"].options.rate
    assert limit is not None
    sent = 0
    for count, until_next in waves:
        for _ in range(count):
            shop.bench.send(Message(task="notify", id=f"t-{sent}"), deduplication=f"{sent}", group=f"{sent}")
            sent += 1
        ends = shop.clock() + until_next
        while shop.clock() < ends:
            shop.work(shop.pipeline if sent % 2 else shop.other_workers)
            shop.clock.advance(pause)
    while shop.left():
        shop.work()
        shop.clock.advance(pause)

    starts = [at for _, at in shop.began]
    assert len(starts) == len({name for name, _ in shop.began}) == sent
    # Messages are received while their slots are good, so no slot is lost, and each task takes only one.
    assert shop.store.asked["reserve"] == sent
    for seconds in (0.5, 1.0, 5.0, 60.0):
        for first in starts:
            within = sum(first <= each < first + seconds for each in starts)
            assert within <= math.ceil((seconds + PUNCTUAL_SECONDS) * limit.per_second) + limit.burst


def test_levels_of_priority_share_the_rate_limit_of_their_queue() -> None:
    app = TaskQ(
        "shop",
        broker="memory://",
        results="memory://",
        task_default_queue="work",
        task_queue_max_priority=9,
        queue_rate_limits={"work": "1/s"},
    )
    ran: list[int] = []
    task = app.task(name="note")(ran.append)
    bench = Bench.of(app)
    for priority in (0, 5, 9):
        task.apply_async((priority,), priority=priority)
    for queue in app.priorities.queues("work"):
        bench.work(queue)
    # The limit of one a second has a burst of two.
    assert len(ran) == 2
