"""``taskq drain``, on SQLite and on SQS: what a queue holds is moved or waited for, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.cli.drain import PAUSE_SECONDS, wait
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages import events
from taskq_cloud.core.model.message import DeadLetter, Outgoing, Refused, Sent
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import Depth
from taskq_cloud.deploy.draining import Drain, Held
from taskq_cloud.errors import OperationalError
from taskq_cloud.testing.clock import FakeClock
from tests.cli.conftest import TaskQCommand

QUEUE_SECONDS = 60
NOW = 1_900_000_000.0


def send(app: TaskQ, queue: str, *numbers: int, **options: Any) -> None:
    for number in numbers:
        app.send_task(f"{app.main}.notify", (number,), queue=queue, task_id=str(number), **options)


def received(app: TaskQ, queue: str) -> list[Any]:
    return list(app.run(app.broker.receive(queue, 10, 0, QUEUE_SECONDS)))


def test_drain_moves_messages_and_dead_letters_to_the_other_queue(taskq: TaskQCommand, shop: str) -> None:
    app = find_app(shop)
    send(app, "old", 1, 2, 3)
    (first, *_) = app.run(app.broker.receive("old", 1, 0, QUEUE_SECONDS))
    app.run(app.broker.settle([DeadLetter(first, "no reason")]))
    result = taskq("-A", shop, "drain", "-Q", "old", "--to", "mail")
    assert (result.exit_code, result.stdout) == (
        0,
        "old: 2 messages, 1 dead letter moved to mail\nold: empty\n",
    )
    assert {each.body for each in received(app, "mail-dead")} == {first.body}
    assert len(received(app, "mail")) == 2


def test_drain_to_ordered_queue_keeps_groups_and_their_order(taskq: TaskQCommand, shop: str) -> None:
    app = find_app(shop)
    send(app, "old.fifo", 1, 2, 3, MessageGroupId="a")
    send(app, "old.fifo", 4, MessageGroupId="b")
    assert taskq("-A", shop, "drain", "-Q", "old.fifo", "--to", "new.fifo").exit_code == 0
    deliveries = received(app, "new.fifo")
    found = [(each.group, events.read_envelope(each.body)["headers"]["id"]) for each in deliveries]
    assert [task for group, task in found if group == "a"] == ["1", "2", "3"]
    assert [task for group, task in found if group == "b"] == ["4"]


def test_drain_without_workers_names_what_is_left_and_removes_nothing(taskq: TaskQCommand, shop: str) -> None:
    app = find_app(shop)
    send(app, "mail", 1, 2)
    send(app, "mail", 3, countdown=600)
    app.run(app.broker.receive("mail", 1, 0, QUEUE_SECONDS))
    result = taskq("-A", shop, "drain", "-Q", "mail", "--timeout", "0")
    assert result.exit_code == 1
    assert "queue 'mail' is not drained: 1 message waiting, 1 message delayed, 1 message in flight" in result.stderr
    assert f"queue 'mail' is still the queue of {shop}.notify: their callers keep sending to it" in result.stderr
    assert app.run(app.broker.depth("mail")) == Depth(waiting=1, delayed=1, in_flight=1)


def test_drain_of_empty_queue_ends_at_once(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "drain", "-Q", "old", "--timeout", "0")
    assert (result.exit_code, result.stdout) == (0, "old: empty\n")


def test_queue_to_move_to_has_to_be_another_one(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "drain", "-Q", "old", "--to", "old")
    assert (result.exit_code, "'old' is the queue that is to be drained" in result.stderr) == (2, True)


def held(*counts: int) -> Held:
    return Held(depth=Depth(*counts), dead=None)


def look(*counts: tuple[int, int, int]) -> Callable[[], Held]:
    """Return what is left at each look; at all further looks, what is left at the last one."""
    looks: Iterator[Held] = iter([held(*each) for each in counts])
    last = held(*counts[-1])
    return lambda: next(looks, last)


def test_queue_counts_as_empty_once_its_lagging_counts_stay_zero() -> None:
    clock, shown = FakeClock(0), []
    turn = look((2, 0, 0), (0, 0, 0), (0, 0, 1), (0, 0, 0))
    left = wait(turn, QUEUE_SECONDS, None, lambda each: shown.append(each.parts), clock=clock, sleep=clock.advance)
    assert left == ""
    assert shown == [["2 messages waiting"], [], ["1 message in flight"], []]
    assert clock() == 3 * PAUSE_SECONDS + QUEUE_SECONDS


def test_wait_that_is_too_short_for_lagging_counts_says_so() -> None:
    clock = FakeClock(0)
    left = wait(look((0, 0, 0)), QUEUE_SECONDS, 10, lambda _: None, clock=clock, sleep=clock.advance)
    assert left == "it looks empty, but its counts may be 60 s old: allow a longer --timeout"


def test_message_that_the_other_queue_refuses_stays_in_its_queue(
    taskq: TaskQCommand, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = find_app(shop)
    send(app, "old", 1, 2)
    real = app.broker.send

    def refuse_one(queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        answers = yield from real(queue, messages[1:])
        return [Refused(OperationalError("it is full")), *answers]

    monkeypatch.setattr(app.broker, "send", refuse_one)
    result = taskq("-A", shop, "drain", "-Q", "old", "--to", "new", "--timeout", "0")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "Error: it is full; moved before: 1 message")
    assert [app.run(app.broker.depth(each)) for each in ("old", "new")] == [Depth(1, 0, 0)] * 2


def test_late_tasks_of_the_scheduler_are_sent_to_the_other_queue() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://", scheduler="memory://")
    scheduler = app.scheduler
    assert scheduler is not None
    soon, late = (NOW + scheduler.capabilities.least_lead_seconds + seconds for seconds in (0, 86_400))
    names = {"once.soon": soon, "once.late": late}
    schedules = [
        PlatformSchedule(name=name, when=datetime.fromtimestamp(int(at), UTC), target="old.fifo", body="{}", group="a")
        for name, at in names.items()
    ]
    periodic = PlatformSchedule(name="nightly", when="rate(1 day)", target="old.fifo", body="{}")
    other = PlatformSchedule(name="hourly", when="rate(1 hour)", target="mail", body="{}")
    app.run(scheduler.put([*schedules, periodic, other]))
    drain = Drain(broker=app.broker, scheduler=scheduler, queue="old.fifo", to="new", clock=lambda: NOW)
    held = app.run(drain.turn())
    assert held.parts == ["1 late task in the scheduler", "1 schedule of periodic tasks"]
    assert [each.name for each in (*held.late, *held.periodic)] == ["once.soon", "nightly"]
    found = app.run(scheduler.load(["once.soon", "once.late", "nightly", "hourly"]))
    assert {name: (each.target, each.group) for name, each in found.items()} == {
        "once.soon": ("old.fifo", "a"),
        "once.late": ("new", None),
        "nightly": ("old.fifo", None),
        "hourly": ("mail", None),
    }
    assert drain.moved == {"late task": 1}
    app.close()


@pytest.mark.slow
def test_drain_on_sqs_moves_messages_once_and_waits_for_its_counts(
    aws_environment: dict[str, str], make_queue: Callable[..., str]
) -> None:
    app = TaskQ("shop", broker=f"sqs://{aws_environment['AWS_DEFAULT_REGION']}/", results="disabled://")
    old, new = make_queue("old"), make_queue("new.fifo")
    send(app, old, *range(12))
    drain = Drain(broker=app.broker, scheduler=None, queue=old, to=new)
    assert app.run(drain.turn()).parts == []
    assert drain.moved == {"message": 12}
    assert app.run(app.broker.depth(new)) == Depth(waiting=12, delayed=0, in_flight=0)
    assert app.broker.capabilities.counts_lag_seconds == QUEUE_SECONDS
    app.close()
