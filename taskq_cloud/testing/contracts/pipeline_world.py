"""Where the pipeline's contract is played: workers that can be stopped between any two steps, and what they may not do.

A ``World`` has one queue, one store and a clock; its workers do what a runtime does with a delivery, one half-step at a
time, so that a test can end one anywhere (a crash) or let two of them take turns (a duplicate).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.execution.context import Environment
from taskq_cloud.core.execution.pipeline import Pipeline
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.flows import Flow, Sleep, retrying
from taskq_cloud.core.messages import events
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.sending import Outbox
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, Delivery, Message, Outgoing, Sent
from taskq_cloud.core.model.outcome import Admission, Invocation, Outcome
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.ports import Broker, ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.workflows.signatures import FAN_OUT
from taskq_cloud.errors import DecodeError
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.pipeline_ports import ABOUT_TO, Effect, WatchedBroker, WatchedFlow, WatchedStore
from taskq_cloud.testing.contracts.pipeline_scenario import End, Scenario

LEASE_SECONDS = 30.0
IDLE_SECONDS = 45.0
"""How far an idle worker moves the clock."""
MOST_ROUNDS = 400


@dataclass(frozen=True, slots=True)
class Ended:
    """What a world has come to: what must not depend on crashes, duplicates and their moments.

    Args:
        states: task's name -> its state, and its value or the kind of its error.
        ids: of all tasks that were ever handed over.
        dead_letters: why messages are in the dead-letter queue.
    """

    states: Mapping[str, Any]
    ids: frozenset[str]
    dead_letters: frozenset[str]


@dataclass(slots=True)
class World:
    """One play of one scenario.

    Args:
        scenario: what is sent, and what its tasks do.
        broker: the broker under test.
        store: the store under test.
        queue: the queue, empty.
        clock: theirs.
        task_id: the first task's id.
    """

    scenario: Scenario
    broker: Broker
    store: ResultStore
    queue: str
    clock: FakeClock
    connections: Connections
    task_id: str
    crash_after: int | None = None
    steps: int = 0
    effects: list[str] = field(default_factory=list)
    _seen: dict[str, str] = field(default_factory=dict)
    _records: dict[str, Record] = field(default_factory=dict)
    _running: list[tuple[Invocation, float]] = field(default_factory=list)
    _pipeline: Pipeline = field(init=False)
    _watched: WatchedBroker = field(init=False)
    _runner: TaskRunner = field(init=False)

    def __post_init__(self) -> None:
        scenario = self.scenario
        tasks = {
            name: TaskDefinition(name, function, scenario.options.get(name, scenario.default_options))
            for name, function in scenario.functions.items()
        }
        self._runner = TaskRunner(tasks)
        self._watched = WatchedBroker(self.broker, scenario.largest_message_bytes)
        store: Any = WatchedStore(self.store, scenario.largest_record_bytes, scenario.silent_saves)
        watched: Any = self._watched
        self._pipeline = Pipeline(
            Environment(
                outbox=Outbox(Codec(), watched),
                store=store,
                tasks=tasks,
                policy=scenario.policy,
                route=lambda _task: self.queue,
                hostname="worker",
                clock=self.clock,
            )
        )

    # -- what happens

    def begin(self, copies: int = 1) -> None:
        """Send the scenario's message; ``copies`` times, as brokers do that deliver at least once."""
        scenario = self.scenario
        if scenario.stored is not None:
            self._now(self.store.save([scenario.stored(self.task_id, self.clock())]))
            self.clock.advance(10)
        body = scenario.body(self.task_id, self.clock(), self.queue)
        self._seen[self.task_id] = "main"
        outgoing = [
            Outgoing(body=body, attributes=scenario.attributes, deduplication=str(copy), group=None)
            for copy in range(copies)
        ]
        for answer in self._now(self.broker.send(self.queue, outgoing)):
            assert isinstance(answer, Sent)

    def receive(self) -> list[Worker]:
        """Take what is there; a worker for each delivery."""
        deliveries = self._now(self.broker.receive(self.queue, 10, 0, LEASE_SECONDS))
        for delivery in deliveries:
            try:
                message = events.read(delivery.body, delivery.message_id, ("json", "pickle"), {})
            except DecodeError:
                continue
            # What replaces a task has its id.
            if not (message.replaced_task_nesting and message.id in self._seen):
                self._seen[message.id] = _name(message)
        return [Worker(self, delivery) for delivery in deliveries]

    def drain(self) -> None:
        """Work until nothing is left, with one crash where ``crash_after`` says."""
        for _ in range(MOST_ROUNDS):
            workers = self.receive()
            for worker in workers:
                worker.work()
            if not workers:
                depth = self._now(self.broker.depth(self.queue))
                if not (depth.waiting or depth.delayed or depth.in_flight):
                    return
                self.clock.advance(IDLE_SECONDS)
        raise AssertionError(f"{self.scenario.name}: the queue is not empty after {MOST_ROUNDS} rounds: {self.effects}")

    def ended(self) -> Ended:
        """What it has come to. Empties the dead-letter queue."""
        found = self._now(self.store.load(list(self._seen)))
        states = {name: self._shown(found.get(task_id)) for task_id, name in self._seen.items()}
        assert len(states) == len(self._seen), f"one task has two ids: {self._seen}"
        return Ended(states, frozenset(self._seen), frozenset(self._dead_letters()))

    def _dead_letters(self) -> Iterator[str]:
        while dead := self._now(self.broker.receive(dead_letter_queue(self.queue), 10, 0, LEASE_SECONDS)):
            self._now(self.broker.settle([Acknowledge(each) for each in dead]))
            yield from (each.attributes[DEAD_LETTER_REASON] for each in dead)

    @staticmethod
    def _shown(record: Record | None) -> Any:
        if record is None:
            return None
        result = document.decode(record.payload)["result"]
        return record.state, result.get("exc_type", result) if isinstance(result, dict) else result

    def _now(self, flow: Flow[Any]) -> Any:
        return self.connections.run(flow)

    # -- what workers ask of it

    def process(self, delivery: Delivery) -> WatchedFlow[None]:
        """What a runtime does with a delivery."""
        settlement = yield from self._pipeline.process(delivery)
        (refused,) = yield from self._watched.settle([settlement])
        assert refused is None

    def perform(self, step: Any) -> Any:
        """Answer a worker's step, and hold it against the rules."""
        match step:
            case Invocation():
                return self._run(step)
            case Admission():
                return True
            case Effect():
                if step is not ABOUT_TO:
                    self.effects.append(step.name)
                    self._check_records(step)
                return None
            case Sleep():
                self.clock.advance(step.seconds)
                return None
        return self.connections.perform(step)

    def returned(self, step: Any) -> None:
        """The step's answer has reached the pipeline."""
        if isinstance(step, Invocation):
            self._running = [(run, began) for run, began in self._running if run is not step]

    def _run(self, invocation: Invocation) -> Outcome:
        message = invocation.message
        self.effects.append("run")
        if invocation.time_limit is not None and invocation.fence:
            # Past its time limit a run has been ended, even if its worker has not told anyone yet.
            for run, began in self._running:
                over = began + invocation.time_limit <= self.clock()
                assert over or run.message.id != message.id, f"{message.task}: two runs at once"
        self._running.append((invocation, self.clock()))
        try:
            return self._runner.run(invocation)
        except End as end:
            return end.outcome

    def _check_records(self, effect: Effect) -> None:
        """Whether a final state has stayed, and none has gone back to an earlier attempt or an older claim."""
        if effect.name == "delete":
            for task_id in effect.ids:
                self._records.pop(task_id, None)
        if not effect.name.startswith("save:"):
            return
        for task_id, record in self._now(self.store.load(effect.ids)).items():
            before = self._records.get(task_id)
            if before is not None:
                assert before == record or not before.final, f"{before} was overwritten by {record}"
                assert before.version <= record.version, f"{before} was overwritten by {record} of an earlier attempt"
                assert before.fence <= record.fence, f"{before} was overwritten by {record} of an older claim"
            self._records[task_id] = record


def _name(message: Message) -> str:
    """What to call a task: its name, and which pages it is to send."""
    if message.task != FAN_OUT:
        return message.task
    return f"{FAN_OUT} {','.join(str(first) for first, *_ in message.kwargs['pages']) or '?'}"


class Worker:
    """Takes one delivery through the pipeline, in half-steps: a step is performed, then its answer handed in."""

    def __init__(self, world: World, delivery: Delivery) -> None:
        self._world = world
        self._flow = retrying(world.process(delivery))
        self._answer: tuple[Any] | None = None
        self._error: Exception | None = None
        self._step: Any = None
        self.done = False
        self._go_on(lambda: next(self._flow))

    def half_step(self) -> None:
        """Perform the step that is asked for; or hand in the answer to the one that was performed."""
        if self._answer is None and self._error is None:
            try:
                self._answer = (self._world.perform(self._step),)
            except Exception as error:  # noqa: BLE001 - the flow decides
                self._error = error
            return
        answer, failure, self._answer, self._error = self._answer, self._error, None, None
        self._world.returned(self._step)
        if failure is not None:
            self._go_on(lambda: self._flow.throw(failure))
        elif answer is not None:
            self._go_on(lambda: self._flow.send(answer[0]))

    def work(self) -> None:
        """Work to the end, or to the crash: its lease runs out then, and the message comes again."""
        world = self._world
        while not self.done:
            if world.crash_after == world.steps * 2:
                return self._crash()
            self.half_step()
            if world.crash_after == world.steps * 2 + 1:
                return self._crash()
            self.half_step()
            world.steps += 1
        return None

    def finish(self) -> None:
        """Work to the end, from wherever it stands."""
        while not self.done:
            self.half_step()

    def _crash(self) -> None:
        self._world.crash_after = None
        if self._answer is not None or self._error is not None:
            self._world.returned(self._step)
        self._flow.close()
        self.done = True

    def _go_on(self, resume: Any) -> None:
        try:
            self._step = resume()
        except StopIteration:
            self.done = True
