"""The order of effects, killed everywhere: every scenario, with a crash at every step and with every message doubled.

Derive a class from ``PipelineContract`` for a broker and a store::

    class TestOnSQLite(PipelineContract):
        @pytest.fixture
        def broker(self, tmp_path, clock):
            return SQLiteBroker(tmp_path / "broker.db", clock)

        @pytest.fixture
        def store(self, tmp_path, clock): ...

However it goes, a scenario ends in the same states, with the same tasks sent, an empty queue and the same reasons in
the dead-letter queue; no final state is overwritten, and no two runs of a ``once`` task are under way at one time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.ports import Broker, ResultStore
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.pipeline_scenario import Scenario
from taskq_cloud.testing.contracts.pipeline_scenarios import SCENARIOS
from taskq_cloud.testing.contracts.pipeline_world import LEASE_SECONDS, Ended, World

_numbers = count(1)

EVERY_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
TURNS = st.lists(st.booleans(), max_size=60)


class PipelineContract:
    """Override ``broker`` and ``store``, both on ``clock``, and ``queue`` where queues must exist."""

    interleavings = 12
    """Orders in which two workers take turns, a scenario."""

    crash_before_too = True
    """Crash before a step as well as after it. A slow adapter may do without: what was done by then is the same."""

    steps_apart = 1
    """Crash at every step, or, of a slow adapter, at each so many; which ones differs from scenario to scenario."""

    @pytest.fixture(autouse=True)
    def quiet(self, caplog: pytest.LogCaptureFixture) -> None:
        """Thousands of failures on purpose are no news."""
        caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The clock of the broker, the store and the pipeline."""
        return FakeClock()

    @pytest.fixture
    def broker(self) -> Broker:
        """The broker."""
        raise NotImplementedError

    @pytest.fixture
    def store(self) -> ResultStore:
        """The store."""
        raise NotImplementedError

    @pytest.fixture
    def queue(self) -> str:
        """The name of an empty queue; where queues must exist, it does, and so does its dead-letter queue."""
        return "work"

    @pytest.fixture
    def connections(self, broker: Broker, store: ResultStore) -> Iterator[Connections]:
        """Makes the calls of both."""
        connections = Connections({**broker.services, **store.services})
        yield connections
        connections.close()

    @pytest.fixture
    def worlds(
        self, broker: Broker, store: ResultStore, queue: str, clock: FakeClock, connections: Connections
    ) -> Worlds:
        """Makes a world for each play."""
        return Worlds(broker, store, queue, clock, connections)

    @EVERY_SCENARIO
    def test_undisturbed(self, worlds: Worlds, scenario: Scenario) -> None:
        world = worlds.make(scenario)
        world.begin()
        (worker,) = world.receive()
        worker.work()
        assert tuple(world.effects) == scenario.effects
        world.drain()
        ended = world.ended()
        assert ended.states == scenario.states
        _check_dead_letters(scenario, ended)

    @EVERY_SCENARIO
    def test_a_crash_at_any_step(self, worlds: Worlds, scenario: Scenario) -> None:
        undisturbed = worlds.make(scenario)
        undisturbed.begin()
        undisturbed.drain()
        assert undisturbed.steps >= len(scenario.effects)
        first, stride = (0, 1) if self.crash_before_too else (1, 2 * self.steps_apart)
        if self.steps_apart > 1:
            first += 2 * (SCENARIOS.index(scenario) % min(self.steps_apart, undisturbed.steps))
        for half_step in range(first, undisturbed.steps * 2, stride):
            # An even one: the step is not performed. An odd one: it is, and its answer is lost.
            world = worlds.make(scenario, crash_after=half_step)
            world.begin()
            world.drain()
            assert world.crash_after is None, "it did not come to the crash"
            _check_same(scenario, world, undisturbed)

    @EVERY_SCENARIO
    def test_two_crashes_in_a_row(self, worlds: Worlds, scenario: Scenario) -> None:
        undisturbed = worlds.make(scenario)
        undisturbed.begin()
        undisturbed.drain()
        for half_step in range(1, undisturbed.steps * 2, 2 if self.crash_before_too else 6 * self.steps_apart):
            world = worlds.make(scenario, crash_after=half_step)
            world.begin()
            while world.crash_after is not None:
                _work_or_wait(world)
            world.clock.advance(LEASE_SECONDS + 1)
            world.crash_after = world.steps * 2 + 1
            world.drain()
            _check_same(scenario, world, undisturbed)

    @EVERY_SCENARIO
    def test_a_worker_that_wakes_up_late(self, worlds: Worlds, scenario: Scenario) -> None:
        undisturbed = worlds.make(scenario)
        undisturbed.begin()
        undisturbed.drain()
        for rounds in (3, 6, 100):
            half_steps = 0
            while True:
                world = worlds.make(scenario)
                world.begin()
                (sleeper,) = world.receive()
                for _ in range(half_steps):
                    if not sleeper.done:
                        sleeper.half_step()
                # It sleeps here, its lease runs out, and others go on: some rounds, or to the end.
                for _ in range(rounds):
                    if not sleeper.done:
                        _work_or_wait(world)
                asleep = not sleeper.done
                sleeper.finish()
                world.drain()
                _check_same(scenario, world, undisturbed)
                if not asleep:
                    break
                half_steps += 1 if self.crash_before_too else 3 * self.steps_apart

    @EVERY_SCENARIO
    def test_two_workers_with_the_same_message(self, worlds: Worlds, scenario: Scenario) -> None:
        undisturbed = worlds.make(scenario)
        undisturbed.begin()
        undisturbed.drain()

        @settings(
            max_examples=self.interleavings,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(turns=TURNS, lost_lease=st.booleans())
        def in_turns(turns: list[bool], lost_lease: bool) -> None:
            world = worlds.make(scenario)
            # The broker has handed the message over twice; or once, and again while the first worker still works.
            world.begin(copies=1 if lost_lease else 2)
            workers = world.receive()
            if lost_lease:
                world.clock.advance(LEASE_SECONDS + 1)
                workers += world.receive()
            assert len(workers) == 2
            for turn in turns:
                worker = workers[turn]
                if not worker.done:
                    worker.half_step()
            for worker in workers:
                worker.finish()
            world.drain()
            _check_same(scenario, world, undisturbed)

        in_turns()


class Worlds:
    """Makes worlds on one broker and one store, each with a task id of its own."""

    def __init__(
        self, broker: Broker, store: ResultStore, queue: str, clock: FakeClock, connections: Connections
    ) -> None:
        self._broker = broker
        self._store = store
        self._queue = queue
        self._clock = clock
        self._connections = connections

    def make(self, scenario: Scenario, crash_after: int | None = None) -> World:
        """A world before its first message."""
        return World(
            scenario=scenario,
            broker=self._broker,
            store=self._store,
            queue=self._queue,
            clock=self._clock,
            connections=self._connections,
            task_id=f"task-{next(_numbers)}",
            crash_after=crash_after,
        )


def _work_or_wait(world: World) -> None:
    workers = world.receive()
    for worker in workers:
        worker.work()
    if not workers:
        world.clock.advance(LEASE_SECONDS)


def _check_same(scenario: Scenario, world: World, undisturbed: World) -> None:
    ended = world.ended()
    assert ended.states == scenario.states
    assert len(ended.ids) == len(scenario.states)
    _check_dead_letters(scenario, ended)
    assert undisturbed.effects, "the play it is compared with has been played"


def _check_dead_letters(scenario: Scenario, ended: Ended) -> None:
    for reason in ended.dead_letters:
        assert any(re.match(pattern, reason) for pattern in scenario.dead_letters), reason
    for pattern in scenario.dead_letters:
        assert any(re.match(pattern, reason) for reason in ended.dead_letters), f"nothing dead-lettered with {pattern}"
