"""The contract of the pipeline: every scenario, with a crash at every step and with every message delivered twice.

Derive a class from ``PipelineContract`` for a broker and a store::

    class TestOnSQLite(PipelineContract):
        @pytest.fixture
        def broker(self, tmp_path, clock):
            return SQLiteBroker(tmp_path / "broker.db", clock)

        @pytest.fixture
        def store(self, tmp_path, clock): ...

However often its workers crash, a scenario ends in the same states, with the same tasks sent, an empty queue and the
same reasons in the dead-letter queue. No final state is overwritten, and a ``once`` task never runs twice at a time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import count
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq_cloud.core.ports import Broker, ResultStore
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.pipeline_scenario import Scenario
from taskq_cloud.testing.contracts.pipeline_scenarios import SCENARIOS
from taskq_cloud.testing.contracts.pipeline_simulation import LEASE_SECONDS, Ended, Simulation

_numbers = count(1)

EVERY_SCENARIO: Final = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
WORN_OUT: Final = re.compile("WorkerLostError: received . times")
TURNS: Final = st.lists(st.booleans(), max_size=60)


class PipelineContract:
    """The tests of the pipeline on a broker and a store.

    Define the fixtures ``broker`` and ``store``, which both keep ``clock``, and ``queue`` if queues must exist.
    """

    interleavings = 12
    """The number of orders in which two workers take turns, for each scenario."""

    crash_before_too = True
    """Whether workers crash before a step as well as after it. A slow adapter may set this to False, because both
    crashes leave the same things behind."""

    steps_apart = 1
    """Crash at every step, or at every second, third, ... step of a slow adapter, which differs between scenarios."""

    @pytest.fixture(autouse=True)
    def quiet(self, caplog: pytest.LogCaptureFixture) -> None:
        """Don't log the thousands of failures that are made on purpose."""
        caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The clock of the broker, the store and the pipeline."""
        return FakeClock()

    @pytest.fixture
    def broker(self) -> Broker:
        """The broker under test, on ``clock``."""
        raise NotImplementedError

    @pytest.fixture
    def store(self) -> ResultStore:
        """The result store under test, on ``clock``."""
        raise NotImplementedError

    @pytest.fixture
    def queue(self) -> str:
        """The name of an empty queue. Create it and its dead-letter queue if the broker's queues must exist."""
        return "work"

    @pytest.fixture
    def bench(self, broker: Broker, store: ResultStore, queue: str, clock: FakeClock) -> Iterator[Bench]:
        """The broker, the store and the clock, as simulations use them."""
        bench = Bench(broker=broker, store=store, queue=queue, clock=clock)
        yield bench
        bench.close()

    @EVERY_SCENARIO
    def test_undisturbed_scenario_has_its_effects_in_order(self, bench: Bench, scenario: Scenario) -> None:
        simulation = _simulation(scenario, bench)
        simulation.begin()
        (worker,) = simulation.receive()
        worker.work()
        assert tuple(simulation.effects) == scenario.effects
        simulation.drain()
        ended = simulation.ended()
        assert ended.states == scenario.states
        _check_dead_letters(scenario, ended)

    @EVERY_SCENARIO
    def test_crash_at_any_step_changes_nothing_in_the_end(self, bench: Bench, scenario: Scenario) -> None:
        undisturbed = _undisturbed(scenario, bench)
        assert undisturbed.steps >= len(scenario.effects)
        first, stride = (0, 1) if self.crash_before_too else (1, 2 * self.steps_apart)
        if self.steps_apart > 1:
            first += 2 * (SCENARIOS.index(scenario) % min(self.steps_apart, undisturbed.steps))
        for half_step in range(first, undisturbed.steps * 2, stride):
            # After an even number of half-steps the next step is not performed; after an odd one its answer is lost.
            simulation = _simulation(scenario, bench, crash_after=half_step)
            simulation.begin()
            simulation.drain()
            assert simulation.crash_after is None, "the worker did not get as far as the crash"
            _check_same(scenario, simulation, undisturbed)

    @EVERY_SCENARIO
    def test_two_crashes_in_a_row_change_nothing_in_the_end(self, bench: Bench, scenario: Scenario) -> None:
        undisturbed = _undisturbed(scenario, bench)
        for half_step in range(1, undisturbed.steps * 2, 2 if self.crash_before_too else 6 * self.steps_apart):
            simulation = _simulation(scenario, bench, crash_after=half_step)
            simulation.begin()
            while simulation.crash_after is not None:
                simulation.work_or_wait()
            simulation.advance(LEASE_SECONDS + 1)
            simulation.crash_after = simulation.steps * 2 + 1
            simulation.drain()
            _check_same(scenario, simulation, undisturbed)

    @EVERY_SCENARIO
    def test_worker_that_wakes_up_late_changes_nothing_in_the_end(self, bench: Bench, scenario: Scenario) -> None:
        undisturbed = _undisturbed(scenario, bench)
        for rounds in (3, 6, 100):
            half_steps = 0
            while True:
                simulation = _simulation(scenario, bench)
                simulation.begin()
                (sleeper,) = simulation.receive()
                for _ in range(half_steps):
                    if not sleeper.done:
                        sleeper.half_step()
                # The worker sleeps here until its lease is over. Meanwhile others work for some rounds, or to the end.
                for _ in range(rounds):
                    if not sleeper.done:
                        simulation.work_or_wait()
                asleep = not sleeper.done
                sleeper.finish()
                simulation.drain()
                _check_same(scenario, simulation, undisturbed)
                if not asleep:
                    break
                half_steps += 1 if self.crash_before_too else 3 * self.steps_apart

    @EVERY_SCENARIO
    def test_two_workers_with_one_message_change_nothing_in_the_end(self, bench: Bench, scenario: Scenario) -> None:
        undisturbed = _undisturbed(scenario, bench)

        @settings(
            max_examples=self.interleavings,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(turns=TURNS, lost_lease=st.booleans())
        def in_turns(turns: list[bool], lost_lease: bool) -> None:
            simulation = _simulation(scenario, bench)
            # Either the broker has delivered the message twice, or the first worker's lease ends while it works.
            simulation.begin(copies=1 if lost_lease else 2)
            workers = simulation.receive()
            if lost_lease:
                simulation.advance(LEASE_SECONDS + 1)
                workers += simulation.receive()
            assert len(workers) == 2
            for turn in turns:
                worker = workers[turn]
                if not worker.done:
                    worker.half_step()
            for worker in workers:
                worker.finish()
            simulation.drain()
            _check_same(scenario, simulation, undisturbed)

        in_turns()


def _simulation(scenario: Scenario, bench: Bench, crash_after: int | None = None) -> Simulation:
    """A simulation whose first task has an id that no other simulation has."""
    return Simulation(scenario, bench, f"task-{next(_numbers)}", crash_after)


def _undisturbed(scenario: Scenario, bench: Bench) -> Simulation:
    """A simulation without a crash, at its end."""
    simulation = _simulation(scenario, bench)
    simulation.begin()
    simulation.drain()
    return simulation


def _check_same(scenario: Scenario, simulation: Simulation, undisturbed: Simulation) -> None:
    ended = simulation.ended()
    assert undisturbed.effects, "the simulation that this one is compared with has done nothing"
    if scenario.worn_out is not None and ended.dead_letters:
        assert ended.states == scenario.worn_out
        assert all(WORN_OUT.match(reason) for reason in ended.dead_letters), ended.dead_letters
        return
    assert ended.states == scenario.states
    assert len(ended.ids) == len(scenario.states)
    _check_dead_letters(scenario, ended)


def _check_dead_letters(scenario: Scenario, ended: Ended) -> None:
    for reason in ended.dead_letters:
        assert any(re.match(pattern, reason) for pattern in scenario.dead_letters), reason
    for pattern in scenario.dead_letters:
        assert any(re.match(pattern, reason) for reason in ended.dead_letters), f"nothing dead-lettered with {pattern}"
