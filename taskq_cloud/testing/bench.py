"""A test bench for the pipeline: a test sends messages, decides how their runs end, and checks the effects.

The pipeline is the one that workers use. Broker, store and clock are the test's own, in memory unless it brings others.
Nothing happens by itself: the test receives each message, drives it, and moves the clock. ::

    bench = Bench.in_memory({"resize": TaskDefinition("resize", resize, TaskOptions())})
    bench.send(Message(task="resize", id="t-1"))
    bench.work()
    assert bench.states("t-1") == ["SUCCESS"]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeVar

from taskq_cloud.app import TaskQ
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.execution import early_acks
from taskq_cloud.core.execution.context import Environment, PipelineFlow
from taskq_cloud.core.execution.pipeline import Pipeline
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.flows import Sleep, retrying, run
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.sending import Outbox
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.hooks import HookTable
from taskq_cloud.core.model.message import Delivery, Message, Outgoing, Sent, Settlement
from taskq_cloud.core.model.options import Policy
from taskq_cloud.core.model.outcome import Admission, Admitted, Invocation, Outcome
from taskq_cloud.core.model.priorities import NO_PRIORITIES, PriorityLevels
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.ports import Broker, ResultStore, ScheduleStore
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.clock import FakeClock

T = TypeVar("T")

LEASE_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 45.0
"""How far ``drain`` moves the clock when no message is ready."""

MOST_ROUNDS: Final = 1_000
"""Receives after which ``work`` and ``drain`` give up: a message comes back again and again."""


@dataclass(kw_only=True)
class Bench:
    """A pipeline with its broker, its store and its clock.

    Args:
        broker: the broker; it keeps ``clock``, as does the store.
        store: the result store.
        clock: the time of all of them.
        tasks: name -> definition.
        scheduler: holds messages that are due later than the broker can delay them; None: they go in hops.
        policy: the settings that hold for all tasks.
        queue: the queue that messages are sent to and received from, unless a call names another one.
        route: task name -> queue, for messages that the pipeline sends; None: all go to ``queue``.
        priorities: the levels of priority that queues have.
        codec: encodes messages.
        run_task: decides how a run ends, given the invocation; None: the task's function runs.
        admits: whether a run may begin; False is the answer of a worker that stops.
        meanwhile: what happens while a delivery waits for its slot; None: it doesn't wait.
        hooks: the hooks of all tasks, and of single ones.
    """

    broker: Broker
    store: ResultStore
    clock: FakeClock
    tasks: Mapping[str, TaskDefinition] = field(default_factory=dict)
    scheduler: ScheduleStore | None = None
    policy: Policy = field(default_factory=Policy)
    queue: str = "work"
    route: Callable[[str], str] | None = None
    priorities: PriorityLevels = NO_PRIORITIES
    codec: Codec = field(default_factory=Codec)
    run_task: Callable[[Invocation], Outcome] | None = None
    admits: bool = True
    meanwhile: Callable[[], None] | None = None
    hooks: HookTable = field(default_factory=dict)
    runner: TaskRunner = field(init=False)
    environment: Environment = field(init=False)
    pipeline: Pipeline = field(init=False)
    connections: Connections = field(init=False)

    def __post_init__(self) -> None:
        self.runner = TaskRunner(self.tasks, self.clock, self.clock, self.hooks)
        self.environment = Environment(
            outbox=Outbox(self.codec, self.broker, self.scheduler, hooks=self.hooks, priorities=self.priorities),
            store=self.store,
            tasks=self.tasks,
            policy=self.policy,
            route=self.route or (lambda _task: self.queue),
            hostname="bench",
            clock=self.clock,
            hooks=self.hooks,
        )
        self.pipeline = Pipeline(self.environment)
        scheduler = self.scheduler.services if self.scheduler else {}
        self.connections = Connections({**self.broker.services, **self.store.services, **scheduler})

    @classmethod
    def in_memory(
        cls, tasks: Mapping[str, TaskDefinition] | None = None, clock: FakeClock | None = None, **more: Any
    ) -> Self:
        """Make a bench with the memory broker and the memory store.

        Args:
            tasks: name -> definition.
            clock: the time of all parts.
            more: further arguments of ``Bench``; a broker or store among them replaces the one in memory.
        """
        clock = clock or FakeClock()
        parts: dict[str, Any] = {"broker": MemoryBroker(clock), "store": MemoryResults(clock), **more}
        return cls(tasks=tasks or {}, clock=clock, **parts)

    @classmethod
    def of(
        cls,
        app: TaskQ,
        *,
        clock: FakeClock | None = None,
        broker: Broker | None = None,
        store: ResultStore | None = None,
    ) -> Self:
        """Make a bench with the tasks and settings of an application.

        The application uses the bench's broker and store from then on, so ``delay`` sends to the bench. Make the bench
        before the application has sent anything.

        Args:
            app: the application.
            clock: the time of broker and store.
            broker: the broker; by default one in memory.
            store: the result store; by default one in memory.
        """
        clock = clock or FakeClock()
        resources = vars(app)  # lazy attributes, which these values take the place of
        resources["broker"], resources["store"] = broker or MemoryBroker(clock), store or MemoryResults(clock)
        return cls(
            broker=app.broker,
            store=app.store,
            clock=clock,
            tasks=app.definitions,
            hooks=app.hooks,
            policy=app.conf.policy(0),
            queue=app.conf.task_default_queue,
            route=app.route,
            priorities=app.priorities,
        )

    def changed(self, **changes: Any) -> Self:
        """Make another bench with changed arguments; both use the same clients."""
        other = replace(self, **changes)
        other.connections = self.connections
        return other

    def close(self) -> None:
        """Close the clients of broker, store and scheduler."""
        self.connections.close()

    # -- messages

    def send(self, message: Message, queue: str | None = None, **outgoing: Any) -> None:
        """Send a message to the queue, ready at once whatever its ``eta`` is.

        Args:
            message: the message.
            queue: the queue; None: the bench's.
            outgoing: further arguments of ``Outgoing``: ``attributes``, ``group``, ``deduplication``.
        """
        queue = queue or self.queue
        sent = Outgoing(body=self.codec.write(message, queue), **outgoing)
        (answer,) = self.run(self.broker.send(queue, [sent]))
        assert isinstance(answer, Sent), answer

    def call(self, message: Message, queue: str | None = None) -> None:
        """Send a message as callers do: held back until its ``eta``, by the broker or the scheduler."""
        outbox = self.environment.outbox
        (answer,) = self.run(outbox.send([outbox.address(message, queue or self.queue, self.clock())]))
        assert isinstance(answer, Sent), answer

    def receive(
        self, limit: int = 10, queue: str | None = None, lease_seconds: float = LEASE_SECONDS
    ) -> list[Delivery]:
        """Receive the messages that are ready."""
        return self.run(self.broker.receive(queue or self.queue, limit, 0, lease_seconds))

    def left(self, queue: str | None = None) -> int:
        """The number of messages in a queue: ready, delayed and in flight."""
        depth = self.run(self.broker.depth(queue or self.queue))
        assert depth is not None, "the broker doesn't count messages"
        return depth.total

    def dead_letters(self, queue: str | None = None) -> list[Delivery]:
        """Receive the messages in a queue's dead-letter queue."""
        return self.receive(queue=dead_letter_queue(queue or self.queue))

    def states(self, *task_ids: str) -> list[str | None]:
        """The state that is stored for each task; None: there is no record."""
        records = self.run(self.store.load(task_ids))
        return [records[each].state if each in records else None for each in task_ids]

    # -- work

    def process(self, delivery: Delivery, pipeline: Pipeline | None = None) -> PipelineFlow[Settlement]:
        """A flow that does what a worker does with a delivery: process it, then settle it.

        Args:
            delivery: the delivery.
            pipeline: another worker's pipeline; None: the bench's.
        """
        settlement = yield from (pipeline or self.pipeline).process(delivery)
        (refused,) = yield from self.broker.settle([settlement])
        assert refused is None, refused
        return settlement

    def deliver(self, delivery: Delivery, pipeline: Pipeline | None = None) -> Settlement:
        """Take a delivery to its end: process it and settle it."""
        return self.run(self.process(delivery, pipeline))

    def begin(self, delivery: Delivery) -> RunningDelivery:
        """Take a delivery to its first run, and let the test say how that ends."""
        return RunningDelivery(self, self.process(delivery))

    def work(self, queue: str | None = None, pipeline: Pipeline | None = None) -> list[Settlement]:
        """Take deliveries to their ends, one after the other, until no message is ready."""
        settlements: list[Settlement] = []
        for _ in range(MOST_ROUNDS):
            deliveries = self.receive(queue=queue)
            if not deliveries:
                return settlements
            settlements += [self.deliver(each, pipeline) for each in deliveries]
        raise AssertionError(f"messages of queue {queue or self.queue!r} come back without end: {deliveries}")

    def drain(self, queue: str | None = None) -> None:
        """Work and let time pass until the queue is empty."""
        for _ in range(MOST_ROUNDS):
            self.work(queue)
            if not self.left(queue):
                return
            self.clock.advance(IDLE_SECONDS)
        raise AssertionError(f"queue {queue or self.queue!r} is not empty after {MOST_ROUNDS} rounds")

    # -- steps

    def run(self, flow: Generator[Any, Any, T]) -> T:
        """Drive a flow of an adapter or of the pipeline to its end."""
        return run(retrying(flow), self.perform)

    def perform(self, step: Any) -> Any:
        """Answer one step of a flow. A pause moves the clock."""
        match step:
            case Invocation():
                return early_acks.run(step, self.broker, self.connections.run, self.run_task or self.runner.run)
            case Admission():
                if self.meanwhile is not None:
                    self.meanwhile()
                return Admitted(os.getpid()) if self.admits else None
            case Sleep():
                return self.clock.advance(step.seconds)
        return self.connections.perform(step)


class RunningDelivery:
    """A delivery whose task runs: nothing happens until the test says how the run ends.

    Attributes:
        invocation: the run under way; None: the delivery has been settled.
    """

    def __init__(self, bench: Bench, flow: PipelineFlow[Settlement]) -> None:
        self._bench = bench
        self._flow = retrying(flow)
        self.invocation: Invocation | None = None
        self._go_on(None)

    def end(self, outcome: Outcome) -> None:
        """End the run; the next run, if there is one, is then under way (an errback's)."""
        assert self.invocation is not None, "nothing runs"
        self._go_on(outcome if self.invocation.acknowledge_first is None else early_acks.begun(outcome))

    def crash(self) -> None:
        """Let the worker die: the outcome is lost, and the message comes back when its lease ends."""
        self.invocation = None
        self._flow.close()

    def _go_on(self, answer: Any) -> None:
        try:
            step = self._flow.send(answer)
            while not isinstance(step, Invocation):
                try:
                    answer = self._bench.perform(step)
                except Exception as error:  # noqa: BLE001 - the flow decides
                    step = self._flow.throw(error)
                else:
                    step = self._flow.send(answer)
        except StopIteration:
            self.invocation = None
        else:
            self.invocation = step
            if step.acknowledge_first is not None:
                flow = early_acks.acknowledge(self._bench.broker, step.acknowledge_first)
                assert self._bench.connections.run(flow) is None
