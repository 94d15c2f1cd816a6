"""Tests of chords whose members end far apart: further apart than results are kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.core.records.record import LONGEST_MESSAGE_SECONDS
from taskq_cloud.errors import ChordError
from taskq_cloud.testing.bench import Bench
from tests.arithmetic import make_app

DAY = 86_400.0


@pytest.fixture
def app(caplog: pytest.LogCaptureFixture) -> Iterator[TaskQ]:
    caplog.set_level(logging.WARNING, "taskq_cloud.execution")
    app = make_app("chords")

    @app.task(name="slow_again", bind=True, max_retries=3)
    def slow_again(self: Any, number: int, countdown: float) -> int:
        if not self.request.retries:
            raise self.retry(countdown=countdown)
        return number

    yield app
    app.close()


@pytest.fixture
def bench(app: TaskQ) -> Bench:
    return Bench.of(app)


def pass_days(bench: Bench, days: float) -> None:
    """Let time pass, an hour at a time, and work on what becomes due."""
    for _ in range(round(days * 24)):
        bench.clock.advance(3_600)
        bench.work()


@pytest.mark.parametrize("days", [2, 40], ids=["two days", "forty days"])
def test_chord_with_a_member_due_after_results_expire_succeeds(app: TaskQ, bench: Bench, days: int) -> None:
    double, total = app.tasks["double"], app.tasks["total"]
    late = double.s(2).set(countdown=days * DAY)
    result = chord([double.s(1), late], total.s()).delay()
    bench.work()
    pass_days(bench, days + 1)
    assert result.get(timeout=0) == 6


def test_chord_with_a_member_chain_of_delays_succeeds(app: TaskQ, bench: Bench) -> None:
    double, total = app.tasks["double"], app.tasks["total"]
    delayed = chain(double.s(2).set(countdown=2 * DAY), double.s().set(countdown=timedelta(days=2).total_seconds()))
    result = chord([double.s(1), delayed], total.s()).delay()
    bench.work()
    pass_days(bench, 5)
    assert result.get(timeout=0) == 10


def test_shards_of_a_large_header_wait_for_a_late_member(app: TaskQ, bench: Bench) -> None:
    double, total = app.tasks["double"], app.tasks["total"]
    header = [double.s(1) for _ in range(250)]
    result = chord(group([*header, double.s(2).set(countdown=20 * DAY)]), total.s()).delay()
    bench.work()
    pass_days(bench, 21)
    assert result.get(timeout=0) == 504


def test_chord_ends_in_an_error_if_a_value_expires_before_the_last_member_ends(app: TaskQ, bench: Bench) -> None:
    double, total, again = (app.tasks[name] for name in ("double", "total", "slow_again"))
    result = chord([double.s(1), again.s(2, 3 * DAY)], total.s()).delay()
    bench.work()
    pass_days(bench, 3.1)
    with pytest.raises(ChordError, match="has no result: it was ignored, forgotten or has expired"):
        result.get(timeout=0)


@pytest.mark.parametrize("claims", [True, False], ids=["with locks", "without locks"])
def test_chord_ends_in_an_error_once_its_members_are_no_longer_counted(
    app: TaskQ, bench: Bench, caplog: pytest.LogCaptureFixture, claims: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not claims:
        monkeypatch.setattr(type(bench.store), "capabilities", replace(bench.store.capabilities, claims=False))
    double, total, again = (app.tasks[name] for name in ("double", "total", "slow_again"))
    header = [double.s(1), again.s(2, 40 * DAY), again.s(3, 41 * DAY)]
    result = chord(header, total.s()).delay()
    bench.work()
    pass_days(bench, 40.1)
    with pytest.raises(ChordError, match=r"of 3 members has taken too long.*set a longer result_expires"):
        result.get(timeout=0)
    assert "whose body fails: chord" in caplog.text
    pass_days(bench, 1)
    assert bench.left() == 0
    assert bench.dead_letters() == []


def test_chord_in_a_stopped_system_completes_within_the_longest_wait(app: TaskQ, bench: Bench) -> None:
    double, total = app.tasks["double"], app.tasks["total"]
    result = chord([double.s(1), double.s(2)], total.s()).delay()
    bench.clock.advance(LONGEST_MESSAGE_SECONDS)
    bench.work()
    assert result.get(timeout=0) == 6
