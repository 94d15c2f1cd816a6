"""Tests that random workflows have the value that plain Python computes: run with and without faults, and eagerly."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from taskq_cloud.brokers.sqlite import SQLiteBroker
from taskq_cloud.canvas import signature
from taskq_cloud.stores.results.sqlite import SQLiteResults
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.chaos import run_workflow
from tests.workflows import build, chords_that_grow, evaluate, is_nothing, make_app, outcome, workflows

QUICK = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), max_examples=150)
SLOW = settings(QUICK, max_examples=25)
T, U = ("task", "a", False), ("task", "b", False)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")


@QUICK
@given(node=workflows())
@example(node=("chain", [("group", [T, U]), ("group", [T, U]), U]))
@example(node=("chord", [("chain", [T, ("group", [T, U])]), ("chord", [T], U)], ("group", [U])))
@example(node=("chord", [], T))
@example(node=("chain", [T, ("replaced", ("chain", [("failing", "a"), T]))]))
@example(node=("replaced", ("chain", [("failing", "a"), ("group", [T, U])])))
@example(node=("chain", [("failing", "a"), ("chord", [T], U), ("group", [T, U])]))
def test_undisturbed_workflow_has_the_value_of_plain_python(node: Any) -> None:
    assume(not is_nothing(node))
    value, _ = run_workflow(node, 0, 0)
    assert value == evaluate(node)


@QUICK
@given(node=workflows(), seed=st.integers(0, 2**32))
def test_workflow_with_crashes_and_duplicates_in_any_order_has_the_value_of_plain_python(node: Any, seed: int) -> None:
    assume(not is_nothing(node))
    value, _ = run_workflow(node, seed, 0.2)
    assert value == evaluate(node)


@pytest.mark.slow
@QUICK
@given(node=workflows(), seed=st.integers(0, 2**32))
@example(node=("chain", [T, ("group", [("chord", [T, U], ("group", [T, U])), T]), U]), seed=1)
def test_workflow_with_paged_groups_has_the_value_of_plain_python(node: Any, seed: int) -> None:
    assume(not is_nothing(node))
    value, _ = run_workflow(node, seed, 0.2, fan_out_members=1)
    assert value == evaluate(node)


@SLOW
@given(node=workflows(), seed=st.integers(0, 2**32))
def test_workflow_on_sqlite_has_the_value_of_plain_python(
    tmp_path_factory: pytest.TempPathFactory, node: Any, seed: int
) -> None:
    assume(not is_nothing(node))
    clock, directory = FakeClock(), tmp_path_factory.mktemp("workflow")
    broker, store = SQLiteBroker(directory / "broker.db", clock), SQLiteResults(directory / "results.db", clock)
    make_bench = partial(Bench.of, clock=clock, broker=broker, store=store)
    value, _ = run_workflow(node, seed, 0.2, make_bench=make_bench)
    assert value == evaluate(node)


@QUICK
@given(node=workflows())
def test_applied_workflow_has_the_value_of_plain_python(node: Any) -> None:
    assume(not is_nothing(node))
    app = make_app(broker="memory://", results="memory://")
    assert outcome(signature(build(app, node), app=app).apply()) == evaluate(node)


@QUICK
@given(node=workflows())
def test_json_round_trip_keeps_a_workflow(node: Any) -> None:
    app = make_app(broker="memory://", results="memory://")
    workflow = build(app, node)
    assert signature(workflow.to_dict(), app=app) == workflow


def test_undisturbed_workflow_runs_every_task_once() -> None:
    node = ("chain", [("group", [T, U, ("chain", [T, U])]), T, ("group", [T, U]), T])
    _, chaos = run_workflow(node, 0, 0)
    assert chaos.runs == 8


@pytest.mark.slow
@QUICK
@given(node=chords_that_grow(), seed=st.integers(0, 2**32))
@example(node=("chord", [("adding", "a", [("adding", "b", [T, U]), ("adding", "c", [("failing", "d")])])], T), seed=0)
def test_chord_with_added_members_has_the_value_of_plain_python(node: Any, seed: int) -> None:
    assert run_workflow(node, 0, 0)[0] == evaluate(node)
    assert run_workflow(node, seed, 0.2)[0] == evaluate(node)


def test_large_header_is_joined_in_shards() -> None:
    node = ("chord", [("task", "abcd"[number % 4], False) for number in range(450)], T)
    value, chaos = run_workflow(node, 0, 0)
    assert value == evaluate(node)
    assert chaos.runs == 451


@pytest.mark.parametrize("seed", [467, *range(30)])
def test_body_is_sent_although_its_claimant_dies_and_the_message_is_acknowledged_elsewhere(seed: int) -> None:
    """With seed 467, two workers hold the message of one member. One claims the body and dies; the other has gone."""
    growing = ("adding", "b", [("adding", "a", [("task", "c", False)])])
    node = ("chord", [growing, growing], ("task", "b", True))
    assert run_workflow(node, seed, 0.2)[0] == evaluate(node)
