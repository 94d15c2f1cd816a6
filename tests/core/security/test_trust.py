"""What workers sign of their own accord: nothing that came unsigned, and nothing that only the result store says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import (
    DEAD_LETTER_REASON,
    SCHEDULED_TIME,
    Acknowledge,
    Delivery,
    Embed,
    Message,
    Outgoing,
)
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Invocation, Outcome, Rejected, Retrying, Succeeded
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.model.task_names import FAN_OUT
from taskq_cloud.core.records.record import FAILURE, SUCCESS
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.entry import Timing
from taskq_cloud.core.schedules.ticks import Tick
from taskq_cloud.core.security.signing import SIGNATURE_HEADER
from taskq_cloud.core.workflows import group_pages
from taskq_cloud.core.workflows.signatures import signature_of
from taskq_cloud.core.workflows.stages import TaskStage
from taskq_cloud.errors import SecurityError
from taskq_cloud.schedules import crontab
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.core.security.signed import HMAC, signing_codec

TASKS = {
    name: TaskDefinition(name, lambda *args, **kwargs: None, TaskOptions())
    for name in ("pay", "next", "body", "refund", "steal", "report")
}
NEXT = {"task": "next", "options": {"task_id": "next"}}
ERROR = ErrorInfo("ValueError", ("x",), "builtins")
STEAL = {"task": "steal", "options": {"task_id": "stolen"}}


def signing(clock: FakeClock, *accept: str) -> Codec:
    return signing_codec(HMAC, clock=clock, accept_unsigned=accept, event_routes={"*": "pay"})


class World:
    """A bench whose application signs messages, and in which a test decides how runs end."""

    def __init__(self, *accept: str) -> None:
        self.clock = FakeClock()
        self.codec = signing(self.clock, *accept)
        self.outcomes: dict[str, Outcome] = {}
        self.runs: list[str] = []
        self.bench = Bench.in_memory(TASKS, self.clock, codec=self.codec, run_task=self.run)

    def run(self, invocation: Invocation) -> Outcome:
        self.runs.append(invocation.message.id)
        return self.outcomes.get(invocation.message.task, Succeeded("1"))

    def post(self, body: str, **outgoing: Any) -> None:
        """Send a text as an attacker does, or as a broker that hands a message over twice."""
        self.bench.run(self.bench.broker.send("work", [Outgoing(body=body, **outgoing)]))

    def step(self) -> Delivery:
        (delivery,) = self.bench.receive(1)
        self.bench.deliver(delivery)
        return delivery

    def reasons(self) -> list[str]:
        return [each.attributes[DEAD_LETTER_REASON] for each in self.bench.dead_letters()]


# -- messages that came unsigned


def unsigned(**parts: Any) -> str:
    return Codec().write(Message(**{"task": "pay", "id": "p", **parts}), "work")


CHORD = {"task": "body", "options": {"chord_size": 1, "task_id": "body", "chord_ids": {"0": "p"}}}


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ({"embed": Embed(callbacks=[NEXT])}, Succeeded("1")),
        ({"embed": Embed(chain=[NEXT])}, Succeeded("1")),
        ({"embed": Embed(chain=[{"task": "celery.group", "kwargs": {"tasks": [NEXT, NEXT]}}])}, Succeeded("1")),
        ({"embed": Embed(errbacks=[{**NEXT, "immutable": True}])}, Failed(ERROR)),
        ({"embed": Embed(chord=CHORD), "group": "g", "group_index": 0}, Succeeded("1")),
        ({}, Retrying(ERROR, 0)),
        ({"eta": datetime.now(UTC) + timedelta(days=365)}, Succeeded("1")),
    ],
    ids=["link", "chain", "group", "errback", "chord", "retry", "eta"],
)
def test_message_that_follows_an_unsigned_one_is_not_signed(parts: dict[str, Any], outcome: Outcome) -> None:
    world = World("all")
    world.outcomes = {"pay": outcome}
    world.post(unsigned(**parts))
    world.step()
    world.clock.advance(366 * 86_400)
    sent = world.bench.receive()
    assert sent
    for each in sent:
        assert SIGNATURE_HEADER not in json.loads(each.body)["headers"]
        with pytest.raises(SecurityError, match="not signed"):
            signing(world.clock).read(each.body, "m")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"embed": Embed(chain=[{"task": "next", "options": {"task_id": True}}])}, "InvalidTaskError"),
        ({"embed": Embed(chord={**CHORD, "kwargs": 5}), "group": "g", "group_index": 0}, "InvalidTaskError"),
        ({"task": "unknown"}, "NotRegistered"),
    ],
    ids=["chain", "chord", "unknown task"],
)
def test_dead_letter_of_an_unsigned_message_is_not_signed(parts: dict[str, Any], reason: str) -> None:
    world = World("all")
    world.post(unsigned(**parts))
    for _ in range(10):
        world.bench.work()
        world.clock.advance(3600)
    (dead,) = world.bench.dead_letters()
    assert dead.attributes[DEAD_LETTER_REASON].startswith(reason)
    assert "dead_letter_signature" not in dead.attributes


@pytest.mark.parametrize(("codec", "refused"), [(Codec(), True), (None, False)], ids=["unsigned", "signed"])
def test_chord_of_an_unsigned_message_is_not_carried_by_a_call_of_its_task(codec: Codec | None, refused: bool) -> None:
    app = TaskQ("shop", broker="memory://", results="memory://", message_signing_keys=[HMAC], accept_unsigned=["all"])
    raised: list[SecurityError] = []

    @app.task(name="pay", bind=True)
    def pay(self: Any) -> None:
        try:
            self.add_to_chord(app.signature("next", immutable=True), lazy=True)
        except SecurityError as error:
            raised.append(error)

    bench = Bench.in_memory(app.definitions, codec=app.codec)
    body = (codec or app.codec).write(member(), "work")
    bench.run(bench.broker.send("work", [Outgoing(body=body)]))
    bench.deliver(bench.receive()[0])
    assert bool(raised) is refused
    app.close()


def test_pages_and_members_of_an_unsigned_group_are_not_signed() -> None:
    world = World("all")
    cut = group_pages.cut("g", [(stage,) for stage in map(stage_of, range(3))], pages_of_one(world))
    pages = list(cut)
    world.bench.run(world.bench.store.save([page.record(world.clock()) for page in pages]))
    references = [[each.reference.first, each.reference.size, each.reference.sha256] for each in pages]
    kwargs: dict[str, Any] = {"group": "g", "pages": references, "chord": None, "args": [], "kwargs": {}, "now": 0}
    world.post(Codec().write(Message(task=FAN_OUT, id="f", kwargs=kwargs), "work"))
    for _ in range(4):
        assert SIGNATURE_HEADER not in json.loads(world.step().body)["headers"]
    assert len(world.bench.receive()) == 3
    assert world.bench.left("work-dead") == 0


def stage_of(number: int) -> Any:
    return TaskStage(signature_of("next", options={"task_id": f"m{number}"}))


def pages_of_one(world: World) -> group_pages.Paging:
    return group_pages.Paging(over=0, page_bytes=1200, knows=lambda _: True, route=lambda _: "work")


def test_message_that_follows_a_signed_one_or_an_event_is_signed() -> None:
    world = World("all")
    world.bench.send(Message(task="pay", id="p", embed=Embed(callbacks=[NEXT])))
    world.post(json.dumps({"source": "shop", "detail-type": "paid", "id": "e1"}))
    world.step()
    world.outcomes = {"pay": Retrying(ERROR, 0)}
    world.step()
    bodies = [each.body for each in world.bench.receive()]
    assert [signing(world.clock).read(body, "m").task for body in bodies] == ["next", "pay"]


# -- additions to a chord, which a redelivered member sends from its record


def member() -> Message:
    return Message(task="pay", id="p", group="g", group_index=0, embed=Embed(chord=CHORD))


def document(world: World, task_id: str) -> dict[str, Any]:
    record = world.bench.run(world.bench.store.load([task_id]))[task_id]
    found: dict[str, Any] = json.loads(record.payload)
    return found


def overwrite(world: World, task_id: str, **changes: Any) -> None:
    """Change a record as someone does who can write to the store."""
    store = world.bench.store
    record = world.bench.run(store.load([task_id]))[task_id]
    changed = {name: value for name, value in {**json.loads(record.payload), **changes}.items() if value is not ...}
    world.bench.run(store.delete([task_id]))
    world.bench.run(store.save([replace(record, payload=json.dumps(changed))]))


def redelivered_member_that_has_added(world: World, added: Any = NEXT) -> None:
    """Run a member that adds a task; its message comes again, as it was not acknowledged."""
    world.bench.send(member())
    (delivery,) = world.bench.receive()
    world.outcomes = {"pay": Succeeded("1", added=[added])}
    world.bench.run(world.bench.pipeline.process(delivery))
    (sent,) = world.bench.receive()
    world.bench.run(world.bench.broker.settle([Acknowledge(sent)]))
    world.clock.advance(120)


def test_additions_of_a_redelivered_member_are_sent_if_its_worker_has_signed_them() -> None:
    world = World()
    redelivered_member_that_has_added(world)
    assert document(world, "p")["added_signature"].startswith("hmac-sha256:")
    world.step()
    assert [world.codec.read(each.body, "m").id for each in world.bench.receive()] == ["next"]


@pytest.mark.parametrize(
    "changes",
    [
        {"added": [STEAL]},
        {"added": [NEXT, STEAL]},
        {"added": [STEAL], "added_signature": ...},
        {"added": [STEAL], "added_signature": "hmac-sha256:0000000000000000:1:AAAA"},
        {"added": [STEAL], "added_signature": 7},
        {"added": "steal"},
        {"added": {"task": "steal"}},
    ],
)
def test_additions_that_only_the_store_says_are_not_sent(changes: dict[str, Any]) -> None:
    world = World()
    redelivered_member_that_has_added(world)
    overwrite(world, "p", **changes)
    world.step()
    assert world.bench.left() == 0
    (reason,) = world.reasons()
    assert reason.startswith("SecurityError: task p: the tasks that its record adds to its chord:")
    assert "forget its result and redrive" in reason


def test_additions_of_another_task_are_not_sent() -> None:
    world = World()
    redelivered_member_that_has_added(world)
    statement = {"kind": "added", "id": "q", "digest": "x"}
    overwrite(world, "p", added_signature=world.codec.seal(statement))
    world.step()
    assert "doesn't match" in world.reasons()[0]


def test_unsigned_additions_are_sent_unsigned_while_signing_is_introduced() -> None:
    world = World("all")
    redelivered_member_that_has_added(world)
    overwrite(world, "p", added_signature=...)
    world.step()
    (sent,) = world.bench.receive()
    assert SIGNATURE_HEADER not in json.loads(sent.body)["headers"]


def chord_of_two(world: World) -> None:
    """Run one member of two."""
    chord = {"task": "body", "options": {"chord_size": 2, "task_id": "body", "chord_ids": {"0": "p", "1": "q"}}}
    for index, task_id in enumerate("pq"):
        place: dict[str, Any] = {"group": "g", "group_index": index, "embed": Embed(chord=chord)}
        world.bench.send(Message(task="pay", id=task_id, **place))
    world.step()


def test_chord_whose_member_has_forged_additions_fails() -> None:
    world = World()
    chord_of_two(world)
    overwrite(world, "p", added=[{"lazy": "q"}])
    world.step()
    assert world.bench.states("body") == [FAILURE]
    assert "the tasks that its record adds to its chord" in json.dumps(document(world, "body"))


def test_chord_whose_member_adds_itself_fails() -> None:
    world = World()
    world.bench = Bench.in_memory(TASKS, world.clock, run_task=world.run)
    chord_of_two(world)
    overwrite(world, "p", added=[{"lazy": "p"}])
    world.step()
    assert world.bench.states("body") == [FAILURE]
    assert "was added to the chord by a task that it has added" in json.dumps(document(world, "body"))


# -- dead letters that were moved back


def failed_and_replayed(world: World, **attributes: str) -> str:
    """Run a task that fails, and send a copy of its message with attributes."""
    world.outcomes = {"pay": Failed(ERROR)}
    body = world.codec.write(Message(task="pay", id="p"), "work")
    world.post(body)
    world.step()
    world.clock.advance(10)
    world.post(body, attributes={DEAD_LETTER_REASON: "ValueError", **attributes})
    return body


def test_reason_that_no_worker_has_signed_does_not_run_a_failed_task_again() -> None:
    for attributes in ({}, {"dead_letter_signature": "hmac-sha256:0000000000000000:1:AAAA"}):
        world = World()
        failed_and_replayed(world, **attributes)
        world.step()
        assert world.runs == ["p"]
        assert world.bench.states("p") == [FAILURE]
        assert "no worker has signed" in world.reasons()[0]


def test_without_keys_any_reason_runs_a_failed_task_again() -> None:
    world = World()
    world.bench = Bench.in_memory(TASKS, world.clock, run_task=world.run)
    world.codec = world.bench.codec
    failed_and_replayed(world)
    world.step()
    assert world.runs == ["p", "p"]


def rejected(world: World) -> Delivery:
    world.outcomes = {"pay": Rejected("no tariff", requeue=False)}
    world.bench.send(Message(task="pay", id="p"))
    world.step()
    (dead,) = world.bench.dead_letters()
    world.bench.run(world.bench.broker.settle([Acknowledge(dead)]))
    world.clock.advance(3600)
    return dead


def test_message_that_a_worker_has_dead_lettered_runs_when_it_is_moved_back() -> None:
    world = World()
    dead = rejected(world)
    world.outcomes = {}
    world.post(dead.body, attributes=dead.attributes)
    world.step()
    assert world.bench.states("p") == [SUCCESS]


def test_dead_letter_runs_once_for_each_failure() -> None:
    world = World()
    dead = rejected(world)
    for _ in range(3):
        world.post(dead.body, attributes=dead.attributes)
        world.step()
        world.clock.advance(3600)
    assert world.runs == ["p", "p"]
    found = world.bench.dead_letters()
    assert sorted("no worker has signed" in each.attributes[DEAD_LETTER_REASON] for each in found) == [
        False,
        True,
        True,
    ]
    (newest,) = (each for each in found if "no worker" not in each.attributes[DEAD_LETTER_REASON])
    world.outcomes = {}
    world.post(newest.body, attributes=newest.attributes)
    world.step()
    assert world.bench.states("p") == [SUCCESS]


def test_signed_reason_of_one_message_does_not_serve_another() -> None:
    world = World()
    dead = rejected(world)
    world.outcomes = {"pay": Failed(ERROR)}
    world.bench.send(Message(task="pay", id="other"))
    world.step()
    world.bench.send(Message(task="pay", id="other"), attributes=dead.attributes)
    world.step()
    assert world.runs == ["p", "other"]


# -- ticks


def template(world: World) -> dict[str, Any]:
    tick = Tick(application="shop", name="report", timing=Timing(schedule=crontab()), catch_up="all")
    message = ticks.with_tick(Message(task="report", id="x"), tick, "<placeholder>")
    found: dict[str, Any] = json.loads(world.codec.write(message, "work"))
    return found


def fired(document: dict[str, Any], moment: float) -> str:
    text = datetime.fromtimestamp(moment, UTC).isoformat()
    return json.dumps({**document, "headers": {**document["headers"], SCHEDULED_TIME: text}})


@pytest.fixture
def world() -> World:
    world = World()
    world.clock.advance(60 - world.clock() % 60)
    return world


def test_replayed_tick_runs_for_no_time_at_which_its_platform_can_not_have_fired(world: World) -> None:
    document = template(world)
    world.clock.advance(7 * 86_400)
    now = world.clock()
    for minutes in range(1, 61):
        world.post(fired(document, now - 8 * 86_400 - minutes * 60))  # before it was signed
        world.post(fired(document, now - 2 * 86_400 - minutes * 60))  # longer ago than a platform tries
        world.post(fired(document, now + 60 + minutes * 60))
    world.bench.work()
    assert world.runs == []
    reasons = world.reasons()
    assert {reason.partition(" lies ")[0] for reason in reasons} == {
        "SecurityError: the fire time of schedule 'report'"
    }


def test_late_tick_runs_once_however_often_it_is_replayed(world: World) -> None:
    document = template(world)
    world.clock.advance(86_400)
    text = fired(document, world.clock() - 3600)
    world.post(text)
    world.bench.work()
    for _ in range(3):
        world.clock.advance(86_400 / 4)
        world.post(text)
        world.bench.work()
    assert len(world.runs) == 1


def test_tick_that_has_waited_in_its_queue_runs(world: World) -> None:
    document = template(world)
    world.clock.advance(3600)
    world.post(fired(document, world.clock()))
    world.clock.advance(10 * 86_400)
    world.bench.work()
    assert len(world.runs) == 1


def test_tick_with_a_signed_fire_time_has_no_other_and_may_be_late(world: World) -> None:
    tick = Tick(application="shop", name="report", timing=Timing(schedule=crontab()), catch_up="all")
    due = datetime.fromtimestamp(world.clock() - 5 * 86_400, UTC)
    text = world.codec.write(ticks.with_tick(Message(task="report", id="x"), tick, due), "work")
    document = json.loads(text)
    assert document["headers"][SIGNATURE_HEADER]["fire_time"] is True
    world.post(fired(document, world.clock()))
    stripped = json.loads(text)
    del stripped["headers"][SIGNATURE_HEADER]["fire_time"]
    world.post(json.dumps(stripped))
    world.bench.work()
    assert world.runs == []
    assert all("it has been altered" in reason for reason in world.reasons())
    world.post(text)
    world.bench.work()
    assert world.runs == [ticks.tick_id("shop", "report", due)]


def test_unsigned_reason_does_not_make_a_tick_run_again(world: World) -> None:
    document = template(world)
    world.clock.advance(3600)
    text = fired(document, world.clock())
    world.post(text)
    world.post(text, attributes={DEAD_LETTER_REASON: "x"})
    world.bench.work()
    assert len(world.runs) == 1
