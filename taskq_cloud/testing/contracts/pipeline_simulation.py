"""One run of one scenario of the pipeline's contract, with workers that a test can stop between any two steps.

A ``Simulation`` has a queue, a store and a clock. Its workers do with a delivery what a real worker does, one half-step
at a time, so that a test can end a worker anywhere (a crash) or let two of them take turns (a message delivered twice).
It checks after every step that no rule is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.flows import retrying
from taskq_cloud.core.messages import events
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, Delivery, Message, Outgoing, Sent
from taskq_cloud.core.model.outcome import Invocation, Outcome
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.model.task_names import FAN_OUT
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import DecodeError
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.contracts.pipeline_ports import ABOUT_TO, Effect, WatchedBroker, WatchedFlow, WatchedStore
from taskq_cloud.testing.contracts.pipeline_scenario import End, Scenario

LEASE_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 45.0
"""How far the clock moves when no message is ready."""

MOST_ROUNDS: Final = 400


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a simulation: the part of it that must not depend on crashes, duplicates and their times.

    Args:
        states: task name -> its state, and its value or the type of its error; None: no record is stored.
        ids: the ids of all tasks that were ever delivered.
        dead_letters: the reasons of the messages in the dead-letter queue.
    """

    states: Mapping[str, Any]
    ids: frozenset[str]
    dead_letters: frozenset[str]


class Simulation:
    """One run of a scenario.

    Args:
        scenario: the message that is sent, and the tasks that it leads to.
        bench: the broker and the store under test, their queue and their clock.
        task_id: the id of the first task.
        crash_after: the number of half-steps after which the worker crashes; None: it doesn't.

    Attributes:
        steps: the steps that were done up to now.
        effects: the names of the effects up to now, in their order.
    """

    def __init__(self, scenario: Scenario, bench: Bench, task_id: str, crash_after: int | None = None) -> None:
        tasks = {
            name: TaskDefinition(name, function, scenario.options.get(name, scenario.default_options))
            for name, function in scenario.functions.items()
        }
        self.scenario = scenario
        self.task_id = task_id
        self.crash_after = crash_after
        self.steps = 0
        self.effects: list[str] = []
        self._names: dict[str, str] = {}
        self._records: dict[str, Record] = {}
        self._running: list[tuple[Invocation, float]] = []
        self._bench = bench
        self._workers_bench = bench.changed(
            broker=WatchedBroker(bench.broker, scenario.largest_message_bytes),
            store=WatchedStore(bench.store, scenario.largest_record_bytes, scenario.silent_saves),
            tasks=tasks,
            policy=scenario.policy,
            run_task=self._run,
        )
        self._runner = TaskRunner(tasks)

    # -- the course of the simulation

    def begin(self, copies: int = 1) -> None:
        """Send the scenario's message; with ``copies``, several times, as at-least-once delivery may do."""
        scenario, bench = self.scenario, self._bench
        if scenario.stored is not None:
            bench.run(bench.store.save([scenario.stored(self.task_id, bench.clock())]))
            bench.clock.advance(10)
        body = scenario.body(self.task_id, bench.clock(), bench.queue)
        self._names[self.task_id] = "main"
        outgoing = [
            Outgoing(body=body, attributes=scenario.attributes, deduplication=str(copy), group=None)
            for copy in range(copies)
        ]
        for answer in bench.run(bench.broker.send(bench.queue, outgoing)):
            assert isinstance(answer, Sent)

    def receive(self) -> list[Worker]:
        """Receive the messages that are ready; returns a worker for each delivery."""
        deliveries = self._bench.receive(lease_seconds=LEASE_SECONDS)
        for delivery in deliveries:
            try:
                message = events.read(delivery.body, delivery.message_id, ("json", "pickle"), {})
            except DecodeError:
                continue
            # A task that replaces another has the other's id.
            if not (message.replaced_task_nesting and message.id in self._names):
                self._names[message.id] = _name(message)
        return [Worker(self, delivery) for delivery in deliveries]

    def work_or_wait(self) -> None:
        """Work on the messages that are ready, to their end; if there are none, let a lease's time pass."""
        workers = self.receive()
        for worker in workers:
            worker.work()
        if not workers:
            self.advance(LEASE_SECONDS)

    def drain(self) -> None:
        """Work until the queue is empty, with one crash if there is a ``crash_after``."""
        for _ in range(MOST_ROUNDS):
            workers = self.receive()
            for worker in workers:
                worker.work()
            if not workers:
                if not self._bench.left():
                    return
                self.advance(IDLE_SECONDS)
        raise AssertionError(f"{self.scenario.name}: the queue is not empty after {MOST_ROUNDS} rounds: {self.effects}")

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._bench.clock.advance(seconds)

    def ended(self) -> Ended:
        """The end of the simulation. Empties the dead-letter queue."""
        found = self._bench.run(self._bench.store.load(list(self._names)))
        states = {name: _shown(found.get(task_id)) for task_id, name in self._names.items()}
        assert len(states) == len(self._names), f"one task has two ids: {self._names}"
        return Ended(states, frozenset(self._names), frozenset(self._dead_letters()))

    def _dead_letters(self) -> Iterator[str]:
        bench = self._bench
        while dead := bench.dead_letters():
            bench.run(bench.broker.settle([Acknowledge(each) for each in dead]))
            yield from (each.attributes[DEAD_LETTER_REASON] for each in dead)

    # -- the steps of its workers

    def process(self, delivery: Delivery) -> WatchedFlow[Any]:
        """The flow of a delivery, with its effects among the steps."""
        return self._workers_bench.process(delivery)

    def perform(self, step: Any) -> Any:
        """Answer a worker's step, and check the rules."""
        if not isinstance(step, Effect):
            return self._workers_bench.perform(step)
        if step is not ABOUT_TO:
            self.effects.append(step.name)
            self._check_records(step)
        return None

    def returned(self, step: Any) -> None:
        """Note that the answer to a step has reached the pipeline."""
        if isinstance(step, Invocation):
            self._running = [(run, began) for run, began in self._running if run is not step]

    def _run(self, invocation: Invocation) -> Outcome:
        message, now = invocation.message, self._bench.clock()
        self.effects.append("run")
        if invocation.time_limit is not None and invocation.fence:
            # A run has ended by its time limit, even if its worker has not reported that yet.
            for run, began in self._running:
                over = began + invocation.time_limit <= now
                assert over or run.message.id != message.id, f"{message.task}: two runs at once"
        self._running.append((invocation, now))
        try:
            return self._runner.run(invocation)
        except End as end:
            return end.outcome

    def _check_records(self, effect: Effect) -> None:
        """Check that final states stay, and that no earlier attempt or older lock has overwritten a record."""
        if effect.name == "delete":
            for task_id in effect.ids:
                self._records.pop(task_id, None)
        if not effect.name.startswith("save:"):
            return
        for task_id, record in self._bench.run(self._bench.store.load(effect.ids)).items():
            before = self._records.get(task_id)
            if before is not None:
                assert before == record or not before.final, f"{before} was overwritten by {record}"
                assert before.version <= record.version, f"{before} was overwritten by {record} of an earlier attempt"
                assert before.fence <= record.fence, f"{before} was overwritten by {record} under an older lock"
            self._records[task_id] = record


def _shown(record: Record | None) -> Any:
    """A record's state, and its value or the type of its error."""
    if record is None:
        return None
    result = document.decode(record.payload)["result"]
    return record.state, result.get("exc_type", result) if isinstance(result, dict) else result


def _name(message: Message) -> str:
    """The name of a task in ``Ended.states``; of a fan-out task, with the pages that it is to send."""
    if message.task != FAN_OUT:
        return message.task
    return f"{FAN_OUT} {','.join(str(first) for first, *_ in message.kwargs['pages']) or '?'}"


class Worker:
    """Takes one delivery through the pipeline in half-steps: it performs a step, then hands in the step's answer."""

    def __init__(self, simulation: Simulation, delivery: Delivery) -> None:
        self._simulation = simulation
        self._flow = retrying(simulation.process(delivery))
        self._answer: tuple[Any] | None = None
        self._error: Exception | None = None
        self._step: Any = None
        self.done = False
        self._go_on(lambda: next(self._flow))

    def half_step(self) -> None:
        """Perform the next step, or hand in the answer to the step that was performed last."""
        if self._answer is None and self._error is None:
            try:
                self._answer = (self._simulation.perform(self._step),)
            except Exception as error:  # noqa: BLE001 - the flow decides
                self._error = error
            return
        answer, failure, self._answer, self._error = self._answer, self._error, None, None
        self._simulation.returned(self._step)
        if failure is not None:
            self._go_on(lambda: self._flow.throw(failure))
        elif answer is not None:
            self._go_on(lambda: self._flow.send(answer[0]))

    def work(self) -> None:
        """Work to the end or to the crash, after which the lease ends and the message is delivered again."""
        simulation = self._simulation
        while not self.done:
            if simulation.crash_after == simulation.steps * 2:
                return self._crash()
            self.half_step()
            if simulation.crash_after == simulation.steps * 2 + 1:
                return self._crash()
            self.half_step()
            simulation.steps += 1
        return None

    def finish(self) -> None:
        """Work to the end, wherever the worker stands, without a crash."""
        while not self.done:
            self.half_step()

    def _crash(self) -> None:
        self._simulation.crash_after = None
        if self._answer is not None or self._error is not None:
            self._simulation.returned(self._step)
        self._flow.close()
        self.done = True

    def _go_on(self, resume: Callable[[], Any]) -> None:
        try:
            self._step = resume()
        except StopIteration:
            self.done = True
