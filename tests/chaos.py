"""A service that runs tasks while it loses, repeats and reorders their messages, and a function that runs workflows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import Any

from taskq_cloud import TaskQ
from taskq_cloud.canvas import signature
from taskq_cloud.core.flows import Call, Gather, retrying
from taskq_cloud.core.model.message import Delivery, Outgoing
from taskq_cloud.core.model.outcome import Invocation
from taskq_cloud.testing.bench import IDLE_SECONDS, LEASE_SECONDS, Bench
from taskq_cloud.testing.contracts.pipeline_ports import Effect, WatchedBroker, WatchedStore
from tests.workflows import build, make_app, outcome

MOST_AT_ONCE = 8
"""Deliveries that are processed at the same time."""
MOST_STEPS = 100_000
MOST_STEPS_BEFORE_A_CRASH = 12


class Chaos:
    """Processes the deliveries of a bench, with disturbances that a random generator draws.

    Args:
        bench: the bench; its broker, store and clock are used.
        rng: draws the disturbances and the order of steps.
        trouble: the probability of each kind of disturbance, for each delivery.
        at_once: how many deliveries are processed at the same time.

    Attributes:
        runs: the runs of tasks up to now.
        calls: operation -> calls of the broker and the store up to now.
    """

    def __init__(self, bench: Bench, rng: random.Random, trouble: float = 0.0, at_once: int = MOST_AT_ONCE) -> None:
        self._bench, self._rng, self._trouble, self._at_once = bench, rng, trouble, at_once
        # The watched ports yield at every effect, which is where a worker can crash.
        self._watched = bench.changed(
            broker=WatchedBroker(bench.broker, None), store=WatchedStore(bench.store, None, 0), run_task=self._run
        )
        self.runs = 0
        self.calls: Counter[str] = Counter()

    def serve(self) -> None:
        """Process deliveries until the queue is empty, several at once; the generator draws whose turn is next."""
        bench = self._bench
        under_way: list[Iterator[None]] = []
        for _ in range(MOST_STEPS):
            if len(under_way) < self._at_once and (not under_way or self._rng.random() < 0.3):
                deliveries = bench.receive(self._at_once - len(under_way), lease_seconds=LEASE_SECONDS)
                self._rng.shuffle(deliveries)
                under_way += (flow for each in deliveries for flow in self._disturbed(each))
            if under_way:
                each = self._rng.choice(under_way)
                if next(each, self) is self:
                    under_way.remove(each)
            elif bench.left():
                bench.clock.advance(IDLE_SECONDS)
            else:
                return
        raise AssertionError(f"the queue is not empty after {MOST_STEPS} steps")

    def crash(self, steps: int) -> int:
        """Receive all messages, crash after so many steps of each, and wait for the redelivery.

        A delivery that takes fewer steps crashes before it is acknowledged. Returns the number of deliveries.
        """
        deliveries = self._bench.receive(lease_seconds=30)
        for delivery in deliveries:
            for _ in self._steps(self._watched.pipeline.process(delivery), steps):
                pass
        self._bench.clock.advance(IDLE_SECONDS)
        return len(deliveries)

    def _disturbed(self, delivery: Delivery) -> Iterator[Iterator[None]]:
        """The steps of a delivery. Perhaps the message is sent again, and perhaps workers crash over it."""
        bench = self._bench
        if self._happens():
            bench.run(bench.broker.send(bench.queue, [Outgoing(body=delivery.body)]))
        if self._happens():
            yield self._steps(self._watched.pipeline.process(delivery), self._steps_before_a_crash())
        if not self._happens():
            steps = self._steps_before_a_crash() if self._happens() else None
            yield self._steps(self._watched.process(delivery), steps)

    def _happens(self) -> bool:
        return self._rng.random() < self._trouble

    def _steps_before_a_crash(self) -> int:
        return self._rng.randrange(MOST_STEPS_BEFORE_A_CRASH)

    def _run(self, invocation: Invocation) -> Any:
        self.runs += 1
        return self._bench.runner.run(invocation)

    def _steps(self, flow: Generator[Any, Any, Any], steps: int | None) -> Iterator[None]:
        """Drive a flow with a pause after each step; the worker crashes after ``steps`` steps, if they are given."""
        flow, answer, error = retrying(flow), None, None
        try:
            while steps is None or steps >= 0:
                steps = None if steps is None else steps - 1
                step = flow.throw(error) if error is not None else flow.send(answer)
                answer, error = None, None
                calls = step.calls if isinstance(step, Gather) else [step]
                self.calls.update(each.operation for each in calls if isinstance(each, Call))
                try:
                    answer = None if isinstance(step, Effect) else self._watched.perform(step)
                except Exception as failure:
                    error = failure
                yield
        except StopIteration:
            return
        finally:
            flow.close()


def serve(bench: Bench, trouble: float = 0.0, rng: random.Random | None = None) -> Chaos:
    """Process deliveries until the queue is empty; return the service, which has counted runs and calls."""
    chaos = Chaos(bench, rng or random.Random(0), trouble)
    chaos.serve()
    return chaos


def run_workflow(
    node: Any,
    seed: int = 0,
    trouble: float = 0.0,
    *,
    make_bench: Callable[[TaskQ], Bench] = Bench.of,
    fan_out_members: int = 1000,
) -> tuple[Any, Chaos]:
    """Run a workflow of ``tests.workflows``.

    Args:
        node: the workflow.
        seed: of the disturbances.
        trouble: the probability of each kind of disturbance.
        make_bench: chooses the broker and the store.
        fan_out_members: larger groups are sent in pages.

    Returns:
        The value of the workflow, in the form of ``evaluate``, and the service that has run it.
    """
    app = make_app(broker="memory://", results="memory://", task_fan_out_members=fan_out_members)
    bench = make_bench(app)
    try:
        result = signature(build(app, node), app=app).apply_async()
        chaos = serve(bench, trouble, random.Random(seed))
        return outcome(result), chaos
    finally:
        bench.close()
        app.close()
